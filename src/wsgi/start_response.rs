//! `start_response` and the `write` that it returns (PEP 3333).
//!
//! ```text
//!   the application ──▶ start_response, a bound method ──▶ StartResponse ──▶ Write ──▶ the head, the running call
//! ```
//!
//! It is a method and not an object with `__call__`: Python calls that without a tuple of its arguments.
//!
//! *Invariants*: a call of one request never reaches the response of another, since an object that an application keeps
//! is never used again; no lock is held while Python runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::response_head::{ResponseHead, ResponseState};
use super::scoped_call::ScopedCall;
use crate::python::errors::to_python;
use crate::python::ffi;
use crate::python::greenlet::GreenletId;

/// The object whose method an application starts its response with.
#[pyclass(frozen, module = "oxicorn", name = "response")]
#[derive(Debug)]
pub(super) struct StartResponse {
    write: Py<Write>,
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None))]
    fn start_response(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Write>> {
        let write = self.write.get();
        let exc_info = match exc_info {
            Some(info) if info.is_truthy()? => Some(info),
            _ => None,
        };
        write.with_head(|head| match (head.state(), exc_info) {
            (ResponseState::Set | ResponseState::Sent, None) => Err(PyAssertionError::new_err(
                "start_response was called a second time without exc_info",
            )),
            (ResponseState::Sent, Some(info)) => Err(exception_of(info)),
            (ResponseState::NotCalled, _) | (ResponseState::Set, Some(_)) => {
                head.set(status, headers)
            }
        })?;
        Ok(self.write.clone_ref(py))
    }
}

/// The exception of a `sys.exc_info()`, with its traceback.
fn exception_of(info: &Bound<'_, PyAny>) -> PyErr {
    let error = || -> PyResult<PyErr> {
        let value = info.get_item(1)?;
        let value = value.call_method1("with_traceback", (info.get_item(2)?,))?;
        Ok(PyErr::from_value(value))
    };
    error().unwrap_or_else(|error| error)
}

impl StartResponse {
    pub(super) fn write(&self) -> &Write {
        self.write.get()
    }
}

/// A `start_response`, with the object that it belongs to.
#[derive(Debug)]
pub(super) struct BoundStartResponse {
    pub(super) method: Py<PyAny>,
    pub(super) object: Py<StartResponse>,
}

impl BoundStartResponse {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let write = Py::new(py, Write::default())?;
        let object = Py::new(py, StartResponse { write })?;
        let method = object.getattr(py, intern!(py, "start_response"))?;
        Ok(Self { method, object })
    }

    pub(super) fn write(&self) -> &Write {
        self.object.get().write()
    }

    /// The objects for another request; `None` where the application still holds one of them.
    pub(super) fn recycle(self, py: Python<'_>) -> Option<Self> {
        if self.is_held(py) {
            return None;
        }
        if let Some(head) = &mut *self.write().lock() {
            head.clear();
        }
        Some(self)
    }

    /// Tells whether the application still holds `start_response`, or its `write`, and so may call it.
    pub(super) fn is_held(&self, py: Python<'_>) -> bool {
        // The method has a reference to its object.
        ffi::is_held(py, &self.method, 1)
            || ffi::is_held(py, &self.object, 2)
            || ffi::is_held(py, &self.object.get().write, 1)
    }
}

/// The `write` callable: sends a block of the body at once.
#[pyclass(frozen, module = "oxicorn", name = "write")]
#[derive(Debug, Default)]
pub(super) struct Write {
    /// `None` stands for an empty one, and for one that is in use.
    head: Mutex<Option<Box<ResponseHead>>>,
    call: ScopedCall,
}

#[pymethods]
impl Write {
    fn __call__(&self, block: &Bound<'_, PyAny>) -> PyResult<()> {
        let here = GreenletId::current(block.py());
        let block = block
            .cast::<PyBytes>()
            .map_err(|_| {
                let kind = block.get_type();
                PyTypeError::new_err(format!("write takes bytes, not {kind}"))
            })?
            .as_bytes();
        self.call
            .with(here, |call| call.write(block))?
            .map_err(to_python)
    }
}

impl Write {
    /// The place through which this object, and `wsgi.input`, reach the call that runs.
    pub(super) fn call(&self) -> &ScopedCall {
        &self.call
    }

    /// Calls `f` with the head, which is taken out meanwhile, so that no lock is held: a call from within finds an empty
    /// one.
    pub(super) fn with_head<R>(&self, f: impl FnOnce(&mut ResponseHead) -> R) -> R {
        let mut head = self.take_head().unwrap_or_default();
        let result = f(&mut head);
        self.put_head(head);
        result
    }

    /// Takes the head out. `None` stands for an empty one.
    pub(super) fn take_head(&self) -> Option<Box<ResponseHead>> {
        self.lock().take()
    }

    pub(super) fn put_head(&self, head: Box<ResponseHead>) {
        *self.lock() = Some(head);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<ResponseHead>>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, text};
    use crate::testing::Recorder;

    /// The error of an application that calls `start_response` so.
    fn refused(call: &str) -> String {
        let script = Script::new(&format!(
            "
def app(environ, start_response):
    {call}
    return [b'x']
"
        ));
        script.fail().to_string()
    }

