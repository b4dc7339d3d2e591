//! The end of a request's body: the decision of RFC 9112 §6.3 from `Content-Length` and `Transfer-Encoding`.
//!
//! Never a guess: whatever two readers could take differently is refused.

use super::error::{ParseError, quote};
use super::syntax::{decimal, members};
use super::types::{BodyLength, Version};

/// The transfer codings of all `Transfer-Encoding` fields, in order (RFC 9112 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Codings {
    /// No such field.
    #[default]
    None,
    /// Some, and `chunked` is not among them yet.
    Open {
        /// One of them compresses.
        compressed: bool,
    },
    /// `chunked` is the last.
    Chunked {
        /// One before it compresses. It is left to the service; the connection then closes, as Gunicorn
        /// does it.
        compressed: bool,
    },
}

impl Codings {
    /// Takes one field's value in.
    pub(super) fn add(self, value: &[u8]) -> Result<Self, ParseError> {
        members(value).try_fold(self, |codings, coding| codings.push(coding, value))
    }

    fn push(self, coding: &[u8], value: &[u8]) -> Result<Self, ParseError> {
        let compressed = match self {
            Self::None => false,
            Self::Open { compressed } => compressed,
            Self::Chunked { .. } => return Err(ParseError::AfterChunked(quote(value))),
        };
        let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
        if is("chunked") {
            Ok(Self::Chunked { compressed })
        } else if is("identity") {
            Ok(Self::Open { compressed })
        } else if is("gzip") || is("deflate") || is("compress") {
            Ok(Self::Open { compressed: true })
        } else {
            Err(ParseError::UnknownCoding(quote(coding)))
        }
    }

    /// Tells whether the body is handed on in a coding that this layer does not undo.
    pub(super) fn is_compressed(self) -> bool {
        matches!(self, Self::Chunked { compressed: true })
    }
}

/// Tells how the body's end is found. `length` is the value of the only `Content-Length`.
pub(super) fn body_length(
    version: Version,
    length: Option<&[u8]>,
    codings: Codings,
) -> Result<BodyLength, ParseError> {
    match (codings, length) {
        (Codings::None, None) => Ok(BodyLength::Empty),
        (Codings::None, Some(digits)) => match decimal(digits) {
            Some(0) => Ok(BodyLength::Empty),
            Some(length) => Ok(BodyLength::Known(length)),
            None => Err(ParseError::ContentLength(quote(digits))),
        },
        (_, Some(_)) => Err(ParseError::CodingAndLength),
        _ if version < Version::HTTP_11 => Err(ParseError::CodingInHttp10),
        (Codings::Chunked { .. }, None) => Ok(BodyLength::Chunked),
        (Codings::Open { .. }, None) => Err(ParseError::NotChunked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(length: Option<&str>, codings: &[&str]) -> Result<BodyLength, u16> {
        let codings = codings
            .iter()
            .try_fold(Codings::None, |all, value| all.add(value.as_bytes()));
        codings
            .and_then(|all| body_length(Version::HTTP_11, length.map(str::as_bytes), all))
            .map_err(|e| e.status())
    }

    // Gunicorn: P25
    #[test]
    fn neither_field_means_no_body() {
        assert_eq!(decide(None, &[]), Ok(BodyLength::Empty));
    }

    // Gunicorn: P20
    #[test]
    fn a_length_is_digits_that_fit_64_bits() {
        assert_eq!(decide(Some("14"), &[]), Ok(BodyLength::Known(14)));
        assert_eq!(decide(Some("0"), &[]), Ok(BodyLength::Empty));
        for bad in [
            "",
            "-1",
            "+1",
            "0x1",
            "1,1",
            "1 1",
            "\u{661}",
            "18446744073709551616",
        ] {
            assert_eq!(decide(Some(bad), &[]), Err(400), "{bad}");
        }
    }

    // Gunicorn: P21, P23
    #[test]
    fn chunked_must_be_there_once_and_last() {
        for good in [
            &["chunked"][..],
            &["Chunked"],
            &["identity", "chunked"],
            &["gzip,\tchunked"],
        ] {
            assert_eq!(decide(None, good), Ok(BodyLength::Chunked), "{good:?}");
        }
        for bad in [
            &["identity"][..],
            &["gzip"],
            &["chunked, identity"],
            &["chunked", "chunked"],
        ] {
            assert_eq!(decide(None, bad), Err(400), "{bad:?}");
        }
    }

    // Gunicorn: P22, P36
    #[test]
    fn an_unknown_coding_is_501() {
        for bad in ["xchunked", "chunked;q=1", "", "\"chunked\"", ", chunked"] {
            assert_eq!(decide(None, &[bad]), Err(501), "{bad}");
        }
    }

    // Gunicorn: P24
    #[test]
    fn coding_and_length_together_are_400() {
        assert_eq!(decide(Some("5"), &["chunked"]), Err(400));
        assert_eq!(decide(Some("5"), &["identity"]), Err(400));
    }

    // Gunicorn: P24
    #[test]
    fn a_coding_in_http_10_is_400() {
        let chunked = Codings::Chunked { compressed: false };
        assert_eq!(
            body_length(Version::HTTP_10, None, chunked),
            Err(ParseError::CodingInHttp10)
        );
    }

    // Gunicorn: P22
    #[test]
    fn a_compressed_body_is_known_as_such() {
        assert!(
            Codings::None
                .add(b"gzip, chunked")
                .is_ok_and(Codings::is_compressed)
        );
        assert!(
            !Codings::None
                .add(b"identity, chunked")
                .is_ok_and(Codings::is_compressed)
        );
    }
}
