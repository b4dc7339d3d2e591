//! What is written for the operator: [`AccessLog`], a line for each request, and [`ErrorLog`], messages.
//!
//! Nothing is logged by being linked: both are made, and the second installed, by the program itself.
//!
//! *Invariants*
//!
//! - A line is written whole, whichever process writes beside.
//! - What a client sent cannot end a line or a quoted field of the access log.
//! - A log that cannot be opened is an error when it is made; one that fails later stops no request.
//! - Root opens a log through no link but root's own, and gives no other user's file away.
//! - A log whose file was moved away goes on in it until it is opened again.

mod access;
mod atom;
#[cfg(feature = "tracing")]
mod error;
mod escape;
mod filter;
mod format;
mod json;
mod reopen;
mod statsd;
mod syslog;
mod timestamp;
mod user;

use std::path::Path;

pub use access::AccessLog;
#[cfg(feature = "tracing")]
pub use error::ErrorLog;
#[cfg(all(feature = "cli", feature = "tracing"))]
pub(crate) use error::begin_lines_with;
#[cfg(all(feature = "wsgi", feature = "tracing"))]
pub(crate) use error::relay_messages;
pub use filter::AccessFilter;
pub use format::AccessFormat;
pub(crate) use reopen::give_to;
pub use reopen::reopen;
#[cfg(feature = "wsgi")]
pub(crate) use reopen::times_reopened;
pub use statsd::{Statsd, StatsdAddress};
pub use syslog::{Syslog, SyslogAddress};

use crate::error::{Error, Result};
use crate::sys::append_file::Appended;

/// What stands for the process's own stream in place of a path.
const STREAM: &str = "-";

/// Opens a log file.
fn append(path: &Path, which: &str) -> Result<Appended> {
    Appended::open(path).map_err(|error| {
        Error::config(format!(
            "cannot open the {which} log {}: {error}",
            path.display()
        ))
        .because(error)
    })
}
