//! The lines that every response begins with: `Server` and `Date`.
//!
//! It never asks for the date, or formats it, more than once a second. A date that is set meanwhile shows within a second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::MonoTime;

thread_local! {
    static CACHE: RefCell<DateHeader> = const { RefCell::new(DateHeader { until: MonoTime::ZERO, lines: Vec::new(), server: String::new() }) };
}

struct DateHeader {
    /// When the next second begins.
    until: MonoTime,
    server: String,
    lines: Vec<u8>,
}

/// Calls `f` with the encoded lines for the present moment, which is `now`; without a `Server` line where `server` is empty.
///
/// The date is that of RFC 9110 §6.6.1.
pub(super) fn with_lines<T>(server: &str, now: MonoTime, f: impl FnOnce(&[u8]) -> T) -> T {
    CACHE.with_borrow_mut(|stamp| {
        if now >= stamp.until || stamp.server != server {
            stamp.renew(now, server);
        }
        f(&stamp.lines)
    })
}

impl DateHeader {
    fn renew(&mut self, now: MonoTime, server: &str) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let second = Duration::from_secs(since.as_secs());
        self.until = now + (second + Duration::from_secs(1)).saturating_sub(since);
        server.clone_into(&mut self.server);
        self.lines.clear();
        if !server.is_empty() {
            self.lines.extend_from_slice(b"Server: ");
            self.lines.extend_from_slice(server.as_bytes());
            self.lines.extend_from_slice(b"\r\n");
        }
        self.lines.extend_from_slice(b"Date: ");
        let date = httpdate::fmt_http_date(UNIX_EPOCH + second);
        self.lines.extend_from_slice(date.as_bytes());
        self.lines.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_asked_for_once_a_second() {
        let mut stamp = DateHeader {
            until: MonoTime::ZERO,
            server: String::new(),
            lines: Vec::new(),
        };
        let second = Duration::from_secs(1);
        let now = MonoTime::from_nanos(7);
        stamp.renew(now, "");
        assert!(stamp.until > now && stamp.until <= now + second);
        stamp.renew(now + 5 * second, "");
        assert!(stamp.until > now + 5 * second && stamp.until <= now + 6 * second);
    }

    #[test]
    fn the_server_line_can_be_left_out() {
        let now = MonoTime::now();
        with_lines("oxicorn", now, |lines| {
            assert!(
                lines.starts_with(b"Server: oxicorn\r\nDate: ") && lines.ends_with(b" GMT\r\n")
            );
        });
        with_lines("", now, |lines| assert!(lines.starts_with(b"Date: ")));
    }
}
