//! [`AccessLog`]: a line for each request, in Gunicorn's default format.
//!
//! It allocates nothing for a line, makes no system call before [`flush`](AccessSink::flush), and never
//! fails the request that it tells of.
//!
//! ```text
//!   %(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"
//!
//!   127.0.0.1 - ann [05/Mar/2026:14:07:09 +0100] "GET /?x=1 HTTP/1.1" 200 5 "-" "curl/8.9"
//! ```
//!
//! | field | value |
//! |---|---|
//! | h | the peer's IP address; `-` on a Unix socket, where Gunicorn leaves the field out |
//! | l | `-` |
//! | u | the user of Basic authentication (RFC 7617), or `-` |
//! | t | local time when the line is recorded |
//! | r | method, target and version as they were sent; `-` where no head could be read |
//! | s | the status; `-` where the client left before there was one |
//! | b | bytes of the body that were sent |
//! | f, a | the fields `Referer` and `User-Agent`, or `-` |
//!
//! Values are escaped: `\"`, `\\`, and `\xHH` for everything but visible ASCII.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::reopen::LogFile;
use super::{STREAM, escape, user};
use crate::access::{Access, AccessSink};
use crate::error::Result;
use crate::service::Address;
use crate::sys::local_time::{LocalTime, Offset};
use crate::sys::sigpipe;

/// Lines that are kept until a flush; more are written at once.
const BUFFER: usize = 64 * 1024;
/// Up to here a write to a pipe is not mixed with another's (pipe(7), `PIPE_BUF`).
const ATOMIC: usize = 4096;

/// A log with a line for each request.
///
/// Lines are collected and written together by [`flush`](AccessSink::flush), or when the log is dropped. Several
/// processes may write to the same file or pipe: lines are not mixed.
#[derive(Debug)]
pub struct AccessLog {
    target: Target,
    /// The most that one write may hold, unless a single line is longer.
    most: usize,
    lines: Vec<u8>,
    time: Stamp,
    /// Whether the last write failed: said once, not for each line.
    failing: bool,
}

#[derive(Debug)]
enum Target {
    /// Written to directly and not through `std`'s buffer, which a fork would copy.
    Stdout,
    File(Arc<LogFile>),
}

impl AccessLog {
    /// A log to the standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to(Target::Stdout)
    }

    /// A log to a file, which is appended to, and made if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`](crate::Error::is_config), naming the path, where it cannot be opened.
    pub fn file(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::to(Target::File(LogFile::open(
            path.as_ref(),
            "access",
        )?)))
    }

    /// What the setting `accesslog` means: a file, or `-` for the standard output.
    ///
    /// # Errors
    ///
    /// Those of [`file`](Self::file).
    pub fn open(destination: impl AsRef<Path>) -> Result<Self> {
        let path = destination.as_ref();
        if path == Path::new(STREAM) {
            Ok(Self::stdout())
        } else {
            Self::file(path)
        }
    }

    fn to(target: Target) -> Self {
        let most = match &target {
            Target::File(file) if file.is_regular() => usize::MAX,
            _ => ATOMIC,
        };
        Self {
            target,
            most,
            lines: Vec::new(),
            time: Stamp::default(),
            failing: false,
        }
    }
}

impl AccessSink for AccessLog {
    /// Adds the line of one exchange.
    fn record(&mut self, access: &Access<'_>) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        line(&mut self.lines, access, self.time.at(now));
        if self.lines.len() >= BUFFER {
            self.flush();
        }
    }

