//! [`RequestLine`]: a method, a target in one of its four forms, and a version (RFC 9112 §3).
//!
//! Nothing here decodes or normalises: what is taken is taken as it is, and the rest is refused.

use memchr::{memchr, memchr2, memmem, memrchr};

use super::config::Leniency;
use super::error::{ParseError, quote};
use super::syntax::{host_and_port, is_token, is_visible};
use super::types::{Span, Version};

/// A request line at the start of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) path: Span,
    pub(super) query: Span,
    /// The host and the port of a target in absolute form (RFC 9112 §3.2.2); empty for the other forms.
    pub(super) host: Span,
    pub(super) version: Version,
    /// The position at which the field section starts.
    pub(super) fields: usize,
}

impl RequestLine {
    /// `method SP request-target SP HTTP-version` (RFC 9112 §3).
    pub(super) fn read(line: &[u8], leniency: &Leniency) -> Result<Self, ParseError> {
        let bad = || ParseError::RequestLine(quote(line));
        let first = memchr(b' ', line).ok_or_else(bad)?;
        let (method, rest) = (&line[..first], &line[first + 1..]);
        let second = memchr(b' ', rest).ok_or_else(bad)?;
        let (target, version) = (&rest[..second], &rest[second + 1..]);
        if !is_method(method, leniency) {
            return Err(ParseError::Method(quote(method)));
        }
        let Target { host, path, query } =
            split_target(method, target).ok_or_else(|| ParseError::Target(quote(target)))?;
        let version =
            read_version(version, leniency).ok_or_else(|| ParseError::Version(quote(version)))?;
        Ok(Self {
            method: Span::new(line, method),
            target: Span::new(line, target),
            path: Span::new(line, path),
            query: Span::new(line, query),
            host: Span::new(line, host),
            version,
            fields: line.len() + 2,
        })
    }
}

/// A token (RFC 9110 §9.1); and by Gunicorn's rule of 3 to 20 characters without lower case or `#`.
fn is_method(method: &[u8], leniency: &Leniency) -> bool {
    let is_usual = |&b: &u8| !b.is_ascii_lowercase() && b != b'#';
    is_token(method)
        && (leniency.unconventional_method
            || (3..=20).contains(&method.len()) && method.iter().all(is_usual))
}

/// `HTTP/1.` and a digit: of a later minor version only what 1.1 knows is used (RFC 9110 §2.5).
fn read_version(version: &[u8], leniency: &Leniency) -> Option<Version> {
    let digits = version.strip_prefix(b"HTTP/")?;
    let &[major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] = digits else {
        return None;
    };
    let is_taken = major == b'1' || leniency.unconventional_version;
    is_taken.then_some(Version {
        major: major - b'0',
        minor: minor - b'0',
    })
}

/// The parts of a target that are of use; what it does not have is empty.
#[derive(Clone, Copy, Debug, Default)]
struct Target<'t> {
    host: &'t [u8],
    path: &'t [u8],
    query: &'t [u8],
}

/// A target's parts, if it has a form that RFC 9112 §3.2 gives to the method.
///
/// A fragment does not belong there (RFC 9110 §4.2.5); Gunicorn takes one, and so do we: it is cut off.
fn split_target<'t>(method: &[u8], target: &'t [u8]) -> Option<Target<'t>> {
    if !is_visible(target) {
        return None;
    }
    if method == b"CONNECT" {
        // An empty port must be refused (RFC 9110 §9.3.6).
        return match host_and_port(target)? {
            (_, Some([_, ..])) => Some(Target::default()),
            _ => None,
        };
    }
    match target {
        [b'/', ..] => Some(split_path(b"", target)),
        b"*" => (method == b"OPTIONS").then_some(Target {
            path: target,
            ..Target::default()
        }),
        _ => {
            let scheme = memmem::find(target, b"://")?;
            if !is_scheme(&target[..scheme]) {
                return None;
            }
            let rest = &target[scheme + 3..];
            let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#');
            let end = rest.iter().position(is_end).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            Some(split_path(host_of(authority)?, rest))
        }
    }
}

fn split_path<'t>(host: &'t [u8], target: &'t [u8]) -> Target<'t> {
    let end = memchr2(b'?', b'#', target).unwrap_or(target.len());
    let (path, rest) = target.split_at(end);
    let query = rest.strip_prefix(b"?").unwrap_or_default();
    let query = &query[..memchr(b'#', query).unwrap_or(query.len())];
    Target { host, path, query }
}

/// RFC 3986 §3.1.
fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
}

