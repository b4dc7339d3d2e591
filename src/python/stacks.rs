//! Makes this process write its Python stacks on request, and when it crashes.
//!
//! `faulthandler` writes them from within the signal's handler. It waits for nothing and needs no lock of the
//! interpreter, whatever the threads are doing.

use std::os::fd::IntoRawFd;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::service::Stacks;

/// Makes the signal `stacks.on` write the stacks of all threads from now on. A fatal signal (SIGSEGV, SIGABRT) writes
/// them, too, unless the operator (`PYTHONFAULTHANDLER`) has chosen another place for those.
pub(crate) fn write_on_request(py: Python<'_>, stacks: Stacks<'_>) -> PyResult<()> {
    let faulthandler = py.import("faulthandler")?;
    // The handler writes to this descriptor as long as the process lives: it is never closed.
    let to = stacks.to.try_clone_to_owned()?.into_raw_fd();
    let options = PyDict::new(py);
    options.set_item("file", to)?;
    options.set_item("all_threads", true)?;
    if !faulthandler.call_method0("is_enabled")?.is_truthy()? {
        faulthandler.call_method("enable", (), Some(&options))?;
    }
    options.set_item("chain", false)?;
    faulthandler.call_method("register", (stacks.on,), Some(&options))?;
    Ok(())
}
