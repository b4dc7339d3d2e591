//! [`exit`]: how a program's `main` ends.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::error::Result;
use crate::sys::{daemon, terminal};
use crate::trace;

/// The exit status for a program's `main`, as Gunicorn's: 0 after a stop, 1 for a setting or an address that cannot be
/// used, 2 for a mistake of the command line, 3 for a worker that failed to boot, 4 for an application that could not be
/// loaded. It is [`Error::exit_code`](crate::Error::exit_code).
///
/// The error is shown in one sentence on the standard error, and a daemon's also goes to the log. A text that the command
/// line asked for, as in `--help`, is shown on the standard output. The process is not ended: `main` returns the status,
/// so that values are dropped.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use oxicorn::{Request, Responder, Result, Server};
///
/// fn main() -> ExitCode {
///     oxicorn::exit(serve())
/// }
///
/// fn serve() -> Result<()> {
///     let hello = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello\n");
///     Server::bind("127.0.0.1:8000")?.serve(hello)
/// }
/// ```
#[must_use = "main returns the status"]
pub fn exit(result: Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let status = error.exit_code();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    // The stream may be closed already.
    let _ = if status == 0 {
        let text = error.to_string();
        let lines = text.lines().map(|line| match line.strip_suffix(':') {
            // A heading of the help.
            Some(heading) if heading.chars().all(char::is_alphabetic) => terminal::bold(&out, line),
            _ => line.into(),
        });
        let lines: Vec<_> = lines.collect();
        writeln!(out, "{}", lines.join("\n"))
    } else {
        let head = terminal::red(&err, "Error:");
        writeln!(err, "{head} {error}")
    };
    if daemon::is_daemon() {
        trace::error!("{error}");
    }
    ExitCode::from(status)
}
