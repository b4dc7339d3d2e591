//! [`Application`]: a loaded WSGI application, as a [`Service`].
//! It knows no socket, no worker and no signal: it answers through the exchange of its request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::body::{self, Delivery};
use super::call_hooks::CallHooks;
use super::environ::{BodyInfo, EnvironTemplates};
use super::failure::Failure;
use super::imports::Imports;
use super::input::Input;
use super::mount::{self, AddKeys, Mount};
use super::response::{DeferredResponse, Response};
use super::socket;
use super::thread_cache::{CallObjects, ThreadCache};
use crate::error::{Error, Result};
use crate::python::calls::{self, Call};
use crate::python::finalize;
use crate::python::gil::Gil;
use crate::python::greenlet::GreenletId;
use crate::python::turn;
use crate::python::{interpreter, signals};
use crate::service::{
    Body, Exchange, Request, Responded, Responder, Service, ServiceContext, ServiceRuntime,
};

/// A loaded WSGI application: a [`Service`].
///
/// If the application raises, the call's error is the exception in one line, with the traceback as its source:
/// [`Error::report`] shows both. If the client has disconnected, it is [`Error::disconnected`].
pub struct Application {
    callable: Py<PyAny>,
    templates: EnvironTemplates,
    /// Names of keys that are kept for the record of a request.
    recorded: Vec<String>,
    /// The keys that the program adds to each environ.
    add_keys: Option<Arc<AddKeys>>,
    hooks: Option<Arc<dyn CallHooks>>,
    imports: Option<Imports>,
    /// True if the hooks want to know of calls.
    wants_calls: bool,
    /// The host's part, if it is served in a program's process, which goes on after it.
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
    pub(super) fn new(
        callable: &Bound<'_, PyAny>,
        context: &ServiceContext<'_>,
        mount: &Mount,
        imports: Option<Imports>,
    ) -> PyResult<Self> {
        let py = callable.py();
        Ok(Self {
            templates: EnvironTemplates::new(py, context, &mount.script_name(py)?)?,
            callable: callable.clone().unbind(),
            recorded: mount.recorded.clone(),
            add_keys: mount.add_keys.clone(),
            wants_calls: mount
                .hooks
                .as_ref()
                .is_some_and(|hooks| hooks.wants_calls()),
            hooks: mount.hooks.clone(),
            imports,
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
        let exchange = responder.exchange();
        let (objects, prepared) = cache
            .take_objects(py)
            .map_err(Failure::from)
            .and_then(|objects| {
                let prepared = self.prepare(py, cache, &objects, request, exchange)?;
                Ok((objects, prepared))
            })
            .map_err(|failure| failure.into_error(py, None))?;
        let Prepared {
            environ,
            input,
            streamed,
        } = prepared;
        let write = objects.start_response.write();
        let recorded = (!self.recorded.is_empty()).then(|| environ.clone());
        let response = Response::new(write, responder, streamed, head.method_bytes() == b"HEAD");
        let mut block = std::mem::take(&mut cache.block);
        let hooks = self.hooks.as_ref().filter(|_| self.wants_calls);
        let (request, allowed) = match hooks {
            Some(hooks) => hooks.before(py, head, &environ),
            None => (None, Ok(())),
        };
        let was_allowed = allowed.is_ok();
        let followed = hooks.map(|hooks| (hooks, environ.clone()));
        // The environ goes into the call and ends with it, so that the objects in it are free for the next one.
        let call = || {
            allowed?;
            let start_response = objects.start_response.method.bind(py);
            let result = self.callable.bind(py).call1((environ, start_response))?;
            body::send(&result, &response, &mut block)
        };
        let here = GreenletId::current(py);
        let hints = objects.early_hints.get().call();
        let delivery = write
            .call()
            .enter(here, &response, || hints.enter(here, &response, call))
            .flatten()
            .map(|outcome| outcome.or_else(|failure| ended_by_socket(py, failure, &response)));
        if let Some(environ) = recorded {
            mount::record(&self.recorded, &environ, exchange);
        }
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
                // An application that still holds start_response may call it, and must get that the head was sent. So do
                // hooks that follow the response.
                if hooks.is_none() && !objects.start_response.is_held(py) {
                    if let Some(deferred) = response.defer(&mut block) {
                        return Ok(CallOutcome::Deferred(deferred));
                    }
                }
                let sent = response.finish(Some(block.len() as u64), &block)?;
                Ok(CallOutcome::Sent(sent))
            })
            .map_err(|failure| failure.into_error(py, response.take_failure()));
        cache.block = block;
        if let Some((hooks, environ)) = followed {
            let sent = was_allowed.then(|| response.sent());
            hooks.after(py, request, &environ, sent);
        }
        cache.recycle_objects(py, objects);
        outcome
    }

    fn prepare<'py, 'a>(
        &self,
        py: Python<'py>,
        cache: &mut ThreadCache,
        objects: &CallObjects,
        mut request: Request<'a>,
        exchange: &dyn Exchange,
    ) -> Result<Prepared<'py, 'a>, Failure> {
        let body = request.take_body();
        let collected = body.left();
        let (input, streamed) = if body.is_empty() {
            (None, None)
        } else {
            let (input, streamed) = match body.detach() {
                Ok(body) => (Input::owned(body), None),
                Err(body) => {
                    let start_response = objects.start_response.object.clone_ref(py);
                    (Input::streamed(start_response), Some(body))
                }
            };
            (Some(Py::new(py, input)?), streamed)
        };
        let body = BodyInfo {
            input: input.as_ref(),
            collected,
        };
        let environ = self
            .templates
            .environ(py, &mut cache.environ, objects, &request, &body)?;
        if request.head().upgrades() {
            socket::offer(&environ, &objects.start_response.object, exchange)?;
        }
        if let Some(add_keys) = &self.add_keys {
            add_keys(&request, &environ)?;
        }
        Ok(Prepared {
            environ,
            input,
            streamed,
        })
    }
}

/// The outcome of a call that has failed: none, where it has taken the connection over and ends with `StopIteration`, as
/// extensions for websockets have it.
fn ended_by_socket(
    py: Python<'_>,
    failure: Failure,
    response: &Response<'_, '_>,
) -> Result<Delivery, Failure> {
    let ends =
        matches!(&failure, Failure::Raised(error) if error.is_instance_of::<PyStopIteration>(py));
    match response.end_of_upgraded().filter(|_| ends) {
        Some(responded) => Ok(Delivery::Sent(responded)),
        None => Err(failure),
    }
}

impl Service for Application {
    fn call(&self, request: Request<'_>, responder: Responder<'_>) -> Result<Responded> {
        let mut cache = ThreadCache::take();
        let called = turn::attach(|py| {
            let _call = Call::begin(py);
            let outcome = self.call_python(py, &mut cache, request, responder);
            if let Some(imports) = &self.imports {
                imports.tell(py);
            }
            outcome
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
        if let Some(hooks) = &self.hooks {
            hooks.retiring();
        }
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

    fn runtime(&self) -> Option<&dyn ServiceRuntime> {
        Some(&Gil)
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
