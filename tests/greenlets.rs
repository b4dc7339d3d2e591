//! Calls of one application that greenlets of one thread make side by side: by a program that has Python itself.
#![cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]

#[path = "support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the environment is all that is wanted"
)]
mod support;

use std::sync::Arc;

use oxicorn::h1::{Head, Version};
use oxicorn::service::{Address, ConnectionInfo, ServiceContext};
use oxicorn::testing::Recorder;
use oxicorn::wsgi::App;
use oxicorn::{Body, Request, Responder, Service as _};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyTuple};

use support::python_env;

const SOURCE: &str = r#"
from greenlet import getcurrent, greenlet

def app(environ, start_response):
    path = environ["PATH_INFO"].encode()
    write = start_response("200 OK", [])
    write(path)
    getcurrent().parent.switch(write)
    write(b" again")
    getcurrent().parent.switch(None)
    return [b" and to the end"]

def side_by_side(call):
    one, two = greenlet(call), greenlet(call)
    writes = one.switch("/one"), two.switch("/two")
    refused = []
    for write in writes:
        try: write(b"not sent")
        except RuntimeError as error: refused.append("greenlet" in str(error))
    # The one that began first goes on, then the other, and it ends first.
    one.switch()
    two.switch()
    return one.switch(), two.switch(), refused
"#;

#[test]
fn calls_that_greenlets_make_in_turn_get_their_own_answers() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("side_by_side.py"), SOURCE).unwrap();
    let application = App::new("side_by_side:app")
        .venv(python_env())
        .python_path([folder.path()])
        .load(&ServiceContext::new(&[]))
        .unwrap();
    let application = Arc::new(application);
    let call = move |arguments: &Bound<'_, PyTuple>,
                     _: Option<&Bound<'_, _>>|
          -> PyResult<String> {
        let path: String = arguments.get_item(0)?.extract()?;
        let recorder = Recorder::new();
        let here = Address::Ip("127.0.0.1:8000".parse().unwrap());
        let connection = ConnectionInfo::new(here.clone(), 0, here);
        let head = Head::new("GET", &path, Version::HTTP_11, [(&b"host"[..], &b"a"[..])]).unwrap();
        let request = Request::new(&head, &connection, Body::empty());
        let sent = application.call(request, Responder::new(&recorder));
        let body = String::from_utf8(recorder.body()).unwrap();
        Ok(sent.map_or_else(|error| error.report(), |_| body))
    };
    Python::attach(|py| {
        let call = PyCFunction::new_closure(py, None, None, call).unwrap();
        let module = py.import("side_by_side").unwrap();
        for _ in 0..3 {
            let outcome = module.call_method1("side_by_side", (&call,)).unwrap();
            assert_eq!(
                outcome.repr().unwrap().to_string(),
                "('/one again and to the end', '/two again and to the end', [True, True])"
            );
        }
    });
}
