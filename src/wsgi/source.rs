//! [`Source`]: where a WSGI application comes from: a specification to import, or a function of the program's.

use std::fmt;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::python::errors;
use crate::python::import_spec::ImportSpec;

/// Makes an application in a process that has an interpreter.
type MakeCallable = dyn for<'py> Fn(Python<'py>) -> PyResult<Bound<'py, PyAny>> + Send + Sync;

/// The source of an application.
#[derive(Clone)]
pub(super) enum Source {
    /// A specification, as in `shop.wsgi:application`.
    Spec(String),
    /// A function of the program's.
    Callable(Arc<MakeCallable>),
}

impl Source {
    /// Checks what can be checked without Python.
    ///
    /// # Errors
    ///
    /// A text that is not a specification.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Spec(spec) => ImportSpec::parse(spec).map(drop),
            Self::Callable(_) => Ok(()),
        }
    }

    /// The application.
    ///
    /// # Errors
    ///
    /// In one sentence. The traceback of an exception is logged.
    pub(super) fn load<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let make = match self {
            Self::Spec(spec) => return ImportSpec::parse(spec)?.load(py),
            Self::Callable(make) => make,
        };
        let application = make(py).map_err(|error| {
            let traceback = errors::traceback(py, &error);
            errors::log(py, &traceback);
            let summary = errors::summary(py, &error);
            Error::boot(format!("cannot make the application: {summary}"))
                .because(traceback)
                .with_exit_status(errors::exit_status(py, &error))
        })?;
        if application.is_callable() {
            return Ok(application);
        }
        let kind = application.get_type().name();
        let kind = kind.map_or_else(|_| String::new(), |name| name.to_string());
        Err(Error::app(format!(
            "the program's function has made no application: an object of type {kind} cannot be called"
        )))
    }
}

impl PartialEq for Source {
    /// A function is equal to its clones alone.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Spec(one), Self::Spec(other)) => one == other,
            (Self::Callable(one), Self::Callable(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Source {}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spec(spec) => spec,
            Self::Callable(_) => "the program's callable",
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
