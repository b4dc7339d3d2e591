//! [`AccessLog`]: a line for each request, in Gunicorn's format or as JSON.
//!
//! It allocates nothing for a line, makes no system call before [`flush`](AccessSink::flush), and never
//! fails the request that it tells of. Values are escaped: `\"`, `\\`, and `\xHH` for everything but visible ASCII.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::atom::LogRecord;
use super::filter::AccessFilter;
use super::format::AccessFormat;
use super::reopen::LogFile;
use super::syslog::{Severity, Syslog};
use super::timestamp::Timestamp;
use super::{STREAM, json};
use crate::access::{Access, AccessSink};
use crate::error::Result;
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
    style: Style,
    filter: AccessFilter,
    time: Timestamp,
    /// Whether the last write failed: said once, not for each line.
    failing: bool,
}

#[derive(Debug)]
enum Style {
    Format(AccessFormat),
    Json,
}

#[derive(Debug)]
enum Target {
    /// Written to directly and not through `std`'s buffer, which a fork would copy.
    Stdout,
    File(Arc<LogFile>),
    Syslog(Syslog),
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

    /// A log to a syslog daemon, in a message for each request.
    #[must_use]
    pub fn syslog(syslog: Syslog) -> Self {
        Self::to(Target::Syslog(syslog))
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
            style: Style::Format(AccessFormat::default()),
            filter: AccessFilter::default(),
            time: Timestamp::default(),
            failing: false,
        }
    }

    /// Sets the format of its lines. The default is Gunicorn's.
    #[must_use]
    pub fn format(mut self, format: AccessFormat) -> Self {
        self.style = Style::Format(format);
        self
    }

    /// Makes each line a JSON object (RFC 8259), whose keys are described in `docs/SETTINGS.md` under `log_json`.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.style = Style::Json;
        self
    }

    /// Sets whether times are in UTC. The default is the zone of the process.
    #[must_use]
    pub fn utc(mut self, utc: bool) -> Self {
        self.time = Timestamp::new(utc);
        self
    }

    /// Sets which requests have no line. The default is none.
    #[must_use]
    pub fn filter(mut self, filter: AccessFilter) -> Self {
        self.filter = filter;
        self
    }
}

impl AccessSink for AccessLog {
    /// Adds the line of one exchange.
    fn record(&mut self, access: &Access<'_>) {
        if self.filter.leaves_out(access) {
            return;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        match &self.style {
            Style::Format(format) => {
                let time = self.time.at(now.as_secs());
                format.write(&mut self.lines, &LogRecord { access, time });
            }
            Style::Json => json::write(&mut self.lines, access, self.time.iso(now)),
        }
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
            Self::Syslog(syslog) => {
                for line in String::from_utf8_lossy(bytes).lines() {
                    syslog.send(Severity::Info, line);
                }
                Ok(())
            }
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

#[cfg(test)]
mod tests;
