//! [`Recipe`]: what an application is loaded from, and how Python is made ready for it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use pyo3::prelude::*;

use super::environ::SOFTWARE;
use super::source::Source;
use crate::error::{Error, Result};
use crate::python::gunicorn_names::{self, LoggerSettings};
use crate::python::{errors, interpreter};

/// The specification of an application, and the Python that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) source: Source,
    pub(super) venv: Option<PathBuf>,
    pub(super) paths: Vec<PathBuf>,
    pub(super) env: Vec<(OsString, OsString)>,
    /// The destination of Gunicorn's loggers in Python's `logging`.
    pub(super) loggers: Option<LoggerSettings>,
}

impl Recipe {
    pub(super) fn import<'py>(
        &self,
        py: Python<'py>,
        own_process: bool,
    ) -> Result<Bound<'py, PyAny>> {
        self.set_path(py, own_process)
            .and_then(|()| self.set_environ(py, own_process))
            .and_then(|()| gunicorn_names::install(py))
            .map_err(|error| setup_failed(py, &error))?;
        if let Some(loggers) = &self.loggers {
            gunicorn_names::inherit_or_set_up_loggers(py, loggers).map_err(Error::boot)?;
        }
        self.source.load(py)
    }

    pub(super) fn set_path(&self, py: Python<'_>, own_process: bool) -> PyResult<()> {
        interpreter::set_path(py, &self.paths, own_process)
    }

    /// Resets the variables that `before` has set in the interpreter, and this recipe does not set.
    pub(super) fn unset_variables_of(&self, py: Python<'_>, before: &Self) -> PyResult<()> {
        let set = before.env.iter().map(|(key, _)| &**key);
        let unset = set.filter(|key| self.env.iter().all(|(other, _)| other != key));
        interpreter::reset_environ(py, unset)
    }

    /// Sets the variables in `os.environ`, and `SERVER_SOFTWARE`, unless the interpreter is a program's own.
    pub(super) fn set_environ(&self, py: Python<'_>, own_process: bool) -> PyResult<()> {
        let software = own_process || interpreter::is_ours();
        let value = gunicorn_names::software(py, SOFTWARE)?;
        let software = software.then_some((OsStr::new("SERVER_SOFTWARE"), OsStr::new(&value)));
        let variables = self.env.iter().map(|(key, value)| (&**key, &**value));
        interpreter::set_environ(py, software.into_iter().chain(variables), own_process)
    }
}

/// The error of a step that works in every sound installation of Python.
pub(super) fn setup_failed(py: Python<'_>, error: &PyErr) -> Error {
    errors::log(py, &errors::traceback(py, error));
    let summary = errors::summary(py, error);
    Error::boot(format!("Python cannot be made ready: {summary}"))
}
