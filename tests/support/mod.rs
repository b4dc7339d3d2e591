//! What the integration tests share: a process to be watched, a server in one, a client, an environment for Python.
//!
//! Nothing here sleeps for a fixed time: every wait is for a condition, and has a deadline.

#![expect(
    dead_code,
    unused_imports,
    reason = "each of the tests that share it takes its own part"
)]

mod arrival;
mod client;
mod flood;
mod gate;
pub(crate) mod load;
mod process;
#[cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]
mod python;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use oxicorn::time::MonoTime;

pub(crate) use arrival::await_arrival;
pub(crate) use client::{Broken, Browser, Client, Response};
pub(crate) use flood::{Flood, MOMENT};
pub(crate) use gate::Gate;
pub(crate) use process::{Exited, Lines, Process, children, is_there, send, suspend};
#[cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]
pub(crate) use python::{python, python_env};
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

/// Waits until it is so.
///
/// # Panics
///
/// Where it is not within [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
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
