//! Oxicorn as an extension module of Python: the server runs in the interpreter that imports it.
//!
//! Nothing is started by an import. A server lets go of the interpreter while it waits, forks through Python's own
//! functions, and returns to its caller when it was stopped.

use std::env::current_dir;
use std::ffi::OsString;
use std::iter;

use oxicorn::arbiter::ReexecCommand;
use oxicorn::cli::Command;
use oxicorn::wsgi::App;
use oxicorn::wsgi::pyo3;
use oxicorn::{Error, Result, ServerBuilder};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

#[pymodule(crate = "oxicorn::wsgi::pyo3")]
mod _oxicorn {
    #[pymodule_export]
    use super::{main, serve};
}

/// Serves as the command line `arguments` says. Returns the status for `sys.exit`.
#[pyfunction(crate = "oxicorn::wsgi::pyo3")]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let serve = || {
        let folder = current_dir().map_err(|error| {
            Error::with_source(format!("cannot find the current folder: {error}"), error)
        })?;
        // The interpreter has its environment already.
        let command = Command::new("oxicorn")
            .about("Serves a WSGI application")
            .without(["venv"])
            .python_files(folder);
        server(py, &command, arguments)?.serve_from(App::from_settings)
    };
    let served = serve();
    let status = served.as_ref().err().map_or(0, Error::exit_code);
    let _ = oxicorn::exit(served);
    status
}

/// Serves the WSGI callable `app` as the command line's `flags` say. Returns when the server was stopped.
///
/// # Errors
///
/// `ValueError` for the flags, and `RuntimeError` where the server cannot serve.
#[pyfunction(crate = "oxicorn::wsgi::pyo3")]
#[pyo3(signature = (app, *flags))]
fn serve(py: Python<'_>, app: Py<PyAny>, flags: Vec<OsString>) -> PyResult<()> {
    let command = Command::new("oxicorn").without(["wsgi_app", "venv"]);
    let server = server(py, &command, flags);
    let server = server.map_err(|error| PyValueError::new_err(error.to_string()))?;
    server
        .serve(App::from_callable(move |py| Ok(app.bind(py).clone())))
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// A server as `arguments` say, in a process that follows them.
fn server(py: Python<'_>, command: &Command, arguments: Vec<OsString>) -> Result<ServerBuilder> {
    let again = reexec_command(py);
    let server = command.server(iter::once("oxicorn".into()).chain(arguments))?;
    Ok(match again {
        Some(again) => server.exec(again),
        None => server,
    })
}

/// This program as the interpreter was called: the path of the executable is that of its virtual environment.
fn reexec_command(py: Python<'_>) -> Option<ReexecCommand> {
    let sys = py.import("sys").ok()?;
    let executable: OsString = sys.getattr("executable").ok()?.extract().ok()?;
    let arguments: Vec<OsString> = sys.getattr("orig_argv").ok()?.extract().ok()?;
    let command = ReexecCommand::new(executable);
    Some(
        arguments
            .into_iter()
            .skip(1)
            .fold(command, ReexecCommand::argument),
    )
}
