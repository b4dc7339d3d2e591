//! The crate's one error type: opaque, with a sentence for a person and predicates for a program.
//!
//! Layer errors (`h1::ParseError`, `net::BindError`, `config::SettingError`) are enums of their own and
//! become an [`Error`] where they leave their layer.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// Any error.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in one sentence that names the cause.
///
/// `Debug` prints the same sentence as `Display`, since that is what a `main` that returns a `Result`
/// shows. What kind of error it is, the predicates tell.
///
/// ```
/// let error = oxicorn::Server::bind("localhost:no").unwrap_err();
/// assert!(error.is_bind());
/// println!("{error}");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: Cow<'static, str>,
    source: Option<BoxError>,
    /// What a service wanted its process to end with.
    exit_status: Option<i32>,
}

/// The kinds that a program may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Kind {
    /// A setting that cannot be used.
    Config,
    /// A command line that gave no settings: it has a mistake, or asked for a text.
    #[cfg(feature = "cli")]
    CommandLine {
        /// The exit status: 0 for a text that was asked for.
        status: u8,
    },
    /// A listening socket that could not be had.
    Bind,
    /// A worker failed before it was ready.
    Boot,
    /// The application's specification could not be resolved.
    App,
    /// The client has gone.
    Disconnected,
    /// A deadline passed.
    Timeout,
    /// The response that a service gave cannot be sent.
    Response,
    /// The request's body was malformed or cut.
    Body,
    /// An operation of the system failed.
    Io,
    /// A service's own failure.
    Service,
    /// A request that the service cannot use.
    BadRequest,
}

impl Error {
    /// An error of a service or a worker of your own: `message` is the sentence that is logged.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Service, message)
    }

    /// The same, keeping the error that caused it as [`source`](std::error::Error::source).
    pub fn with_source(message: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self::new(message).because(source)
    }

    /// The error of other code, as a service's `?` gives it: an [`Error`] and an `io::Error` as what they are
    ///, any other with its own sentence and itself as the source.
    pub fn from_boxed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<io::Error>() {
            Ok(error) => Self::from(*error),
            Err(error) => Self::new(error.to_string()).because(error),
        }
    }

    /// The client's request cannot be used. Where the service passes the error on, and has not begun to answer, the client
    /// gets 400 with `message`.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::BadRequest, message)
    }

    /// An application that cannot be found or is not callable: [`exit_code`](Self::exit_code) 4.
    pub fn app(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::App, message)
    }

    /// A worker that failed before it was ready: [`exit_code`](Self::exit_code) 3.
    pub fn boot(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Boot, message)
    }

    /// The client has closed its connection. The server has made no mistake.
    #[must_use]
    pub fn disconnected() -> Self {
        Self::of(Kind::Disconnected, "the client has disconnected")
    }

    pub(crate) fn of(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            exit_status: None,
        }))
    }

    pub(crate) fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Config, message)
    }

    /// A command line that gave no settings: `text` is shown, and the status is 0 if it was asked for.
    #[cfg(feature = "cli")]
    pub(crate) fn command_line(text: impl Into<Cow<'static, str>>, status: u8) -> Self {
        Self::of(Kind::CommandLine { status }, text)
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, with what it is about in front of its sentence.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message).into();
        self
    }

    /// The service wanted its process to end, with this status.
    pub(crate) fn with_exit_status(mut self, status: Option<i32>) -> Self {
        self.0.exit_status = status;
        self
    }

    /// What the service wanted its process to end with, if it wanted that.
    pub(crate) fn exit_status(&self) -> Option<i32> {
        self.0.exit_status
    }

    /// An operation of the system failed: `what` was being done.
    pub(crate) fn io(what: impl fmt::Display, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        Self::of(Kind::Io, format!("{what}: {error}")).because(error)
    }

    /// `who`, code of the program's own, panicked.
    pub(crate) fn panicked(who: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::new(match text {
            Some(text) => format!("{who} panicked: {text}"),
            None => format!("{who} panicked"),
        })
    }

    /// For a log: the sentence and, on lines of their own, the causes that it does not quote itself, such
    /// as the traceback of an application's exception.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let line = error.to_string();
            if !text.contains(&line) {
                text.push('\n');
                text.push_str(&line);
            }
            cause = error.source();
        }
        text
    }

    /// A setting cannot be used, or a command line gave no settings.
    #[must_use]
    pub fn is_config(&self) -> bool {
        match self.0.kind {
            Kind::Config => true,
            #[cfg(feature = "cli")]
            Kind::CommandLine { .. } => true,
            _ => false,
        }
    }

    /// A listening socket could not be had.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.0.kind == Kind::Bind
    }

    /// A worker failed before it was ready (Gunicorn's status 3).
    #[must_use]
    pub fn is_boot(&self) -> bool {
        self.0.kind == Kind::Boot
    }

    /// The application could not be found or is not callable (Gunicorn's status 4).
    #[must_use]
    pub fn is_app(&self) -> bool {
        self.0.kind == Kind::App
    }

    /// Whether the client has closed its connection, so that an answer cannot reach it.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.0.kind == Kind::Disconnected
    }

    /// A deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// A request's body could not be read to its end: it was malformed, cut, too large or too slow. The
    /// client has been or will be told.
    #[must_use]
    pub fn is_body(&self) -> bool {
        self.0.kind == Kind::Body
    }

    /// The request is one that the service cannot use: [`bad_request`](Self::bad_request).
    #[must_use]
    pub fn is_bad_request(&self) -> bool {
        self.0.kind == Kind::BadRequest
    }

    /// The response that a service gave cannot be sent as it is.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.0.kind == Kind::Response
    }

    /// The status that a process which ends with this error should exit with: Gunicorn's 3 for a worker
    /// that failed to boot, 4 for an application that could not be found, 1 for everything else. A command line has 2
    /// for its own mistakes, and 0 for a text that it asked for, as in `--help`. A configuration file that calls
    /// `sys.exit` says it by itself, and a hook `pre_fork` that fails at the start has 255.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            Kind::Boot => 3,
            Kind::App => 4,
            #[cfg(feature = "cli")]
            Kind::CommandLine { status } => status,
            Kind::Config => self
                .0
                .exit_status
                .map_or(1, |status| status.to_le_bytes()[0]),
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

