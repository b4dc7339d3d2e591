//! Sends what an application returned: an iterable of `bytes` (PEP 3333, "Buffering and Streaming").
//! No block is copied or delayed: each is written before the next one is produced. `close` is called
//! exactly once, whatever happened.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::answer::Answer;
use super::errors;
use super::file_wrapper::FileWrapper;
use crate::error::Error;
use crate::service::Sent;
use crate::trace;

/// Why a call has no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The application raised it.
    Raised(PyErr),
    /// The exchange or the protocol refused.
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

/// Sends the blocks of `result`, ends the response and closes the iterable.
pub(super) fn send(result: &Bound<'_, PyAny>, answer: &Answer<'_>) -> Result<Sent, Failure> {
    // Lists and tuples have no `close`, and finding that out costs more than the whole environ.
    if let Ok(list) = result.cast_exact::<PyList>() {
        return match list.len() {
            1 => one(&list.get_item(0)?, answer),
            _ => all(list.iter().collect(), answer),
        };
    }
    if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        return match tuple.len() {
            1 => one(&tuple.get_item(0)?, answer),
            _ => all(tuple.iter().collect(), answer),
        };
    }
    let outcome = file(result, answer).unwrap_or_else(|| stream(result, answer));
    close(result);
    outcome
}

/// A response of one block: it leaves with its head, in one write.
fn one(item: &Bound<'_, PyAny>, answer: &Answer<'_>) -> Result<Sent, Failure> {
    let block = bytes(item)?;
    Ok(answer.finish(Some(block.len() as u64), block)?)
}

/// A response that is there as a whole, so that its length is known.
fn all(items: Vec<Bound<'_, PyAny>>, answer: &Answer<'_>) -> Result<Sent, Failure> {
    let mut total = 0;
    for item in &items {
        total += bytes(item)?.len() as u64;
    }
    let Some((last, others)) = items.split_last() else {
        return Ok(answer.finish(Some(0), b"")?);
    };
    answer.start(Some(total))?;
    for item in others {
        answer.block(bytes(item)?)?;
    }
    Ok(answer.finish(None, bytes(last)?)?)
}

/// A response that is produced while it is sent.
fn stream(result: &Bound<'_, PyAny>, answer: &Answer<'_>) -> Result<Sent, Failure> {
    for item in result.try_iter()? {
        answer.block(bytes(&item?)?)?;
    }
    // Only counts where there was no block at all.
    Ok(answer.finish(Some(0), b"")?)
}

/// A real file behind `wsgi.file_wrapper`, which the system sends. `None` for everything else.
fn file(result: &Bound<'_, PyAny>, answer: &Answer<'_>) -> Option<Result<Sent, Failure>> {
    let wrapper = result.cast_exact::<FileWrapper>().ok()?;
    let real = wrapper.get().real_file(result.py())?;
    let len = answer.content_length().unwrap_or(u64::MAX).min(real.len);
    let writer = match answer.writer(Some(len)) {
        Ok(writer) => writer,
        Err(error) => return Some(Err(error.into())),
    };
    let sent = writer.send_file(real.file, real.offset, len);
    Some(sent.map_err(Failure::from))
}

fn bytes<'a>(item: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    match item.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a response's body must be made of bytes, not {}",
            item.get_type()
        ))),
    }
}

/// Calls the iterable's `close`, if it has one. Its failure changes nothing about the response.
fn close(result: &Bound<'_, PyAny>) {
    let py = result.py();
    let closed = result
        .getattr_opt(intern!(py, "close"))
        .and_then(|close| close.map_or(Ok(()), |close| close.call0().map(drop)));
    if let Err(error) = closed {
        trace::error!(
            "Error in the close() of a response\n{}",
            errors::traceback(py, &error)
        );
    }
}