    /// Writes the lines that were recorded since the last time: to a file in one write.
    ///
    /// Where that fails the lines are lost, and the error is logged once until a write succeeds.
    fn flush(&mut self) {
        let mut outcome = Ok(());
        let mut left = &self.lines[..];
        while !left.is_empty() && outcome.is_ok() {
            let (now, later) = left.split_at(whole_lines(left, self.most));
            outcome = self.target.write_all(now);
            left = later;
        }
        self.lines.clear();
        match outcome {
            Ok(()) => self.failing = false,
            Err(_) if self.failing => {}
            Err(error) => {
                self.failing = true;
                crate::trace::error!("cannot write the access log, lines are lost: {error}");
            }
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Target {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => sigpipe::write_all(io::stdout(), bytes),
            Self::File(file) => sigpipe::write_all(&**file, bytes),
        }
    }
}

/// How much of `lines` to write at once: as many lines as fit into `most` bytes, and at least one.
fn whole_lines(lines: &[u8], most: usize) -> usize {
    if lines.len() <= most {
        return lines.len();
    }
    memchr::memrchr(b'\n', &lines[..most])
        .or_else(|| memchr::memchr(b'\n', lines))
        .map_or(lines.len(), |end| end + 1)
}

fn line(out: &mut Vec<u8>, access: &Access<'_>, time: &str) {
    match access.client() {
        Address::Ip(peer) => {
            // Writing to memory cannot fail.
            let _ = write!(out, "{}", peer.ip());
        }
        Address::Unix(_) | Address::Hidden => out.push(b'-'),
    }
    out.extend_from_slice(b" - ");
    user::basic(out, access.head.and_then(|head| head.get("authorization")));
    out.push(b' ');
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b" \"");
    match access.head {
        Some(head) => {
            escape::quoted(out, head.method().as_bytes());
            out.push(b' ');
            escape::quoted(out, head.target().as_bytes());
            let _ = write!(out, " {}", head.version());
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    match access.status {
        0 => out.push(b'-'),
        status => number(out, status.into()),
    }
    out.push(b' ');
    number(out, access.sent);
    for name in ["referer", "user-agent"] {
        out.extend_from_slice(b" \"");
        match access.head.and_then(|head| head.get(name)) {
            Some(value) if !value.is_empty() => escape::quoted(out, value),
            _ => out.push(b'-'),
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `[05/Mar/2026:14:07:09 +0100]`, made anew when the second changes.
#[derive(Debug, Default)]
struct Stamp {
    second: u64,
    text: String,
}

/// The months, as every reader of such a log knows them.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Stamp {
    /// The stamp of a moment, in seconds since 1970, in the zone of the process.
    fn at(&mut self, second: u64) -> &str {
        if self.second != second || self.text.is_empty() {
            self.second = second;
            let time = i64::try_from(second).ok().and_then(LocalTime::at);
            self.set(time.unwrap_or(BEGINNING));
        }
        &self.text
    }

    fn set(&mut self, time: LocalTime) {
        self.text.clear();
        let month = usize::try_from(time.month - 1).map_or("", |month| MONTHS[month]);
        let (year, day, time) = (time.year, time.day, time.time_of_day());
        let _ = write!(self.text, "[{day:02}/{month}/{year}:{time}]");
    }
}

/// The time of a clock that shows what no calendar has.
const BEGINNING: LocalTime = LocalTime {
    year: 1970,
    month: 1,
    day: 1,
    hour: 0,
    minute: 0,
    second: 0,
    offset: Offset(0),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{Head, Version};
    use crate::service::{ConnectionInfo, RequestInfo};
    use crate::time::MonoTime;
    use std::fs;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    const TIME: &str = "[05/Mar/2026:14:07:09 +0100]";

    fn head(fields: &[(&str, &[u8])]) -> Head {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), *value));
        Head::new("GET", "/a?x=1", Version::HTTP_10, fields).unwrap()
    }

    fn connection(peer: Address) -> ConnectionInfo {
        let local = Address::Ip("127.0.0.1:8000".parse().unwrap());
        ConnectionInfo::new(peer, 0, local)
    }

    fn tcp() -> ConnectionInfo {
        connection(Address::Ip("192.0.2.7:4711".parse().unwrap()))
    }

    fn access<'a>(connection: &'a ConnectionInfo, head: Option<&'a Head>) -> Access<'a> {
        Access {
            pid: 1,
            worker: 1,
            connection,
            request: RequestInfo::NONE,
            head,
            status: 200,
            refusal: None,
            received: 0,
            sent: 5,
            started: MonoTime::ZERO,
            finished: MonoTime::ZERO,
        }
    }

    fn text(access: &Access<'_>) -> String {
        let mut out = Vec::new();
        line(&mut out, access, TIME);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_gunicorns_default_line() {
        let head = head(&[
            ("User-Agent", b"curl/8.9"),
            ("referer", b"http://a/"),
            ("Authorization", b"Basic YW5uOnNlY3JldA=="),
        ]);
        assert_eq!(
            text(&access(&tcp(), Some(&head))),
            format!(
                "192.0.2.7 - ann {TIME} \"GET /a?x=1 HTTP/1.0\" 200 5 \"http://a/\" \"curl/8.9\"\n"
            )
        );
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let unix = connection(Address::Unix(None));
        let mut refused = access(&unix, None);
        refused.status = 0;
        refused.sent = 0;
        assert_eq!(
            text(&refused),
            format!("- - - {TIME} \"-\" - 0 \"-\" \"-\"\n")
        );
    }

    #[test]
    fn a_client_cannot_end_a_field_or_a_line() {
        let head = head(&[
            ("User-Agent", b"a\" 200 \\"),
            ("Referer", b"\x80\tx"),
            // "a b\nc:"
            ("Authorization", b"basic YSBiCmM6"),
        ]);
        assert_eq!(
            text(&access(&tcp(), Some(&head))),
            format!(
                "192.0.2.7 - a\\x20b\\x0ac {TIME} \"GET /a?x=1 HTTP/1.0\" 200 5 \"\\x80\\x09x\" \"a\\\" 200 \\\\\"\n"
            )
        );
    }

    #[test]
    fn an_ipv6_peer_has_no_brackets() {
        let peer = connection(Address::Ip("[2001:db8::1]:9".parse().unwrap()));
        assert!(text(&access(&peer, None)).starts_with("2001:db8::1 - - "));
    }

    #[test]
    fn time_is_made_once_a_second() {
        let mut stamp = Stamp::default();
        stamp.set(LocalTime {
            year: 2026,
            month: 3,
            day: 5,
            hour: 14,
            minute: 7,
            second: 9,
            offset: Offset(3600),
        });
        assert_eq!(stamp.text, TIME);
        stamp.at(1_772_716_029);
        stamp.text.replace_range(.., "kept");
        assert_eq!(stamp.at(1_772_716_029), "kept");
        assert_ne!(stamp.at(1_772_716_030), "kept");
        assert_eq!(stamp.at(u64::MAX), "[01/Jan/1970:00:00:00 +0000]");
    }

    #[test]
    fn lines_are_appended_when_flushed_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        fs::write(&path, "before\n").unwrap();
        let connection = tcp();
        let mut log = AccessLog::open(&path).unwrap();
        log.record(&access(&connection, None));
        log.record(&access(&connection, None));
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\n");
        log.flush();
        log.flush();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        log.record(&access(&connection, None));
        drop(log);
        let lines = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 4);
        assert!(lines.starts_with("before\n192.0.2.7 - - ["), "{lines}");
    }

