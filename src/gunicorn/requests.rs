//! The hooks around a request, and the objects that they are given.
//!
//! An object makes what it is asked for when it is asked, and keeps it: hooks may then change it.

use std::sync::Arc;

use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::functions::HookFunctions;
use super::generation::{Generation, state};
use super::hooks::{ServerHooks, failed};
use super::loggers;
use super::objects::Objects;
use super::steps::{after_request, step};
use crate::config::Settings;
use crate::h1::Head;
use crate::python::ffi;
use crate::python::gunicorn_names::LoggerSettings;
use crate::wsgi::{CallHooks, SentResponse};

/// The hooks of an application's settings.
struct AppHooks {
    generation: Generation,
    /// The worker that this process is.
    worker: PyOnceLock<Py<PyAny>>,
}

/// The hooks for an application of these settings, which a reload may be about to bring into force. Before the first ones
/// the loggers are set up, where this process has run a configuration file.
///
/// # Errors
///
/// The loggers cannot be set up.
pub(crate) fn of_settings(
    settings: &Settings,
    loggers: &LoggerSettings,
) -> crate::Result<Arc<dyn CallHooks>> {
    let generation = Generation::of(settings, loggers);
    let is_first = {
        let mut state = state();
        state.read = Some(generation.clone());
        state.current.is_none()
    };
    if is_first {
        loggers::start(&generation)?;
    }
    Ok(Arc::new(AppHooks {
        generation,
        worker: PyOnceLock::new(),
    }))
}

impl AppHooks {
    fn functions(&self) -> &HookFunctions {
        &self.generation.functions
    }

    fn call(&self, name: &str, arguments: PyResult<Bound<'_, PyTuple>>) -> PyResult<()> {
        match self.functions().get(name) {
            Some(function) => function.call(&arguments?),
            None => Ok(()),
        }
    }
}

impl CallHooks for AppHooks {
    fn forked(&self) {
        state().current = Some(self.generation.clone());
    }

    fn loaded(&self, worker: u64, callable: &Bound<'_, PyAny>) -> PyResult<()> {
        let server = state().server.clone();
        let Some(server) = server.filter(|_| !self.functions().is_empty()) else {
            return Ok(());
        };
        let py = callable.py();
        let objects = Objects::new(py, &server, &self.generation)?;
        let worker = objects.own_worker(worker)?;
        step(py, "loaded")?.call1((&worker, callable))?;
        let _ = self.worker.set(py, worker.unbind());
        Ok(())
    }

    fn retiring(&self) {
        ServerHooks::tell_exit();
    }

    fn wants_calls(&self) -> bool {
        let names = ["pre_request", "post_request"];
        names
            .iter()
            .any(|name| self.functions().get(name).is_some())
    }

    fn before(
        &self,
        py: Python<'_>,
        head: &Head,
        environ: &Bound<'_, PyDict>,
    ) -> (Option<Py<PyAny>>, PyResult<()>) {
        let request = HookRequest {
            head: head.clone(),
            environ: Some(environ.clone().unbind()),
        };
        let request = match Bound::new(py, request) {
            Ok(request) => request,
            Err(error) => return (None, Err(error)),
        };
        let Some(worker) = self.worker.get(py) else {
            return (None, Ok(()));
        };
        let called = self
            .call("pre_request", (worker, &request).into_pyobject(py))
            .and_then(|()| request.borrow().take_headers_over(&request));
        (Some(request.into_any().unbind()), called)
    }

    fn after(
        &self,
        py: Python<'_>,
        request: Option<Py<PyAny>>,
        environ: &Bound<'_, PyDict>,
        response: Option<SentResponse>,
    ) {
        let Some(worker) = self.worker.get(py) else {
            return;
        };
        let called = response
            .map(|response| Bound::new(py, HookResponse(response)))
            .transpose()
            .and_then(|response| {
                let arguments = (worker, request, environ, response).into_pyobject(py);
                after_request(|| self.call("post_request", arguments))
            });
        if let Err(error) = called {
            failed(py, "post_request", &error);
        }
    }
}

/// Gunicorn's request, for a hook.
#[pyclass(dict, module = "oxicorn", name = "Request")]
struct HookRequest {
    head: Head,
    /// None once it was collected.
    environ: Option<Py<PyDict>>,
}

#[pymethods]
impl HookRequest {
    /// Called for what the object does not have yet.
    fn __getattr__<'py>(slf: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let value = slf.borrow().value(slf.py(), name)?;
        slf.setattr(name, &value)?;
        Ok(value)
    }

    /// Whether the connection ends with the response.
    fn should_close(&self) -> bool {
        !self.head.keep_alive()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.environ)
    }

    fn __clear__(&mut self) {
        self.environ = None;
    }
}

