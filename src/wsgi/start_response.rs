//! `start_response` and the `write` that it returns (PEP 3333).
//! It sends nothing by itself: it keeps what the application said until the first block of the body.
//!
//! *Invariants*: what an application says is copied when it says it, so that changing its list later
//! changes nothing; a call of one request never reaches the response of another (an object that an
//! application keeps is never used again); no lock is held while Python runs.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::scoped_call::{NotLent, Slot};
use crate::python::errors::to_python;
use crate::python::ffi;
use crate::python::greenlet::GreenletId;

/// What an application said of its response, before it is sent. Its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Outline {
    stage: Stage,
    status: u16,
    /// The reason phrase, then names and values, one after the other.
    text: Vec<u8>,
    /// Where the reason phrase ends.
    reason: usize,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// `start_response` was not called yet.
    #[default]
    Blank,
    Said,
    /// It has gone out and cannot be changed.
    Responded,
}

impl Outline {
    pub(super) fn is_said(&self) -> bool {
        self.stage != Stage::Blank
    }

    pub(super) fn mark_sent(&mut self) {
        self.stage = Stage::Responded;
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn reason(&self) -> &[u8] {
        &self.text[..self.reason]
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = self.reason;
        self.ends.iter().map(move |&(name, value)| {
            let from = mem::replace(&mut start, value);
            (&self.text[from..name], &self.text[name..value])
        })
    }

    /// The value of the application's own `Content-Length`, if it is a number.
    pub(super) fn content_length(&self) -> Option<u64> {
        let (_, value) = self
            .fields()
            .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }

    pub(super) fn clear(&mut self) {
        self.stage = Stage::Blank;
        self.text.clear();
        self.ends.clear();
    }

    /// Replaces all that was said.
    fn say(&mut self, status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        self.clear();
        push(&mut self.text, status, "the status")?;
        self.status = parse_status(&self.text).ok_or_else(|| {
            PyValueError::new_err(format!(
                "start_response: {} is not a status: three digits, then a space and a reason",
                status
                    .repr()
                    .map_or_else(|_| String::new(), |text| text.to_string()),
            ))
        })?;
        self.text.drain(..self.text.len().min(4));
        self.reason = self.text.len();
        if let Ok(list) = headers.cast_exact::<PyList>() {
            for field in list.iter() {
                self.field(&field)?;
            }
        } else {
            let fields = headers.try_iter().map_err(|_| {
                wrong_type("the headers", "a list of (name, value) tuples", headers)
            })?;
            for field in fields {
                self.field(&field?)?;
            }
        }
        self.stage = Stage::Said;
        Ok(())
    }

    fn field(&mut self, field: &Bound<'_, PyAny>) -> PyResult<()> {
        let mismatch = || wrong_type("a header", "a (name, value) tuple", field);
        if let Ok(pair) = field.cast_exact::<PyTuple>() {
            if pair.len() != 2 {
                return Err(mismatch());
            }
            return self.pair(
                pair.get_borrowed_item(0)?.as_any(),
                pair.get_borrowed_item(1)?.as_any(),
            );
        }
        if field.len().ok() != Some(2) {
            return Err(mismatch());
        }
        let item = |index: usize| field.get_item(index).map_err(|_| mismatch());
        self.pair(&item(0)?, &item(1)?)
    }

    fn pair(&mut self, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        push(&mut self.text, name, "a header's name")?;
        let end = self.text.len();
        push(&mut self.text, value, "a header's value")?;
        self.ends.push((end, self.text.len()));
        Ok(())
    }
}

/// Appends a `str` as the bytes that PEP 3333 lets it stand for: one a character.
fn push(text: &mut Vec<u8>, object: &Bound<'_, PyAny>, what: &str) -> PyResult<()> {
    let string = object
        .cast::<PyString>()
        .map_err(|_| wrong_type(what, "str", object))?;
    // Fails for lone surrogates only.
    let string = string.to_str()?;
    if string.is_ascii() {
        text.extend_from_slice(string.as_bytes());
        return Ok(());
    }
    for character in string.chars() {
        text.push(u8::try_from(character).map_err(|_| {
            PyValueError::new_err(format!(
                "start_response: {what} holds {character:?}, which is not latin-1 (PEP 3333)"
            ))
        })?);
    }
    Ok(())
}

/// `200 OK`, `200 ` or `200`, with a reason of RFC 9112 §4: HTAB, SP, visible characters, obs-text.
fn parse_status(text: &[u8]) -> Option<u16> {
    let (code, rest) = text.split_at_checked(3)?;
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if !code.iter().all(u8::is_ascii_digit) || !reason.iter().all(visible) {
        return None;
    }
    std::str::from_utf8(code).ok()?.parse().ok()
}

fn wrong_type(what: &str, wanted: &str, object: &Bound<'_, PyAny>) -> PyErr {
    let kind = object.get_type();
    let kind = kind.name();
    let kind = kind
        .as_ref()
        .map_or("something else".into(), |name| name.to_string_lossy());
    PyTypeError::new_err(format!(
        "start_response: {what} must be {wanted}, not {kind}"
    ))
}

/// The callable that an application starts its response with.
#[pyclass(frozen, module = "oxicorn")]
#[derive(Debug)]
pub(super) struct StartResponse {
    write: Py<Write>,
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None))]
    fn __call__(
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
        write.with_outline(|outline| match (outline.stage, exc_info) {
            (Stage::Said | Stage::Responded, None) => Err(PyAssertionError::new_err(
                "start_response was called a second time without exc_info",
            )),
            (Stage::Responded, Some(info)) => Err(raised(info)),
            (Stage::Blank, _) | (Stage::Said, Some(_)) => outline.say(status, headers),
        })?;
        Ok(self.write.clone_ref(py))
    }
}