    // Gunicorn: E40, E41
    #[test]
    fn wrong_arguments_are_errors_that_say_what_is_wrong() {
        for (call, words) in [
            (
                "start_response(b'200 OK', [])",
                "TypeError: start_response: the status must be str, not bytes",
            ),
            (
                "start_response('OK', [])",
                "ValueError: start_response: 'OK' is not a status",
            ),
            ("start_response('200 a\\r\\nb: c', [])", "is not a status"),
            ("start_response('200 \\u20ac', [])", "not latin-1"),
            (
                "start_response('200 OK', None)",
                "the headers must be a list of (name, value) tuples, not NoneType",
            ),
            (
                "start_response('200 OK', [('a',)])",
                "a header must be a (name, value) tuple, not tuple",
            ),
            (
                "start_response('200 OK', [7])",
                "a header must be a (name, value) tuple, not int",
            ),
            (
                "start_response('200 OK', [(b'a', 'b')])",
                "a header's name must be str, not bytes",
            ),
            (
                "start_response('200 OK', [('a', 1)])",
                "a header's value must be str, not int",
            ),
            (
                "start_response('200 OK', [('a', '\\u20ac')])",
                "which is not latin-1",
            ),
            (
                "start_response('200 OK', [('a', '\\ud800')])",
                "UnicodeEncodeError",
            ),
            ("start_response('200 OK')", "TypeError"),
            (
                "start_response('200 OK', [])('text')",
                "TypeError: write takes bytes",
            ),
        ] {
            let error = refused(call);
            assert!(error.contains(words), "{call}: {error}");
        }
    }

    #[test]
    fn headers_may_be_any_pairs_and_are_copied_when_they_are_said() {
        let script = Script::new(
            r#"
class Text(str): pass
def app(environ, start_response):
    headers = [["X-List", "1"], ("X-Sub", Text("2")), ("X-Latin", "caf\xe9")]
    start_response(status="200 Gr\xfc\xdfe", headers=headers, exc_info=None)
    headers.clear()
    return [b"x"]
"#,
        );
        let recorder = script.get();
        assert_eq!(recorder.reason(), b"Gr\xfc\xdfe");
        assert_eq!(recorder.header("x-list").unwrap(), b"1");
        assert_eq!(recorder.header("x-sub").unwrap(), b"2");
        assert_eq!(recorder.header("x-latin").unwrap(), b"caf\xe9");
    }

    // Gunicorn: E39
    #[test]
    fn a_second_call_without_exc_info_is_an_error() {
        let error = refused("start_response('200 OK', []); start_response('200 OK', [])");
        assert!(
            error.starts_with("AssertionError: start_response"),
            "{error}"
        );
    }

    // Gunicorn: E39
    #[test]
    fn exc_info_replaces_the_headers_that_were_not_sent() {
        let script = Script::new(
            r#"
import sys
def app(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise ValueError("early")
    except ValueError:
        start_response("500 Oops", [("X-Second", "2")], sys.exc_info())
    return [b"sorry"]
"#,
        );
        let recorder = script.get();
        assert_eq!(recorder.status(), Some(500));
        assert_eq!(recorder.header("x-first"), None);
        assert_eq!(recorder.header("x-second").unwrap(), b"2");
    }

    // Gunicorn: E39
    #[test]
    fn exc_info_is_raised_again_when_the_headers_were_sent() {
        let script = Script::new(
            r#"
import sys
def app(environ, start_response):
    start_response("200 OK", [])
    yield b"begun"
    try:
        raise ValueError("midway")
    except ValueError:
        start_response("500 Oops", [], exc_info=sys.exc_info())
    yield b"never"
"#,
        );
        let recorder = Recorder::new();
        let error = script.get_into(&recorder).unwrap_err();
        assert_eq!(error.to_string(), "ValueError: midway");
        assert!(
            error.report().contains("line 7, in app"),
            "{}",
            error.report()
        );
        assert_eq!(recorder.body(), b"begun");
    }

    #[test]
    fn a_failed_call_may_be_made_again() {
        let script = Script::new(
            r#"
def app(environ, start_response):
    try:
        start_response("200 OK", [("X-First", "1"), ("X-Bad", None)])
    except TypeError:
        start_response("400 Bad", [("X-Second", "2")])
    return [b"x"]
"#,
        );
        let recorder = script.get();
        assert_eq!(recorder.status(), Some(400));
        assert_eq!(recorder.headers().len(), 1);
    }

    // Gunicorn: E47
    #[test]
    fn written_blocks_come_before_those_of_the_iterable() {
        let script = Script::new(
            r#"
def app(environ, start_response):
    write = start_response("200 OK", [])
    write(b"")
    write(b"one ")
    write(b"two ")
    return [b"three"]
"#,
        );
        let recorder = script.get();
        assert_eq!(text(&recorder), "one two three");
        assert_eq!(recorder.blocks().len(), 3);
        assert_eq!(recorder.length(), None);
    }

    #[test]
    fn a_lost_client_is_a_broken_pipe_in_write_and_no_app_failure() {
        let script = Script::new(
            r#"
seen = []
def app(environ, start_response):
    write = start_response("200 OK", [])
    try:
        write(b"too long")
    except OSError as error:
        seen.append((type(error).__name__, error.errno))
        if len(seen) == 1: raise
    return []
"#,
        );
        // It comes back out the first time, and is swallowed the second.
        for _ in 0..2 {
            let recorder = Recorder::new();
            recorder.disconnect_after(3);
            assert!(script.get_into(&recorder).unwrap_err().is_disconnected());
        }
        assert_eq!(
            script.value("seen"),
            "[('BrokenPipeError', 32), ('BrokenPipeError', 32)]"
        );
    }

    #[test]
    fn another_thread_cannot_write() {
        let script = Script::new(
            r#"
import threading
seen = []
def app(environ, start_response):
    write = start_response("200 OK", [])
    def there():
        try: write(b"x")
        except RuntimeError: seen.append("refused")
    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    return [b"mine"]
"#,
        );
        assert_eq!(text(&script.get()), "mine");
        assert_eq!(script.value("seen"), "['refused']");
    }
}
