//! [`CERT_REQS`] and [`TLS_VERSION`]: the values of settings of TLS, also as Python's `ssl` names and numbers them.

use super::{ParseProblem, ValueParser, text};

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertReqs {
    /// They are not asked.
    #[default]
    None,
    /// They are asked and may have none. One that they have must be valid.
    Optional,
    /// They must have one.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246)
    Tls12,
    /// TLS 1.3 (RFC 8446)
    Tls13,
}

/// Whether clients are asked: a number of Python's, or a name.
pub(in super::super) const CERT_REQS: ValueParser<CertReqs> = ValueParser {
    metavar: "0..2",
    parse: |value| {
        let expected = "0 (none), 1 (optional) or 2 (required)";
        let name = text(value, expected)?.trim().to_ascii_lowercase();
        match name.strip_prefix("cert_").unwrap_or(&name) {
            "0" | "none" => Ok(CertReqs::None),
            "1" | "optional" => Ok(CertReqs::Optional),
            "2" | "required" => Ok(CertReqs::Required),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: |value| (*value as u8).to_string(),
};

/// A version of TLS.
pub(in super::super) const TLS_VERSION: ValueParser<TlsVersion> = ValueParser {
    metavar: "VERSION",
    parse: |value| {
        let expected = "1.2 or 1.3";
        match text(value, expected)?.trim() {
            "1.2" | "TLSv1.2" | "TLSv1_2" => Ok(TlsVersion::Tls12),
            "1.3" | "TLSv1.3" | "TLSv1_3" => Ok(TlsVersion::Tls13),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: |value| {
        let text = match value {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        };
        text.to_owned()
    },
};