    #[test]
    fn more_lines_than_the_buffer_holds_are_written_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let connection = tcp();
        let mut log = AccessLog::file(&path).unwrap();
        while fs::metadata(&path).unwrap().len() == 0 {
            assert!(log.lines.len() < BUFFER);
            log.record(&access(&connection, None));
        }
        assert!(log.lines.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
        let error = AccessLog::open("/no/such/folder/access.log").unwrap_err();
        assert!(error.is_config());
        let text = error.to_string();
        assert!(text.contains("/no/such/folder/access.log"), "{text}");
    }

    #[test]
    fn a_write_holds_whole_lines() {
        assert_eq!(whole_lines(b"a\nb\n", usize::MAX), 4);
        assert_eq!(whole_lines(b"aa\nbb\ncc\n", 7), 6);
        assert_eq!(whole_lines(b"aaaaaaaa\nb\n", 4), 9);
    }

    #[test]
    fn what_is_no_file_gets_every_line() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let mut log = AccessLog::file(path).unwrap();
        drop(writer);
        assert_eq!(log.most, ATOMIC);
        let connection = tcp();
        for _ in 0..100 {
            log.record(&access(&connection, None));
        }
        assert!(log.lines.len() > ATOMIC);
        drop(log);
        let mut lines = String::new();
        std::fs::File::from(reader)
            .read_to_string(&mut lines)
            .unwrap();
        assert_eq!(lines.lines().count(), 100);
    }

    #[test]
    fn a_log_that_fails_loses_lines_and_nothing_else() {
        let mut log = AccessLog::file("/dev/full").unwrap();
        let connection = tcp();
        log.record(&access(&connection, None));
        log.flush();
        assert!(log.failing);
        assert!(log.lines.is_empty());
    }
}
