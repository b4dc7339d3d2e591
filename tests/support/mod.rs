//! What the integration tests share: a server in a process of its own, a client, an environment for Python.
//!
//! Nothing here sleeps for a fixed time: every wait is for a condition, and has a deadline.

mod client;
mod gate;
mod process;
#[cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]
mod python;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use oxicorn::MonoTime;

pub(crate) use client::{Browser, Client, Response};
pub(crate) use gate::Gate;
pub(crate) use process::{Exited, Lines, Process, send};
#[cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]
pub(crate) use python::python_env;
pub(crate) use server::{Address, Serve, Server};

/// How long a test waits for what must happen; far more than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The package's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().unwrap_or(scratch).to_owned()
}

/// Asks until there is an answer.
///
/// # Panics
///
/// Where there is none within [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = MonoTime::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        let waited = MonoTime::now().since(start);
        assert!(waited < PATIENCE, "waited {waited:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