impl HookRequest {
    fn environ<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let environ = self
            .environ
            .as_ref()
            .map(|environ| environ.bind(py).clone());
        environ.ok_or_else(|| PyValueError::new_err("the request was collected"))
    }

    fn value<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let head = &self.head;
        let text = |text: &str| Ok(text.into_pyobject(py)?.into_any());
        match name {
            "method" => text(head.method()),
            "uri" => text(head.target()),
            "path" => text(head.path()),
            "query" => text(head.query()),
            "fragment" => text(head.target().split_once('#').map_or("", |(_, after)| after)),
            "version" => {
                let version = head.version();
                let pair = (version.major, version.minor);
                Ok(pair.into_pyobject(py)?.into_any())
            }
            "headers" => Ok(self.headers(py)?.into_any()),
            "trailers" => Ok(PyList::empty(py).into_any()),
            "remote_addr" | "peer_addr" => self.client(py),
            "scheme" => self.environ(py)?.as_any().get_item("wsgi.url_scheme"),
            "body" => self.environ(py)?.as_any().get_item("wsgi.input"),
            "proxy_protocol_info" => Ok(py.None().into_bound(py)),
            _ => Err(PyAttributeError::new_err(format!(
                "'Request' object has no attribute '{name}'"
            ))),
        }
    }

    /// The fields, with names in upper case.
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let fields = self.head.fields().map(|(name, value)| {
            let name = ffi::latin1(py, &name.to_ascii_uppercase())?;
            (name, ffi::latin1(py, value)?).into_pyobject(py)
        });
        PyList::new(py, fields.collect::<PyResult<Vec<_>>>()?)
    }

    /// Host and port, or nothing where the client has no Internet address.
    fn client<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let environ = self.environ(py)?;
        let host = environ.get_item("REMOTE_ADDR")?;
        let port = environ.get_item("REMOTE_PORT")?;
        match (host, port) {
            (Some(host), Some(port)) => {
                let port: u16 = port.extract::<String>()?.parse().unwrap_or(0);
                Ok((host, port).into_pyobject(py)?.into_any())
            }
            _ => Ok("".into_pyobject(py)?.into_any()),
        }
    }

    /// Gives the environ the fields that a hook has changed.
    fn take_headers_over(&self, object: &Bound<'_, Self>) -> PyResult<()> {
        let py = object.py();
        let attributes = object.getattr(intern!(py, "__dict__"))?;
        let attributes = attributes.cast::<PyDict>()?;
        let Some(headers) = attributes.get_item(intern!(py, "headers"))? else {
            return Ok(());
        };
        let own = self.headers(py)?;
        if !headers.eq(&own)? {
            step(py, "patch_environ")?.call1((self.environ(py)?, own, headers))?;
        }
        Ok(())
    }
}

/// Gunicorn's response, for a hook.
#[pyclass(dict, frozen, module = "oxicorn", name = "Response")]
struct HookResponse(SentResponse);

#[pymethods]
impl HookResponse {
    /// The status line's code and reason.
    #[getter]
    fn status(&self) -> Option<String> {
        let SentResponse { status, reason, .. } = &self.0;
        let text = format!("{} {}", (*status)?, String::from_utf8_lossy(reason));
        Some(text.trim_end().to_owned())
    }

    #[getter]
    fn status_code(&self) -> Option<u16> {
        self.0.status
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let fields = self.0.fields.iter().map(|(name, value)| {
            (ffi::latin1(py, name)?, ffi::latin1(py, value)?).into_pyobject(py)
        });
        PyList::new(py, fields.collect::<PyResult<Vec<_>>>()?)
    }

    #[getter]
    fn sent(&self) -> u64 {
        self.0.sent
    }

    #[getter]
    fn headers_sent(&self) -> bool {
        self.0.status.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::Version;
    use crate::python::testing::with_python;

    #[test]
    fn a_cycle_through_an_attribute_of_a_hooks_object_is_collected() {
        with_python(|py| {
            let request = HookRequest {
                head: Head::new("GET", "/", Version::HTTP_11, [(&b"host"[..], &b"a"[..])]).unwrap(),
                environ: None,
            };
            let objects = [
                Bound::new(py, request).unwrap().into_any(),
                Bound::new(py, HookResponse(SentResponse::default()))
                    .unwrap()
                    .into_any(),
            ];
            for object in objects {
                let code = c"class Witness: pass";
                let names = PyDict::new(py);
                py.run(code, Some(&names), None).unwrap();
                let witness = names.get_item("Witness").unwrap().unwrap().call0().unwrap();
                witness.setattr("of", &object).unwrap();
                object.setattr("witness", &witness).unwrap();
                let weakly = py
                    .import("weakref")
                    .unwrap()
                    .call_method1("ref", (&witness,))
                    .unwrap();
                drop((witness, object));
                py.import("gc").unwrap().call_method0("collect").unwrap();
                assert!(weakly.call0().unwrap().is_none());
            }
        });
    }
}