/// Returns the part of `[ userinfo "@" ] host [ ":" port ]` (RFC 3986 §3.2) that belongs into `Host`: all but the
/// userinfo.
fn host_of(authority: &[u8]) -> Option<&[u8]> {
    let host = match memrchr(b'@', authority) {
        Some(at) if memchr2(b'[', b']', &authority[..at]).is_none() => &authority[at + 1..],
        Some(_) => return None,
        None => authority,
    };
    host_and_port(host).map(|_| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<RequestLine, ParseError> {
        RequestLine::read(line.as_bytes(), &Leniency::default())
    }

    fn target(method: &str, target: &str) -> Result<RequestLine, ParseError> {
        read(&format!("{method} {target} HTTP/1.1"))
    }

    #[test]
    fn a_target_is_split_into_path_and_query() {
        for (method, text, path, query) in [
            ("GET", "/", "/", ""),
            ("GET", "///a//?b?c#d?e", "///a//", "b?c"),
            ("GET", "/a#b?c", "/a", ""),
            ("GET", "http://u:p@[::1]:80/a?b", "/a", "b"),
            ("GET", "https://a", "", ""),
            ("GET", "http://a?b", "", "b"),
            ("OPTIONS", "*", "*", ""),
            ("CONNECT", "a:443", "", ""),
        ] {
            let line = format!("{method} {text} HTTP/1.1");
            let read = read(&line).unwrap();
            let parts = [read.target, read.path, read.query].map(|span| span.of(line.as_bytes()));
            assert_eq!(parts, [text, path, query].map(str::as_bytes), "{line}");
        }
    }

    // Gunicorn: P6, P7, P8
    #[test]
    fn a_target_that_does_not_fit_its_method_is_400() {
        for (method, text) in [
            ("GET", "*"),
            ("GET", "a"),
            ("GET", "a:443"),
            ("GET", "://a/"),
            ("GET", "1s://a/"),
            ("GET", "http:///"),
            ("GET", "s://]ufd/:"),
            ("GET", "s://[a]b@c/"),
            ("GET", "/\u{7f}"),
            ("GET", "/\u{e9}"),
            ("CONNECT", "/"),
            ("CONNECT", "a"),
            ("CONNECT", "a:"),
            ("CONNECT", "http://a/"),
        ] {
            let error = target(method, text).unwrap_err();
            assert!(
                matches!(error, ParseError::Target(_)),
                "{method} {text}: {error}"
            );
        }
    }

    // Gunicorn: P5
    #[test]
    fn methods_are_tokens_of_3_to_20_without_lower_case() {
        for good in ["GET", "M-SEARCH", "ABCDEFGHIJKLMNOPQRST"] {
            assert!(target(good, "/").is_ok(), "{good}");
        }
        for bad in [
            "GE",
            "get",
            "GE#T",
            "GET:",
            "GET\0",
            "ABCDEFGHIJKLMNOPQRSTU",
            "",
        ] {
            let error = target(bad, "/").unwrap_err();
            assert!(matches!(error, ParseError::Method(_)), "{bad}: {error}");
        }
    }

    // Gunicorn: P5, P9
    #[test]
    fn what_is_unconventional_can_be_taken() {
        let read = |line: &str, leniency: &Leniency| RequestLine::read(line.as_bytes(), leniency);
        let methods = Leniency {
            unconventional_method: true,
            ..Leniency::default()
        };
        for good in ["ge", "G#", "-blargh", "abcdefghijklmnopqrstuvwxyz"] {
            assert!(
                read(&format!("{good} / HTTP/1.1"), &methods).is_ok(),
                "{good}"
            );
        }
        for bad in ["", "G:", "G(", "G\u{e9}"] {
            assert!(
                read(&format!("{bad} / HTTP/1.1"), &methods).is_err(),
                "{bad}"
            );
        }
        let versions = Leniency {
            unconventional_version: true,
            ..Leniency::default()
        };
        for good in ["0.9", "2.0", "9.9"] {
            assert!(
                read(&format!("GET / HTTP/{good}"), &versions).is_ok(),
                "{good}"
            );
        }
        for bad in ["2", "1.10", "1,1", " 1.1"] {
            assert!(
                read(&format!("GET / HTTP/{bad}"), &versions).is_err(),
                "{bad}"
            );
        }
    }

    // Gunicorn: P4, P9, P10, W9
    #[test]
    fn a_request_line_has_three_parts_and_a_version_1() {
        for bad in ["GET /", "GET\t/\tHTTP/1.1", "GET", ""] {
            assert!(
                matches!(read(bad), Err(ParseError::RequestLine(_))),
                "{bad:?}"
            );
        }
        for bad in [
            "HTTP/2.0",
            "HTTP/0.9",
            "HTTP/1.10",
            "http/1.1",
            "HTTP/1.1 ",
            " HTTP/1.1",
            "FTP/1.1",
            "",
        ] {
            let error = read(&format!("GET / {bad}")).unwrap_err();
            assert!(matches!(error, ParseError::Version(_)), "{bad:?}: {error}");
        }
    }
}
