//! Has this process write its Python stacks when it is asked to, and when it crashes.
//! Nothing here waits, and nothing needs the interpreter's lock when the time has come: `faulthandler` writes
//! from within the signal's handler, whatever its thread is doing.

use std::os::fd::IntoRawFd;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::service::Stacks;

/// From now on the signal is answered with the stacks of all threads; a fatal one (SIGSEGV, SIGABRT) too,
/// unless the operator (`PYTHONFAULTHANDLER`) has said where those are to go.
pub(crate) fn write_on_request(py: Python<'_>, stacks: Stacks<'_>) -> PyResult<()> {
    let faulthandler = py.import("faulthandler")?;
    // Written to as long as there is a process: so nobody closes it.
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
