//! Gunicorn's loggers in a process that has an interpreter: when they are set up, and the server's own messages through
//! them.
//!
//! A logger of a class of its own, or one that a configuration of `logging` shapes, gets each message of its process from
//! the moment when it is made: in an arbiter with a configuration file before the first hook, in its workers by the fork,
//! and in other workers before their application. Messages from before go to the error log, and so do those of an
//! interpreter that ends.
//!
//! *Invariants*
//!
//! - A message is written by the thread that has it, before that goes on: a fork or an end finds none that waits.
//! - The interpreter is held for the logger's own code. Python lets go of it while a handler writes.
//! - What a logger causes by itself goes to the error log, and not to the logger again.

#[cfg(feature = "tracing")]
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

use super::environment;
use super::generation::Generation;
use crate::error::{Error, Result};
use crate::log;
use crate::python::gunicorn_names;
use crate::python::{errors, ffi, interpreter};

/// How often the logs had been opened again when the logger was asked for last.
static REOPENED: AtomicUsize = AtomicUsize::new(0);

#[cfg(feature = "tracing")]
thread_local! {
    /// Whether this thread is within the logger.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Sets environment and loggers up in a process that has run a configuration file, before anything else is done there.
///
/// # Errors
///
/// In one sentence that names the setting. The traceback is logged.
pub(super) fn start(generation: &Generation) -> Result<()> {
    #[cfg(feature = "tracing")]
    log::relay_messages(write);
    if ffi::is_running() && interpreter::is_ours() {
        Python::attach(|py| {
            set_environment(py, generation);
            set_up(py, generation)
        })?;
    }
    Ok(())
}

/// Sets environment and loggers up for what is in force now. Where that fails, the loggers stay as they were.
pub(super) fn change(before: Option<&Generation>, now: Option<&Generation>) {
    let (Some(before), Some(now)) = (before, now) else {
        return;
    };
    if before.is(now) || !ffi::is_running() || !interpreter::is_ours() {
        return;
    }
    Python::attach(|py| {
        set_environment(py, now);
        if let Err(error) = set_up(py, now) {
            errors::log(py, &format!("{error}: the loggers stay as they were"));
            let _ = gunicorn_names::set_up_loggers(py, &before.loggers);
        }
    });
}

fn set_environment(py: Python<'_>, generation: &Generation) {
    if let Err(error) = environment::set(py, &generation.settings) {
        errors::log_exception(py, "Error while raw_env was set", &error);
    }
}

/// Ends the logger of an arbiter that ends, whose handlers write what they have kept. What is logged later goes to the
/// error log.
pub(super) fn end(py: Python<'_>) {
    if gunicorn_names::logger(py).is_none() {
        return;
    }
    gunicorn_names::release_logger();
    let ended = py
        .import("logging")
        .and_then(|logging| logging.call_method0("shutdown"));
    if let Err(error) = ended {
        errors::log_exception(py, "Error at the end of logging", &error);
    }
}

fn set_up(py: Python<'_>, generation: &Generation) -> Result<()> {
    let settings = &generation.loggers;
    gunicorn_names::set_up_loggers(py, settings).map_err(|error| {
        let error = Error::config(gunicorn_names::why_not(py, &error));
        let names = [
            "logconfig_dict",
            "logconfig_json",
            "logconfig",
            "logger_class",
        ];
        generation.settings.blame(&names, error)
    })
}

/// The logger of this process, if Python writes the logs. Its files are opened again where the server's were.
pub(super) fn logger(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(logger) = gunicorn_names::logger(py) else {
        return Ok(None);
    };
    let logger = logger.into_bound(py);
    let reopened = log::times_reopened();
    if REOPENED.swap(reopened, Ordering::Relaxed) != reopened {
        logger.call_method0("reopen_files")?;
    }
    Ok(Some(logger))
}

/// Has the logger of this process write a message of this level. Returns whether that is done with.
#[cfg(feature = "tracing")]
fn write(level: u8, message: &dyn std::fmt::Display) -> bool {
    let least = gunicorn_names::logger_level();
    let Some(least) = least.filter(|_| !WITHIN.get()) else {
        return false;
    };
    if i64::from(level) < least && REOPENED.load(Ordering::Relaxed) == log::times_reopened() {
        return true;
    }
    let name = match level {
        50.. => "critical",
        40.. => "error",
        30.. => "warning",
        20.. => "info",
        _ => "debug",
    };
    WITHIN.set(true);
    // Not in an interpreter that ends.
    let written = Python::try_attach(|py| {
        let Some(logger) = logger(py)? else {
            return Ok(false);
        };
        logger.call_method1(name, (message.to_string(),))?;
        Ok(true)
    });
    let done = match written {
        Some(Ok(done)) => done,
        Some(Err(error)) => {
            Python::attach(|py| errors::log_exception(py, "Error in the logger_class", &error));
            false
        }
        None => false,
    };
    WITHIN.set(false);
    done
}
