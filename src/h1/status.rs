//! Status codes in words: reason phrases and error pages.
//!
//! Nothing here decides which status an error has.

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

/// A small page for an error's answer: the reason as title and heading, and `text`, escaped for HTML.
#[must_use]
pub fn error_page(status: u16, text: &str) -> Vec<u8> {
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
    page.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_its_text() {
        let page = String::from_utf8(error_page(400, "a <b> & \"c\"")).unwrap();
        assert!(page.contains("<title>Bad Request</title>"));
        assert!(page.contains("<p>a &lt;b&gt; &amp; &quot;c&quot;</p>"));
    }

    #[test]
    fn an_unknown_status_has_a_page_too() {
        assert_eq!(reason_phrase(599), "");
        let page = String::from_utf8(error_page(599, "")).unwrap();
        assert!(page.contains("<h1>Error</h1>") && !page.contains("<p>"));
    }

    #[test]
    fn every_refusal_has_the_reason_of_its_status() {
        for (status, reason) in [
            (400, "Bad Request"),
            (408, "Request Timeout"),
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (417, "Expectation Failed"),
            (431, "Request Header Fields Too Large"),
            (500, "Internal Server Error"),
            (501, "Not Implemented"),
            (503, "Service Unavailable"),
        ] {
            assert_eq!(reason_phrase(status), reason);
        }
    }
}
