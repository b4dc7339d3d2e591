//! Lines of JSON (RFC 8259): one object a line, in ASCII.

use std::fmt;
use std::io::Write as _;

use super::atom::{client, last_field, number, request_id};
use super::user;
use crate::access::Access;
use crate::h1::Head;
use crate::json::write_text;

/// Adds the line of one exchange.
pub(super) fn write(out: &mut Vec<u8>, access: &Access<'_>, time: &str) {
    out.extend_from_slice(b"{\"time\":");
    string(out, time.as_bytes());
    let mut value = Vec::new();
    client(&mut value, access);
    text(out, "client", Some(&value).filter(|value| *value != b"-"));
    value.clear();
    user::basic(
        &mut value,
        access.head.and_then(|head| head.get("authorization")),
    );
    text(out, "user", Some(&value).filter(|value| *value != b"-"));
    text(out, "method", access.head.map(Head::method_bytes));
    text(out, "target", access.head.map(Head::target_bytes));
    let version = access.head.map(|head| head.version().to_string());
    text(out, "protocol", version.as_deref());
    key(out, "status");
    number(out, access.status.into());
    key(out, "bytes_sent");
    number(out, access.sent);
    key(out, "bytes_received");
    number(out, access.received);
    text(out, "referer", last_field(access, "referer"));
    text(out, "user_agent", last_field(access, "user-agent"));
    text(out, "request_id", request_id(access));
    for (name, seconds) in [
        ("duration", Some(access.elapsed())),
        ("first_byte", access.first_byte()),
        ("queue", access.queued()),
    ] {
        if let Some(seconds) = seconds {
            key(out, name);
            // Writing to memory cannot fail.
            let _ = write!(out, "{}.{:06}", seconds.as_secs(), seconds.subsec_micros());
        }
    }
    let _ = writeln!(
        out,
        ",\"pid\":{},\"worker\":{}}}",
        access.pid, access.worker
    );
}

fn key(out: &mut Vec<u8>, name: &str) {
    let _ = write!(out, ",\"{name}\":");
}

/// Adds a member, if there is a value.
fn text(out: &mut Vec<u8>, name: &str, value: Option<impl AsRef<[u8]>>) {
    if let Some(value) = value {
        key(out, name);
        string(out, value.as_ref());
    }
}

/// Adds a string. Bytes that are not UTF-8 are taken as Latin-1, as WSGI does.
pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut out = Ascii(out);
    // Writing to memory cannot fail.
    let _ = match std::str::from_utf8(bytes) {
        Ok(text) => write_text(&mut out, text.chars()),
        Err(_) => write_text(&mut out, bytes.iter().map(|byte| char::from(*byte))),
    };
}

struct Ascii<'o>(&'o mut Vec<u8>);

impl fmt::Write for Ascii<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_can_be_read_back() {
        for text in [
            "",
            "a \"b\" \\ c",
            "line\nline\r\0\u{7f}",
            "caf\u{e9} \u{1f600}",
        ] {
            let mut out = Vec::new();
            string(&mut out, text.as_bytes());
            assert!(out.is_ascii());
            let read: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(read, text);
        }
        let mut out = Vec::new();
        string(&mut out, b"\xff");
        assert_eq!(out, b"\"\\u00ff\"");
    }
}
