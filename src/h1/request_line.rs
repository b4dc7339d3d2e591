//! [`RequestLine`]: a method, a target in one of its four forms, and a version (RFC 9112 §3).
//!
//! Nothing here decodes or normalises: what is taken is taken as it is, and the rest is refused.

use memchr::{memchr, memchr2, memmem, memrchr};

use super::error::{ParseError, quote};
use super::head::{Span, Version};
use super::syntax::{host_and_port, is_token_byte, is_visible};

/// A request line at the start of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) path: Span,
    pub(super) query: Span,
    pub(super) version: Version,
    /// Where the field section starts.
    pub(super) fields: usize,
}

impl RequestLine {
    /// `method SP request-target SP HTTP-version` (RFC 9112 §3).
    pub(super) fn read(line: &[u8]) -> Result<Self, ParseError> {
        let bad = || ParseError::RequestLine(quote(line));
        let first = memchr(b' ', line).ok_or_else(bad)?;
        let (method, rest) = (&line[..first], &line[first + 1..]);
        let second = memchr(b' ', rest).ok_or_else(bad)?;
        let (target, version) = (&rest[..second], &rest[second + 1..]);
        if !is_method(method) {
            return Err(ParseError::Method(quote(method)));
        }
        let (path, query) =
            split_target(method, target).ok_or_else(|| ParseError::Target(quote(target)))?;
        let version = read_version(version).ok_or_else(|| ParseError::Version(quote(version)))?;
        Ok(Self {
            method: Span::new(line, method),
            target: Span::new(line, target),
            path: Span::new(line, path),
            query: Span::new(line, query),
            version,
            fields: line.len() + 2,
        })
    }
}

/// Gunicorn's rule, a part of RFC 9110 §9.1: a token of 3 to 20 characters without lower case or `#`.
fn is_method(method: &[u8]) -> bool {
    (3..=20).contains(&method.len())
        && method
            .iter()
            .all(|&b| is_token_byte(b) && !b.is_ascii_lowercase() && b != b'#')
}

/// `HTTP/1.` and a digit: of a later minor version only what 1.1 knows is used (RFC 9110 §2.5).
fn read_version(version: &[u8]) -> Option<Version> {
    match version {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor @ b'0'..=b'9',
        ] => Some(Version {
            major: 1,
            minor: minor - b'0',
        }),
        _ => None,
    }
}

/// A target's path and query, if it has a form that RFC 9112 §3.2 gives to the method.
///
/// A fragment does not belong there (RFC 9110 §4.2.5); Gunicorn takes one, and so do we: it is cut off.
fn split_target<'t>(method: &[u8], target: &'t [u8]) -> Option<(&'t [u8], &'t [u8])> {
    if !is_visible(target) {
        return None;
    }
    if method == b"CONNECT" {
        // An empty port must be refused (RFC 9110 §9.3.6).
        return match host_and_port(target)? {
            (_, Some([_, ..])) => Some((b"", b"")),
            _ => None,
        };
    }
    match target {
        [b'/', ..] => Some(split_path(target)),
        b"*" => (method == b"OPTIONS").then_some((target, b"")),
        _ => {
            let scheme = memmem::find(target, b"://")?;
            if !is_scheme(&target[..scheme]) {
                return None;
            }
            let rest = &target[scheme + 3..];
            let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#');
            let end = rest.iter().position(is_end).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            is_authority(authority).then(|| split_path(rest))
        }
    }
}

fn split_path(target: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr2(b'?', b'#', target) else {
        return (target, b"");
    };
    let (path, rest) = target.split_at(end);
    let Some(query) = rest.strip_prefix(b"?") else {
        return (path, b"");
    };
    (path, &query[..memchr(b'#', query).unwrap_or(query.len())])
}

/// RFC 3986 §3.1.
fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
}

/// `[ userinfo "@" ] host [ ":" port ]` (RFC 3986 §3.2).
fn is_authority(authority: &[u8]) -> bool {
    let host = match memrchr(b'@', authority) {
        Some(at) if memchr2(b'[', b']', &authority[..at]).is_none() => &authority[at + 1..],
        Some(_) => return false,
        None => authority,
    };
    host_and_port(host).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: &str, target: &str) -> Result<RequestLine, ParseError> {
        RequestLine::read(format!("{method} {target} HTTP/1.1").as_bytes())
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
            let read = RequestLine::read(line.as_bytes()).unwrap();
            let parts = [read.target, read.path, read.query].map(|span| span.of(line.as_bytes()));
            assert_eq!(parts, [text, path, query].map(str::as_bytes), "{line}");
        }
    }

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

    #[test]
    fn a_request_line_has_three_parts_and_a_version_1() {
        for bad in ["GET /", "GET\t/\tHTTP/1.1", "GET", ""] {
            assert!(
                matches!(
                    RequestLine::read(bad.as_bytes()),
                    Err(ParseError::RequestLine(_))
                ),
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
            let error = RequestLine::read(format!("GET / {bad}").as_bytes()).unwrap_err();
            assert!(matches!(error, ParseError::Version(_)), "{bad:?}: {error}");
        }
    }
}
