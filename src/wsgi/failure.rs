//! [`Failure`]: why a call of the application has no response, and the error that the server gets for it.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::error::Error;
use crate::python::errors;

#[derive(Debug)]
pub(super) enum Failure {
    Raised(PyErr),
    /// The exchange failed, or the protocol does not allow the response.
    Refused(Error),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Failure {
    /// The error for the server, with the traceback of an exception as its cause.
    ///
    /// `exchange` is the error of the exchange that the application got as an `OSError`: that is the failure, whether
    /// the application raised the `OSError` again or not. The application is not to blame for a disconnected client.
    pub(super) fn into_error(self, py: Python<'_>, exchange: Option<Error>) -> Error {
        let raised = match self {
            Self::Refused(error) => return exchange.unwrap_or(error),
            Self::Raised(raised) => raised,
        };
        match exchange.filter(|_| raised.is_instance_of::<PyOSError>(py)) {
            Some(error) if error.is_disconnected() => error,
            Some(error) => error.because(errors::traceback(py, &raised)),
            None => Error::new(errors::summary(py, &raised))
                .because(errors::traceback(py, &raised))
                .with_exit_status(errors::exit_status(py, &raised)),
        }
    }
}
