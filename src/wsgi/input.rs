//! `wsgi.input`: a request's body as a file that Python reads (PEP 3333, "Input and Error Streams").
//! It never reads beyond the body, and refuses to be read when the request is over.
//!
//! A complete body belongs to the object and may be read in any thread. One that is still arriving is
//! borrowed from the running call (`lend`), in its own thread only.
//!
//! *Invariants*: no lock is held while bytes are read or Python runs: the source is taken out meanwhile.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList};

use super::start_response::{StartResponse, not_lent};
use crate::service::OwnedBody;

/// The object that an environ holds as `wsgi.input`.
#[pyclass(frozen, module = "oxicorn")]
#[derive(Debug)]
pub(super) struct Input(Mutex<State>);

#[derive(Debug)]
enum State {
    /// There is no body, and one object may serve any number of requests.
    Empty,
    Ready(BufReader<Source>),
    /// It is being read in this moment.
    Busy,
    /// The request is over.
    Over,
}

#[derive(Debug)]
enum Source {
    Owned(OwnedBody),
    /// The object through whose slot the running call is lent.
    Lent(Py<StartResponse>),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Owned(body) => body.read(buffer),
            Self::Lent(start) => start
                .get()
                .write()
                .slot()
                .borrow(|call| call.read(buffer))
                .map_err(|reason| io::Error::other(not_lent(reason)))?
                .map_err(Into::into),
        }
    }
}

impl Input {
    pub(super) fn empty() -> Self {
        Self(Mutex::new(State::Empty))
    }

    pub(super) fn owned(body: OwnedBody) -> Self {
        Self(Mutex::new(State::Ready(BufReader::new(Source::Owned(
            body,
        )))))
    }

    pub(super) fn lent(start: Py<StartResponse>) -> Self {
        Self(Mutex::new(State::Ready(BufReader::new(Source::Lent(
            start,
        )))))
    }

    /// Ends it with its request.
    pub(super) fn close(&self) {
        let state = mem::replace(&mut *self.state(), State::Over);
        drop(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `read` with the source, or answers with an empty buffer where there is none.
    fn with_source(
        &self,
        read: impl FnOnce(&mut BufReader<Source>, &mut Vec<u8>) -> io::Result<()>,
    ) -> PyResult<Vec<u8>> {
        let taken = {
            let mut state = self.state();
            match &*state {
                State::Ready(_) => mem::replace(&mut *state, State::Busy),
                State::Empty => return Ok(Vec::new()),
                State::Busy => {
                    return Err(PyRuntimeError::new_err("wsgi.input is being read already"));
                }
                State::Over => {
                    return Err(PyValueError::new_err(
                        "wsgi.input cannot be read when the request is over",
                    ));
                }
            }
        };
        let State::Ready(mut source) = taken else {
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        let outcome = read(&mut source, &mut bytes);
        {
            let mut state = self.state();
            // Unless the request ended meanwhile, in another thread.
            if matches!(*state, State::Busy) {
                *state = State::Ready(source);
            }
        }
        outcome?;
        Ok(bytes)
    }

    fn line(&self, limit: Option<u64>) -> PyResult<Vec<u8>> {
        self.with_source(|source, bytes| {
            match limit {
                Some(limit) => source.take(limit).read_until(b'\n', bytes),
                None => source.read_until(b'\n', bytes),
            }
            .map(drop)
        })
    }
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        size: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit(size)?;
        let bytes = self.with_source(|source, bytes| {
            match limit {
                Some(limit) => source.take(limit).read_to_end(bytes),
                None => source.read_to_end(bytes),
            }
            .map(drop)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(
        &self,
        py: Python<'py>,
        size: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.line(limit(size)?)?))
    }

    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(
        &self,
        py: Python<'py>,
        hint: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        // As of `io.IOBase.readlines`: no hint, and a hint of 0, is all.
        let enough = limit(hint)?.filter(|&hint| hint > 0).unwrap_or(u64::MAX);
        let (lines, mut total) = (PyList::empty(py), 0);
        while total < enough {
            let line = self.line(None)?;
            if line.is_empty() {
                break;
            }
            total += line.len() as u64;
            lines.append(PyBytes::new(py, &line))?;
        }
        Ok(lines)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.line(None)?;
        Ok((!line.is_empty()).then(|| PyBytes::new(py, &line)))
    }
}

/// A size argument: `None` and negative numbers are no limit; what is no number is refused.
fn limit(size: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(size) = size else { return Ok(None) };
    let number = size.cast::<PyInt>().map_err(|_| {
        PyTypeError::new_err(format!(
            "a size must be an int or None, not {}",
            size.get_type()
        ))
    })?;
    if number.lt(0)? {
        return Ok(None);
    }
    // A size beyond all memory is no limit either.
    Ok(number.extract::<u64>().ok())
}
