//! Status codes in words: reason phrases and error pages.
//!
//! Nothing here decides which status an error has, and nothing is checked before it is sent.

use std::borrow::Cow;

/// The reason phrase of a status (the IANA registry of RFC 9110 §16.2.1); empty where there is none.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// The content of an answer of the server's own: see [`Conn::refuse`](super::Conn::refuse), which checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub(super) status: u16,
    pub(super) reason: Cow<'static, str>,
    pub(super) content_type: Cow<'static, str>,
    pub(super) body: Vec<u8>,
}

impl Page {
    /// A page with a status of 400 to 599 and its [standard reason](reason_phrase).
    #[must_use]
    pub fn new(
        status: u16,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(""),
            content_type: content_type.into(),
            body: body.into(),
        }
    }

    /// A page in HTML.
    #[must_use]
    pub fn html(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/html; charset=utf-8", body)
    }

    /// A page in plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// The same page with another reason phrase.
    #[must_use]
    pub fn with_reason(self, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { reason, ..self }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Its content.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// A small page for an error's answer: the reason as title and heading, and `text`, escaped for HTML.
#[must_use]
pub fn error_page(status: u16, text: &str) -> Page {
    let reason = match reason_phrase(status) {
        "" => "Error",
        reason => reason,
    };
    let mut page = format!(
        "<!DOCTYPE html>\n<html>\n<head><title>{reason}</title></head>\n<body>\n<h1>{reason}</h1>\n"
    );
    if !text.is_empty() {
        page.push_str("<p>");
        for char in text.chars() {
            match char {
                '&' => page.push_str("&amp;"),
                '<' => page.push_str("&lt;"),
                '>' => page.push_str("&gt;"),
                '"' => page.push_str("&quot;"),
                '\'' => page.push_str("&#39;"),
                char => page.push(char),
            }
        }
        page.push_str("</p>\n");
    }
    page.push_str("</body>\n</html>\n");
    Page::html(status, page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_its_text() {
        let page = String::from_utf8(error_page(400, "a <b> & \"c\"").body).unwrap();
        assert!(page.contains("<title>Bad Request</title>"));
        assert!(page.contains("<p>a &lt;b&gt; &amp; &quot;c&quot;</p>"));
    }

    #[test]
    fn an_unknown_status_has_a_page_too() {
        assert_eq!(reason_phrase(599), "");
        let page = String::from_utf8(error_page(599, "").body).unwrap();
        assert!(page.contains("<h1>Error</h1>") && !page.contains("<p>"));
    }

    // Gunicorn: P36
    #[test]
    fn every_refusal_has_the_reason_of_its_status() {
        for (status, reason) in [
            (400, "Bad Request"),
            (403, "Forbidden"),
            (408, "Request Timeout"),
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (417, "Expectation Failed"),
            (431, "Request Header Fields Too Large"),
            (500, "Internal Server Error"),
            (501, "Not Implemented"),
            (503, "Service Unavailable"),
            (504, "Gateway Timeout"),
        ] {
            assert_eq!(reason_phrase(status), reason);
        }
    }
}
