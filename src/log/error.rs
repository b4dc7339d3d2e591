//! [`ErrorLog`]: messages as Gunicorn writes them, as a subscriber of `tracing`.
//!
//! It is installed by the program that wants it and never by this crate.
//!
//! ```text
//!   [2026-03-05 14:07:09 +0100] [4711] [INFO] Listening at: http://127.0.0.1:8000
//! ```

use std::fmt;
use std::io;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use super::STREAM;
use super::reopen::LogFile;
use crate::error::{Error, Result};
use crate::sys::local_time::LocalTime;
use crate::sys::sigpipe;

/// The log of messages: time, process, level, and a text that may have several lines.
///
/// ```no_run
/// # fn main() -> oxicorn::Result<()> {
/// oxicorn::log::ErrorLog::stderr().level("debug")?.install()
/// # }
/// ```
///
/// Each message is one write. The process id is that of the writing process, so that one log serves an
/// arbiter and the workers that it forks.
#[derive(Debug)]
#[must_use = "a log does nothing until it is installed"]
pub struct ErrorLog {
    writer: BoxMakeWriter,
    level: LevelFilter,
}

/// The standard error, without the lock of `std`: a child that is forked while another thread writes would find it held,
/// and stay so.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sigpipe::write_all(io::stderr(), bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives out the file as a writer.
struct Lines(Arc<LogFile>);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = &'w LogFile;

    fn make_writer(&'w self) -> Self::Writer {
        &self.0
    }
}

impl ErrorLog {
    /// A log to the standard error, for messages from `info` on.
    pub fn stderr() -> Self {
        Self::to(|| Stderr)
    }

    /// A log to a file, which is appended to, and made if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`], naming the path, where it cannot be opened.
    pub fn file(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::to(Lines(LogFile::open(path.as_ref(), "error")?)))
    }

    /// What the setting `errorlog` means: a file, or `-` for the standard error.
    ///
    /// # Errors
    ///
    /// Those of [`file`](Self::file).
    pub fn open(destination: impl AsRef<Path>) -> Result<Self> {
        let path = destination.as_ref();
        if path == Path::new(STREAM) {
            Ok(Self::stderr())
        } else {
            Self::file(path)
        }
    }

    fn to(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Self {
        Self {
            writer: BoxMakeWriter::new(writer),
            level: LevelFilter::INFO,
        }
    }

    /// The least severe messages to write: `debug`, `info`, `warning`, `error`, or `critical`, of which
    /// there are none beside errors. In any case.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] for another text.
    pub fn level(mut self, level: impl AsRef<str>) -> Result<Self> {
        let text = level.as_ref();
        self.level = match text.to_ascii_lowercase().as_str() {
            "debug" => LevelFilter::DEBUG,
            "info" => LevelFilter::INFO,
            "warning" => LevelFilter::WARN,
            "error" | "critical" => LevelFilter::ERROR,
            _ => {
                return Err(Error::config(format!(
                    "unknown log level '{text}': expected one of debug, info, warning, error, critical"
                )));
            }
        };
        Ok(self)
    }

    /// Makes it the subscriber of the whole process.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] if the process has one already, which then stays.
    pub fn install(self) -> Result<()> {
        tracing::subscriber::set_global_default(self.into_subscriber()).map_err(|error| {
            Error::config("this process has a tracing subscriber already").because(error)
        })
    }

    fn into_subscriber(self) -> impl Subscriber + Send + Sync {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(self.writer)
            .event_format(LogLine)
            // It would be said on a standard error that may be closed, by a macro that panics then.
            .log_internal_errors(false);
        tracing_subscriber::registry().with(self.level).with(lines)
    }
}

/// One message: Gunicorn's prefix, the text, and the event's other fields behind it.
struct LogLine;

impl<S, N> FormatEvent<S, N> for LogLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        timestamp(&mut writer)?;
        write!(writer, " [{}] [{level}] ", process::id())?;
        for part in [Part::Message, Part::Others] {
            let mut fields = Fields {
                part,
                writer: writer.by_ref(),
                outcome: Ok(()),
            };
            event.record(&mut fields);
            fields.outcome?;
        }
        writeln!(writer)
    }
}

/// `[2026-03-05 14:07:09 +0100]`, now.
fn timestamp(writer: &mut Writer<'_>) -> fmt::Result {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.map_or(0, |now| now.as_secs())).ok();
    match now.and_then(LocalTime::at) {
        Some(time) => {
            let (year, month, day) = (time.year, time.month, time.day);
            let time = time.time_of_day();
            write!(writer, "[{year}-{month:02}-{day:02} {time}]")
        }
        None => writer.write_str("[-]"),
    }
}

/// Fields come in the order of their declaration, the message often last: so they are visited twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Message,
    Others,
}

struct Fields<'w> {
    part: Part,
    writer: Writer<'w>,
    outcome: fmt::Result,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.outcome.is_err() {
            return;
        }
        self.outcome = match (self.part, field.name()) {
            (Part::Message, "message") => write!(self.writer, "{value:?}"),
            (Part::Others, name) if name != "message" => write!(self.writer, " {name}={value:?}"),
            _ => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What `messages` write to a log of that level.
    fn written(level: &str, messages: impl FnOnce()) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        let log = ErrorLog::open(&path).unwrap().level(level).unwrap();
        tracing::subscriber::with_default(log.into_subscriber(), messages);
        fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn a_message_has_time_process_and_level() {
        let text = written("info", || tracing::warn!("low on {}", "ink"));
        let rest = text.strip_prefix('[').unwrap();
        let (time, rest) = rest.split_once("] ").unwrap();
        assert_eq!(rest, format!("[{}] [WARNING] low on ink\n", process::id()));
        let shape = time.replace(|digit: char| digit.is_ascii_digit(), "9");
        assert_eq!(shape.replace('-', "+"), "9999+99+99 99:99:99 +9999");
    }

    #[test]
    fn a_message_may_have_several_lines() {
        let text = written("info", || tracing::error!("Traceback:\n  here\nValueError"));
        assert!(
            text.ends_with("[ERROR] Traceback:\n  here\nValueError\n"),
            "{text}"
        );
    }

    #[test]
    fn other_fields_follow_the_message() {
        let text = written("info", || tracing::info!(worker = 3, name = "a", "booted"));
        assert!(
            text.ends_with("[INFO] booted worker=3 name=\"a\"\n"),
            "{text}"
        );
    }

    #[test]
    fn less_severe_messages_are_left_out() {
        let messages = || {
            tracing::debug!("d");
            tracing::info!("i");
            tracing::warn!("w");
            tracing::error!("e");
        };
        for (level, count) in [
            ("debug", 4),
            ("INFO", 3),
            ("warning", 2),
            ("error", 1),
            ("critical", 1),
        ] {
            assert_eq!(written(level, messages).lines().count(), count, "{level}");
        }
    }

    #[test]
    fn an_unknown_level_is_an_error_that_names_the_choices() {
        let error = ErrorLog::stderr().level("loud").unwrap_err();
        assert!(error.is_config());
        assert!(error.to_string().contains("'loud'"));
        assert!(error.to_string().contains("warning"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
        let error = ErrorLog::open("/no/such/folder/error.log").unwrap_err();
        assert!(error.is_config());
        assert!(error.to_string().contains("/no/such/folder/error.log"));
    }
}
