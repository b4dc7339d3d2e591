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
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::reopen::LogFile;
use super::statsd::Statsd;
use super::syslog::{Severity, Syslog};
use super::timestamp::{iso, moment};
use super::{STREAM, json};
use crate::error::{Error, Result};
use crate::sys::sigpipe;
use crate::trace;

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
    /// `None` for the standard error.
    file: Option<Arc<LogFile>>,
    /// What events are made for: the same or more than what is written here.
    level: LevelFilter,
    format: LogLine,
    copies: Copies,
}

/// Takes a message in the place of this log, with its level as Python's `logging` counts them. Returns whether it has.
pub(crate) type Relay = fn(u8, &dyn fmt::Display) -> bool;

static RELAY: OnceLock<Relay> = OnceLock::new();

/// Has each message of this process offered to `relay`, before it is written to the log. The first call counts.
#[cfg(feature = "wsgi")]
pub(crate) fn relay_messages(relay: Relay) {
    let _ = RELAY.set(relay);
}

/// The standard error, without the lock of `std`: a child that is forked while another thread writes would find it held,
/// and stay so.
struct Stderr;

/// What each line on the standard error begins with.
static BEFORE_LINES: OnceLock<&str> = OnceLock::new();

/// Sets what each line on the standard error begins with, also in workers that are forked later: a terminal may show a
/// line there that is to be written over. The first call counts.
#[cfg(feature = "cli")]
pub(crate) fn begin_lines_with(codes: &'static str) {
    let _ = BEFORE_LINES.set(codes);
}

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match BEFORE_LINES.get() {
            Some(codes) => {
                let line = [codes.as_bytes(), bytes].concat();
                sigpipe::write_all(io::stderr(), &line)?;
            }
            None => sigpipe::write_all(io::stderr(), bytes)?,
        }
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
        let file = LogFile::open(path.as_ref(), "error")?;
        let mut log = Self::to(Lines(Arc::clone(&file)));
        log.file = Some(file);
        Ok(log)
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
            file: None,
            level: LevelFilter::INFO,
            format: LogLine::default(),
            copies: Copies::default(),
        }
    }

    /// Makes each message a JSON object (RFC 8259) on a line of its own: `time`, `pid`, `level`, `message`, and
    /// `request_id` where the message is about a request that has one.
    pub fn json(mut self, json: bool) -> Self {
        self.format.json = json;
        self
    }

    /// Sets whether times are in UTC. The default is the zone of the process.
    pub fn utc(mut self, utc: bool) -> Self {
        self.format.utc = utc;
        self
    }

    /// Sends what this process and its children write to the standard output and the standard error to the log's file,
    /// also after it was opened again. Without effect on a log that goes to the standard error.
    ///
    /// # Errors
    ///
    /// The streams cannot be replaced.
    pub fn capture_output(self) -> Result<Self> {
        if let Some(file) = &self.file {
            file.capture()
                .map_err(|error| Error::io("cannot capture the output", error))?;
        }
        Ok(self)
    }

    /// Sends messages to a syslog daemon as well.
    pub fn syslog(mut self, syslog: Syslog) -> Self {
        self.copies.syslog = Some(syslog);
        self
    }

    /// Counts warnings, errors and critical messages there.
    pub fn statsd(mut self, statsd: Statsd) -> Self {
        self.copies.statsd = Some(statsd);
        self
    }

    /// The least severe messages to write: `debug`, `info`, `warning`, `error`, or `critical`, in any case.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] for another text.
    pub fn level(mut self, level: impl AsRef<str>) -> Result<Self> {
        let text = level.as_ref();
        let level = text.to_ascii_lowercase();
        let least;
        (self.level, least) = match level.as_str() {
            "debug" => (LevelFilter::DEBUG, Severity::Debug),
            "info" => (LevelFilter::INFO, Severity::Info),
            "warning" => (LevelFilter::WARN, Severity::Warning),
            "error" => (LevelFilter::ERROR, Severity::Error),
            "critical" => (LevelFilter::ERROR, Severity::Critical),
            _ => {
                return Err(Error::config(format!(
                    "unknown log level '{text}': expected one of debug, info, warning, error, critical"
                )));
            }
        };
        (self.format.least, self.copies.least) = (least, least);
        Ok(self)
    }

    /// Has messages of all levels made, for a [relay](relay_messages) that has a level of its own.
    #[cfg(feature = "wsgi")]
    pub(crate) fn relayed(mut self) -> Self {
        self.level = LevelFilter::DEBUG;
        self
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
            .event_format(self.format)
            // It would be said on a standard error that may be closed, by a macro that panics then.
            .log_internal_errors(false);
        let copies = Some(self.copies).filter(Copies::is_used);
        let level = self.level;
        // Of a request's spans it shows nothing, so they are not to be made.
        let events = filter::filter_fn(move |it| it.is_event() && *it.level() <= level);
        tracing_subscriber::registry()
            .with(events.with_max_level_hint(level))
            .with(copies)
            .with(lines)
    }
}

