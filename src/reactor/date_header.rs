//! The lines that every response begins with: `Server` and `Date`.
//!
//! It never formats the date more than once a second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    static CACHE: RefCell<DateHeader> = const { RefCell::new(DateHeader { second: 0, lines: Vec::new(), server: String::new() }) };
}

struct DateHeader {
    second: u64,
    server: String,
    lines: Vec<u8>,
}

/// Calls `f` with the encoded lines for this moment; without a `Server` line where `server` is empty.
///
/// The date is that of RFC 9110 §6.6.1.
pub(super) fn with_lines<T>(server: &str, f: impl FnOnce(&[u8]) -> T) -> T {
    let second = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    CACHE.with_borrow_mut(|stamp| {
        if stamp.second != second || stamp.server != server {
            stamp.renew(second, server);
        }
        f(&stamp.lines)
    })
}

impl DateHeader {
    fn renew(&mut self, second: u64, server: &str) {
        self.second = second;
        server.clone_into(&mut self.server);
        self.lines.clear();
        if !server.is_empty() {
            self.lines.extend_from_slice(b"Server: ");
            self.lines.extend_from_slice(server.as_bytes());
            self.lines.extend_from_slice(b"\r\n");
        }
        self.lines.extend_from_slice(b"Date: ");
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        self.lines.extend_from_slice(date.as_bytes());
        self.lines.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_line_can_be_left_out() {
        with_lines("oxicorn", |lines| {
            assert!(
                lines.starts_with(b"Server: oxicorn\r\nDate: ") && lines.ends_with(b" GMT\r\n")
            );
        });
        with_lines("", |lines| assert!(lines.starts_with(b"Date: ")));
    }
}
