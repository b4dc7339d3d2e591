//! Shared by the tests of this folder: applications from source text, and requests to them.
//! No server, no socket: everything goes through a [`Recorder`].

use std::ffi::CString;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::application::Application;
use super::mount::Mount;
use crate::error::{Error, Result};
use crate::h1::{Head, Version};
use crate::python::testing::with_python;
use crate::service::{
    Address, Body, ConnectionInfo, Exchange, Request, Responded, Responder, Service, ServiceContext,
};
use crate::testing::Recorder;

pub(super) fn ip(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

pub(super) fn connection() -> ConnectionInfo {
    ConnectionInfo::new(ip("192.0.2.7:4711"), 0, ip("127.0.0.1:8000"))
}

pub(super) fn head(method: &str, target: &str, fields: &[(&str, &[u8])]) -> Head {
    let host = (!fields.iter().any(|(name, _)| *name == "host"))
        .then_some((&b"host"[..], &b"shop.example"[..]));
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), *value));
    Head::new(
        method,
        target,
        Version::HTTP_11,
        host.into_iter().chain(fields),
    )
    .unwrap()
}

/// An application with the module that it was made from.
pub(super) struct Script {
    pub(super) application: Application,
    names: Py<PyDict>,
}

impl Script {
    /// Runs `source`, which must define `app`.
    pub(super) fn new(source: &str) -> Self {
        with_python(|py| {
            let names = PyDict::new(py);
            let source = CString::new(source).unwrap();
            py.run(&source, Some(&names), None).unwrap();
            let app = names.get_item("app").unwrap().unwrap();
            Self {
                application: Application::new(
                    &app,
                    &ServiceContext::new(&[ip("127.0.0.1:8000")]),
                    &Mount::default(),
                    None,
                )
                .unwrap(),
                names: names.unbind(),
            }
        })
    }

    /// The value of an expression in the script, as `repr` shows it.
    pub(super) fn value(&self, expression: &str) -> String {
        Python::attach(|py| {
            let expression = CString::new(expression).unwrap();
            let value = py
                .eval(&expression, Some(self.names.bind(py)), None)
                .unwrap();
            value.repr().unwrap().to_string()
        })
    }

    /// One request, with an exchange of one's own.
    pub(super) fn call(
        &self,
        head: &Head,
        body: Body<'_>,
        exchange: &dyn Exchange,
    ) -> Result<Responded> {
        let connection = connection();
        let request = Request::new(head, &connection, body);
        self.application.call(request, Responder::new(exchange))
    }

    /// One request without a body, into `recorder`.
    pub(super) fn get_into(&self, recorder: &Recorder) -> Result<Responded> {
        self.call(&head("GET", "/", &[]), Body::empty(), recorder)
    }

    pub(super) fn get(&self) -> Recorder {
        let recorder = Recorder::new();
        let _ = self.get_into(&recorder).unwrap();
        recorder
    }

    /// The error of a request that must fail.
    pub(super) fn fail(&self) -> Error {
        self.get_into(&Recorder::new()).unwrap_err()
    }

    pub(super) fn post(&self, body: impl Into<Bytes>) -> Recorder {
        let body = body.into();
        let length = body.len().to_string();
        let head = head("POST", "/", &[("content-length", length.as_bytes())]);
        let recorder = Recorder::new();
        let _ = self.call(&head, Body::memory(body), &recorder).unwrap();
        recorder
    }
}

/// A response's body as text.
pub(super) fn text(recorder: &Recorder) -> String {
    String::from_utf8(recorder.body()).unwrap()
}