/// One message: Gunicorn's prefix, the text, and the event's other fields behind it.
#[derive(Clone, Copy, Debug, Default)]
struct LogLine {
    json: bool,
    utc: bool,
    least: Severity,
}

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
        let severity = severity(event);
        let (level, number) = match severity {
            Severity::Critical => ("CRITICAL", 50),
            Severity::Error => ("ERROR", 40),
            Severity::Warning => ("WARNING", 30),
            Severity::Info => ("INFO", 20),
            Severity::Debug => ("DEBUG", 10),
        };
        // A relay has a level of its own.
        let is_relayed = RELAY
            .get()
            .is_some_and(|relay| relay(number, &Message(event)));
        if is_relayed || severity > self.least {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let (now, pid) = (now.unwrap_or_default(), process::id());
        if self.json {
            writer.write_str("{\"time\":\"")?;
            iso(&mut writer, now, self.utc);
            let text = Message(event).to_string();
            let mut message = Vec::with_capacity(text.len() + 2);
            json::string(&mut message, text.as_bytes());
            trace::request_id(|id| {
                if let Some(id) = id {
                    message.extend_from_slice(b",\"request_id\":");
                    json::string(&mut message, id.as_bytes());
                }
            });
            let message = String::from_utf8_lossy(&message);
            return writeln!(
                writer,
                "\",\"pid\":{pid},\"level\":\"{level}\",\"message\":{message}}}"
            );
        }
        let time = moment(now.as_secs(), self.utc);
        let (year, month, day) = (time.year, time.month, time.day);
        let time = time.time_of_day();
        write!(
            writer,
            "[{year}-{month:02}-{day:02} {time}] [{pid}] [{level}] "
        )?;
        trace::request_id(|id| id.map_or(Ok(()), |id| write!(writer, "[{id}] ")))?;
        writeln!(writer, "{}", Message(event))
    }
}

/// How severe an event is. Critical ones have a field of that name.
fn severity(event: &Event<'_>) -> Severity {
    match *event.metadata().level() {
        Level::ERROR if event.metadata().fields().field(CRITICAL).is_some() => Severity::Critical,
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}

/// The field of critical events.
const CRITICAL: &str = "critical";

/// Where messages go besides the log itself.
#[derive(Debug, Default)]
struct Copies {
    syslog: Option<Syslog>,
    statsd: Option<Statsd>,
    least: Severity,
}

impl Copies {
    fn is_used(&self) -> bool {
        self.syslog.is_some() || self.statsd.is_some()
    }
}

impl<S: Subscriber> Layer<S> for Copies {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = severity(event);
        if severity > self.least {
            return;
        }
        if let Some(syslog) = &self.syslog {
            trace::request_id(|id| match id {
                None => syslog.send(severity, Message(event)),
                Some(id) => syslog.send(severity, format_args!("[{id}] {}", Message(event))),
            });
        }
        if let Some(statsd) = &self.statsd {
            statsd.count_message(severity);
        }
    }
}

/// The text of an event.
struct Message<'e, 'v>(&'e Event<'v>);

impl fmt::Display for Message<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [Part::Message, Part::Others] {
            let mut fields = Fields {
                part,
                writer: f,
                outcome: Ok(()),
            };
            self.0.record(&mut fields);
            fields.outcome?;
        }
        Ok(())
    }
}

/// Fields come in the order of their declaration, the message often last: so they are visited twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Message,
    Others,
}

struct Fields<'w, 'f> {
    part: Part,
    writer: &'w mut fmt::Formatter<'f>,
    outcome: fmt::Result,
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.outcome.is_err() {
            return;
        }
        self.outcome = match (self.part, field.name()) {
            (_, CRITICAL) => Ok(()),
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

    // Gunicorn: L26
    #[test]
    fn a_critical_message_is_shown_as_one() {
        let messages = || {
            crate::trace::critical!("WORKER TIMEOUT (pid:{})", 7);
            tracing::error!("e");
        };
        let text = written("critical", messages);
        assert!(
            text.ends_with("[CRITICAL] WORKER TIMEOUT (pid:7)\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
        assert_eq!(written("error", messages).lines().count(), 2);
    }

    #[test]
    fn a_message_of_json_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        let log = ErrorLog::open(&path).unwrap().json(true).utc(true);
        tracing::subscriber::with_default(log.into_subscriber(), || {
            tracing::warn!(worker = 3, "low on \"ink\"\nand paper");
        });
        let text = fs::read_to_string(path).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(line["level"], "WARNING");
        assert_eq!(line["message"], "low on \"ink\"\nand paper worker=3");
        assert_eq!(line["pid"], process::id());
        assert!(line["time"].as_str().unwrap().ends_with("+00:00"));
    }

    // Gunicorn: S62, L6, L26
    #[test]
    fn messages_go_to_syslog_and_are_counted() {
        use std::net::UdpSocket;
        let [syslog, statsd] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = |socket: &UdpSocket| socket.local_addr().unwrap().to_string();
        let received = |socket: &UdpSocket| {
            let mut text = [0; 200];
            let length = socket.recv(&mut text).unwrap();
            String::from_utf8(text[..length].to_vec()).unwrap()
        };
        let to = format!("udp://{}", address(&syslog)).parse().unwrap();
        let log = ErrorLog::open("/dev/null").unwrap();
        let log = log.syslog(Syslog::new(&to, "user", "app", "error").unwrap());
        let log = log.statsd(Statsd::new(&address(&statsd).parse().unwrap(), "", ""));
        tracing::subscriber::with_default(log.into_subscriber(), || {
            tracing::info!("one");
            tracing::error!("two");
        });
        let pid = process::id();
        assert_eq!(
            received(&syslog),
            format!("<14>gunicorn.app.error: [{pid}] one\0")
        );
        assert_eq!(
            received(&syslog),
            format!("<11>gunicorn.app.error: [{pid}] two\0")
        );
        assert_eq!(received(&statsd), "gunicorn.log.error:1|c|@1.0");
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
            ("critical", 0),
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
