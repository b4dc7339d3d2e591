//! [`ThreadCache`]: strings, buffers and objects that a thread keeps from one call of the application to the next.

use std::cell::Cell;

use pyo3::prelude::*;

use super::early_hints::EarlyHints;
use super::environ::EnvironCache;
use super::error_stream::ErrorStream;
use super::response_head::ResponseHead;
use super::start_response::BoundStartResponse;

/// Strings, buffers and Python objects that serve one call after the other.
#[derive(Debug, Default)]
pub(super) struct ThreadCache {
    pub(super) environ: EnvironCache,
    /// Room for a short response.
    pub(super) block: Vec<u8>,
    start_response: Option<BoundStartResponse>,
    early_hints: Option<Py<EarlyHints>>,
    errors: Option<Py<ErrorStream>>,
}

/// The Python objects of one call.
pub(super) struct CallObjects {
    pub(super) start_response: BoundStartResponse,
    pub(super) early_hints: Py<EarlyHints>,
    pub(super) errors: Py<ErrorStream>,
}

thread_local! {
    static CACHE: Cell<Option<Box<ThreadCache>>> = const { Cell::new(None) };
}

impl ThreadCache {
    /// The cache of this thread, or a new one where a call is inside another call, or the thread is at its end.
    pub(super) fn take() -> Box<Self> {
        CACHE
            .try_with(Cell::take)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    pub(super) fn put_back(self: Box<Self>) {
        // Fails only at the thread's end.
        let _ = CACHE.try_with(|cache| cache.set(Some(self)));
    }

    /// The objects for a call, made where the cache has none.
    pub(super) fn take_objects(&mut self, py: Python<'_>) -> PyResult<CallObjects> {
        if self.early_hints.is_none() || self.errors.is_none() {
            self.environ.forget();
        }
        Ok(CallObjects {
            start_response: match self.start_response.take() {
                Some(start_response) => start_response,
                None => BoundStartResponse::new(py)?,
            },
            early_hints: match self.early_hints.take() {
                Some(hints) => hints,
                None => Py::new(py, EarlyHints::default())?,
            },
            errors: match self.errors.take() {
                Some(errors) => errors,
                None => Py::new(py, ErrorStream::default())?,
            },
        })
    }

    /// Keeps those objects of a call that the application does not hold.
    pub(super) fn recycle_objects(&mut self, py: Python<'_>, objects: CallObjects) {
        self.start_response = objects.start_response.recycle(py);
        let references = 1 + self.environ.references();
        self.early_hints = EarlyHints::recycle(py, objects.early_hints, references);
        self.errors = ErrorStream::recycle(py, objects.errors, references);
    }

    /// Returns the buffers of a response that was sent after its call.
    pub(super) fn recycle_buffers(&mut self, head: Box<ResponseHead>, block: Vec<u8>) {
        self.block = block;
        if let Some(start_response) = &self.start_response {
            start_response.write().put_head(head);
        }
    }
}
