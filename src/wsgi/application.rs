//! [`Application`]: a loaded WSGI application, as a [`Service`].
//! It knows no socket, no worker and no signal: it answers through the exchange of its request.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::body::{self, Delivery};
use super::environ::{BodyInfo, EnvironTemplates};
use super::failure::Failure;
use super::input::Input;
use super::response::{DeferredResponse, Response};
use super::start_response::StartResponse;
use super::thread_cache::{CallObjects, ThreadCache};
use crate::error::{Error, Result};
use crate::python::calls::{self, Call};
use crate::python::finalize;
use crate::python::gil::Gil;
use crate::python::greenlet::GreenletId;
use crate::python::{interpreter, signals};
use crate::service::{
    Body, Request, Responded, Responder, Service, ServiceContext, ServiceRuntime,
};

/// A loaded WSGI application: a [`Service`].
///
/// Where the application raises, the call's error is the exception in one line, with the traceback as its source:
/// [`Error::report`] shows both. Where the client has disconnected, it is [`Error::disconnected`].
pub struct Application {
    callable: Py<PyAny>,
    templates: EnvironTemplates,
    /// Where it is served in a program's process, which goes on after it.
    hosted: Option<Hosted>,
}

/// Counts the applications that live in a program's process.
struct Hosted;

static HOSTED: AtomicUsize = AtomicUsize::new(0);

impl Hosted {
    fn new() -> Self {
        HOSTED.fetch_add(1, Ordering::Relaxed);
        Self
    }

    fn is_last() -> bool {
        HOSTED.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        HOSTED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How Python's part of a call has ended.
enum CallOutcome<'a> {
    /// The response was sent.
    Sent(Responded),
    /// The response is to be sent without the interpreter's lock.
    Deferred(DeferredResponse<'a>),
}

/// The arguments of a call, besides its [`CallObjects`].
struct Prepared<'py, 'a> {
    environ: Bound<'py, PyDict>,
    input: Option<Py<Input>>,
    /// The body, if it is still arriving.
    streamed: Option<Body<'a>>,
}

impl Application {
    pub(super) fn new(callable: &Bound<'_, PyAny>, context: &ServiceContext<'_>) -> PyResult<Self> {
        let py = callable.py();
        let script_name = py
            .import("os")?
            .getattr("environ")?
            .call_method1("get", ("SCRIPT_NAME", ""))?
            .extract::<String>()?;
        Ok(Self {
            templates: EnvironTemplates::new(py, context, &script_name)?,
            callable: callable.clone().unbind(),
            hosted: (!context.own_process).then(Hosted::new),
        })
    }

    /// Calls the application, and sends its response or has it deferred.
    fn call_python<'a>(
        &self,
        py: Python<'_>,
        cache: &mut ThreadCache,
        request: Request<'a>,
        responder: Responder<'a>,
    ) -> Result<CallOutcome<'a>> {
        let head = request.head();
        let (objects, prepared) = cache
            .take_objects(py)
            .map_err(Failure::from)
            .and_then(|objects| {
                let prepared = self.prepare(py, cache, &objects, request)?;
                Ok((objects, prepared))
            })
            .map_err(|failure| failure.into_error(py, None))?;
        let Prepared {
            environ,
            input,
            streamed,
        } = prepared;
        let start_response = objects.start_response.bind(py);
        let write = start_response.get().write();
        let response = Response::new(write, responder, streamed, head.method() == "HEAD");
        let mut block = std::mem::take(&mut cache.block);
        let call = || {
            let result = self.callable.bind(py).call1((environ, start_response))?;
            body::send(&result, &response, &mut block)
        };
        let here = GreenletId::current(py);
        let hints = objects.early_hints.get().call();
        let delivery = write
            .call()
            .enter(here, &response, || hints.enter(here, &response, call))
            .flatten();
        if let Some(input) = input {
            input.get().close();
        }
        objects.errors.get().end(py);
        let outcome = delivery
            .unwrap_or_else(|| Err(Error::new("a call's start_response was in use").into()))
            .and_then(|delivery| {
                if let Delivery::Sent(sent) = delivery {
                    return Ok(CallOutcome::Sent(sent));
                }
                // An application that still holds start_response may call it, and must get that the head was sent.
                if !StartResponse::is_held(py, &objects.start_response) {
                    if let Some(deferred) = response.defer(&mut block) {
                        return Ok(CallOutcome::Deferred(deferred));
                    }
                }
                let sent = response.finish(Some(block.len() as u64), &block)?;
                Ok(CallOutcome::Sent(sent))
            })
            .map_err(|failure| failure.into_error(py, response.take_failure()));
        cache.block = block;
        cache.recycle_objects(py, objects);
        outcome
    }

    fn prepare<'py, 'a>(
        &self,
        py: Python<'py>,
        cache: &mut ThreadCache,
        objects: &CallObjects,
        request: Request<'a>,
    ) -> Result<Prepared<'py, 'a>, Failure> {
        let info = request.info();
        let (head, connection, body) = request.into_parts();
        let collected = body.left();
        let (input, streamed) = if body.is_empty() {
            (None, None)
        } else {
            let (input, streamed) = match body.detach() {
                Ok(body) => (Input::owned(body), None),
                Err(body) => {
                    let start_response = objects.start_response.clone_ref(py);
                    (Input::streamed(start_response), Some(body))
                }
            };
            (Some(Py::new(py, input)?), streamed)
        };
        let body = BodyInfo {
            input: input.as_ref(),
            collected,
        };
        let environ =
            self.templates
                .environ(py, &mut cache.environ, head, connection, info, &body)?;
        environ.set_item(intern!(py, "wsgi.early_hints"), &objects.early_hints)?;
        environ.set_item(intern!(py, "wsgi.errors"), &objects.errors)?;
        Ok(Prepared {
            environ,
            input,
            streamed,
        })
    }
}

impl Service for Application {
    fn call(&self, request: Request<'_>, responder: Responder<'_>) -> Result<Responded> {
        let mut cache = ThreadCache::take();
        let called = Python::attach(|py| {
            let _call = Call::begin(py);
            self.call_python(py, &mut cache, request, responder)
        });
        let outcome = called.and_then(|outcome| match outcome {
            CallOutcome::Sent(sent) => Ok(sent),
            CallOutcome::Deferred(response) => {
                let (outcome, head, block) = response.send();
                cache.recycle_buffers(head, block);
                outcome
            }
        });
        cache.put_back();
        outcome
    }

    /// Ends the application as Python ends a program: waits for the threads that are not daemons, then calls the functions
    /// registered with `atexit`. In a program's process, where Python goes on, it calls the functions only, after the
    /// last application, and only if the interpreter is not the program's own.
    fn retire(&self) {
        if self.hosted.is_none() {
            Python::attach(finalize::shutdown);
        } else if Hosted::is_last() && interpreter::is_ours() {
            Python::attach(finalize::run_exit_functions);
        }
    }

    fn abandon(&self) {
        Python::attach(finalize::save);
    }

    /// Raises `SystemExit` in the calls of other threads. A thread that waits in a system call is not woken for it.
    fn interrupt(&self) {
        Python::attach(calls::interrupt_others);
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        Some(signals::interrupter())
    }

    fn runtime(&self) -> &dyn ServiceRuntime {
        &Gil
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
