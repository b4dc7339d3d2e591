//! [`FileSignals`]: the signal handlers that a configuration file has set in the arbiter, for signals that the arbiter does
//! not take.
//!
//! Python runs a handler on its main thread, and that thread waits for descriptors here. So Python writes to one of the
//! arbiter's when a signal has come.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use pyo3::prelude::*;

use crate::arbiter::{Attachment, Handle};
use crate::error::{Error, Result};
use crate::python::{errors, ffi, threads};

/// Has the arbiter run Python's handlers of the signals that are not its own.
pub(crate) struct FileSignals {
    wakeups: UnixStream,
    /// What Python writes to.
    waker: UnixStream,
}

impl FileSignals {
    /// To be made when the configuration file has run: without an interpreter there is nothing to do.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub(crate) fn new() -> Result<Self> {
        let make = || -> io::Result<Self> {
            let (wakeups, waker) = UnixStream::pair()?;
            wakeups.set_nonblocking(true)?;
            waker.set_nonblocking(true)?;
            Ok(Self { wakeups, waker })
        };
        let signals = make().map_err(|e| Error::io("cannot wait for Python's signals", e))?;
        if ffi::is_running() {
            threads::set_wakeup_fd(signals.waker.as_raw_fd());
        }
        Ok(signals)
    }
}

impl Attachment for FileSignals {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wakeups.as_fd())
    }

    /// A handler that raises `SystemExit` stops the server.
    fn ready(&mut self, handle: &Handle) {
        while matches!(self.wakeups.read(&mut [0; 64]), Ok(1..)) {}
        Python::attach(|py| {
            let Err(error) = py.check_signals() else {
                return;
            };
            if errors::exit_status(py, &error).is_some() {
                handle.stop();
            } else {
                errors::log_exception(py, "Error in a signal handler", &error);
            }
        });
    }
}

impl Drop for FileSignals {
    fn drop(&mut self) {
        if ffi::is_running() {
            threads::set_wakeup_fd(-1);
        }
    }
}