impl From<io::Error> for Error {
    /// An `io::Error` that carries an [`Error`] (as those of [`BodyWriter`](crate::service::BodyWriter) do) gives
    /// it back; a lost peer becomes [`Error::disconnected`].
    fn from(error: io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(inner) => return inner,
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected => Self::disconnected().because(error),
            _ => Self::of(Kind::Io, error.to_string()).because(error),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.0.kind {
            Kind::Disconnected => io::ErrorKind::BrokenPipe,
            Kind::Timeout => io::ErrorKind::TimedOut,
            Kind::Body => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_sentence() {
        assert_eq!(
            format!("{:?}", Error::app("no module named 'shop'")),
            "no module named 'shop'"
        );
    }

    #[test]
    fn a_report_names_each_cause_once() {
        let quoted = Error::io("cannot read x", io::Error::other("no disk"));
        assert_eq!(quoted.report(), "cannot read x: no disk");
        let caused = Error::with_source("cannot start", quoted);
        assert_eq!(caused.report(), "cannot start\ncannot read x: no disk");
    }

    #[test]
    fn an_error_survives_a_trip_through_io_error() {
        let there: io::Error = Error::app("gone").into();
        let back: Error = there.into();
        assert!(back.is_app());
        assert_eq!(back.exit_code(), 4);
    }

    #[test]
    fn a_lost_peer_is_a_disconnect() {
        assert!(Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_disconnected());
        assert!(!Error::from(io::Error::from(io::ErrorKind::NotFound)).is_disconnected());
    }

    #[test]
    fn a_panic_is_told_with_its_message() {
        let text = |panic: Box<dyn Any + Send>| Error::panicked("it", &*panic).to_string();
        assert_eq!(text(Box::new("x")), "it panicked: x");
        assert_eq!(text(Box::new("x".to_owned())), "it panicked: x");
        assert_eq!(text(Box::new(1)), "it panicked");
    }
}
