//! A program with Python of its own, which serves a WSGI application made of Rust beside a route of Rust:
//! `host_pyo3 [ADDRESS]`.

use std::sync::atomic::{AtomicU64, Ordering};

use oxicorn::service::Router;
use oxicorn::wsgi::{App, pyo3};
use oxicorn::{Request, Responder, Server};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A WSGI application (PEP 3333) as an object of Python's, with state of Rust's.
#[pyclass(frozen, crate = "oxicorn::wsgi::pyo3")]
struct Counter {
    greeting: String,
    calls: AtomicU64,
}

#[pymethods(crate = "oxicorn::wsgi::pyo3")]
impl Counter {
    fn __call__(
        &self,
        environ: &Bound<'_, PyDict>,
        start_response: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Vec<u8>>> {
        let value = |key: &str| environ.as_any().get_item(key)?.extract::<String>();
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        start_response.call1(("200 OK", vec![("Content-Type", "text/plain")]))?;
        let (greeting, tenant) = (&self.greeting, value("shop.tenant")?);
        let (script_name, path) = (value("SCRIPT_NAME")?, value("PATH_INFO")?);
        let text = format!("{greeting}: call {number} of {tenant} for {script_name} {path}\n");
        Ok(vec![text.into_bytes()])
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    // This interpreter serves: its modules are there, and no other one is started.
    Python::initialize();
    let greeting: String = Python::attach(|py| {
        let version = py.import("platform")?.call_method0("python_version")?;
        PyResult::Ok(format!("Python {version}"))
    })?;
    // Made in each worker, which counts its own calls.
    let counter = App::from_callable(move |py| {
        let (greeting, calls) = (greeting.clone(), AtomicU64::new(0));
        Ok(Bound::new(py, Counter { greeting, calls })?.into_any())
    })
    .environ(|request, environ| {
        let tenant = request.header("x-tenant").unwrap_or(b"nobody");
        environ.set_item("shop.tenant", String::from_utf8_lossy(tenant))
    });
    let health = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "well\n");
    let site = Router::new()
        .mount("/counter", counter)
        .mount("/health", health);
    Server::bind(address.as_deref().unwrap_or("127.0.0.1:8000"))?
        .workers(2)
        .serve(site)?;
    Ok(())
}