/// The exception of a `sys.exc_info()`, to be raised again as it was.
fn raised(info: &Bound<'_, PyAny>) -> PyErr {
    let error = || -> PyResult<PyErr> {
        let value = info.get_item(1)?;
        let value = value.call_method1("with_traceback", (info.get_item(2)?,))?;
        Ok(PyErr::from_value(value))
    };
    error().unwrap_or_else(|error| error)
}

impl StartResponse {
    pub(super) fn new(py: Python<'_>) -> PyResult<Py<Self>> {
        let write = Py::new(py, Write::default())?;
        Py::new(py, Self { write })
    }

    pub(super) fn write(&self) -> &Write {
        self.write.get()
    }

    /// Makes the object as new. `None` where somebody else still holds a part of it, so that it must
    /// not be used for another request.
    pub(super) fn recycle(py: Python<'_>, this: Py<Self>) -> Option<Py<Self>> {
        if !Self::is_unheld(py, &this) {
            return None;
        }
        if let Some(outline) = &mut *this.get().write().outline() {
            outline.clear();
        }
        Some(this)
    }

    /// Whether nobody else holds a part of it, and so can say no more.
    pub(super) fn is_unheld(py: Python<'_>, this: &Py<Self>) -> bool {
        ffi::is_only_reference(py, this) && ffi::is_only_reference(py, &this.get().write)
    }
}

/// The `write` callable: sends a block of the body at once.
#[pyclass(frozen, module = "oxicorn", name = "write")]
#[derive(Debug, Default)]
pub(super) struct Write {
    outline: Mutex<Option<Box<Outline>>>,
    slot: Slot,
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
        self.slot
            .borrow(here, |call| call.write(block))
            .map_err(not_lent)?
            .map_err(to_python)
    }
}

impl Write {
    /// The slot through which the running call is lent to this object.
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Runs `f` with the outline, which is taken out meanwhile, so that no lock is held: who asks for it
    /// from within finds a blank one.
    pub(super) fn with_outline<R>(&self, f: impl FnOnce(&mut Outline) -> R) -> R {
        let mut outline = self.take_outline().unwrap_or_default();
        let result = f(&mut outline);
        self.put_outline(outline);
        result
    }

    /// Takes the outline out; `None` stands for a blank one.
    pub(super) fn take_outline(&self) -> Option<Box<Outline>> {
        self.outline().take()
    }

    pub(super) fn put_outline(&self, outline: Box<Outline>) {
        *self.outline() = Some(outline);
    }

    fn outline(&self) -> MutexGuard<'_, Option<Box<Outline>>> {
        self.outline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the running call cannot be used, as Python sees it.
pub(super) fn not_lent(reason: NotLent) -> PyErr {
    match reason {
        NotLent::Over => PyValueError::new_err("the request is over"),
        NotLent::Elsewhere => {
            PyRuntimeError::new_err("only the thread that serves the request may do this")
        }
        NotLent::OtherGreenlet => PyRuntimeError::new_err(
            "only the greenlet that serves the request may do this: greenlets of one thread share its stack, and \
             the call is not on it while another one runs",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, text};
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn a_status_is_three_digits_and_perhaps_a_reason() {
        assert_eq!(parse_status(b"200 OK"), Some(200));
        assert_eq!(parse_status(b"404"), Some(404));
        assert_eq!(parse_status(b"500 "), Some(500));
        assert_eq!(parse_status(b"299 caf\xe9\ttwo"), Some(299));
        for wrong in [
            &b""[..],
            b"20",
            b"2000",
            b"20x OK",
            b"200OK",
            b"200 a\r\nb: c",
            b"+20 OK",
        ] {
            assert_eq!(parse_status(wrong), None, "{wrong:?}");
        }
    }

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

    #[test]
    fn a_second_call_without_exc_info_is_an_error() {
        let error = refused("start_response('200 OK', []); start_response('200 OK', [])");
        assert!(
            error.starts_with("AssertionError: start_response"),
            "{error}"
        );
    }

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
