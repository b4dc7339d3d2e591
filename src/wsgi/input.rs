//! `wsgi.input`: a request's body as a file that Python reads (PEP 3333, "Input and Error Streams").
//! It never reads beyond the body, and raises when it is read after the request.
//!
//! A complete body belongs to the object, and any thread may read it. One that is still arriving is read from the call
//! that runs ([`ScopedCall`](super::scoped_call)), by the call's own thread only.
//!
//! Bytes are copied once, into the object that Python gets. Where memory has no room for that object, reading raises
//! `MemoryError`.
//!
//! *Invariants*: no lock is held while bytes are read or Python runs: the body is taken out meanwhile.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use memchr::memchr;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList};

use super::start_response::StartResponse;
use crate::python::errors::to_python;
use crate::python::ffi::{copy_bytes, detached};
use crate::python::greenlet::GreenletId;
use crate::service::OwnedBody;

/// The object that an environ holds as `wsgi.input`.
#[pyclass(frozen, module = "oxicorn")]
#[derive(Debug)]
pub(super) struct Input(Mutex<State>);

#[derive(Debug)]
enum State {
    /// There is no body: one object may serve any number of requests.
    Empty,
    Ready(Content),
    /// A call reads it at this moment.
    Busy,
    /// The request is over.
    Over,
}

#[derive(Debug)]
enum Content {
    Memory(Reader<Bytes>),
    File(BufReader<Spooled>),
    Streamed(BufReader<Streamed>),
}

impl Content {
    /// The number of bytes that are left, if that is known.
    fn left(&self) -> Option<u64> {
        match self {
            Self::Memory(bytes) => Some(bytes.get_ref().len() as u64),
            Self::File(file) => Some(file.get_ref().0.left() + file.buffer().len() as u64),
            Self::Streamed(_) => None,
        }
    }

    fn reader(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File(file) => file,
            Self::Streamed(stream) => stream,
        }
    }

    /// The next `limit` bytes, or fewer at the end.
    fn read<'py>(&mut self, py: Python<'py>, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
        let Some(left) = self.left() else {
            return copy_bytes(py, &read_growing(self.reader(), limit, None)?);
        };
        let len = usize::try_from(limit.min(left))?;
        match self {
            Self::Memory(bytes) => {
                let read = copy_bytes(py, &bytes.get_ref()[..len])?;
                bytes.consume(len);
                Ok(read)
            }
            _ => PyBytes::new_with(py, len, |room| Ok(self.reader().read_exact(room)?)),
        }
    }

    /// The next `limit` bytes, or fewer where a line or the body ends before that.
    fn line<'py>(&mut self, py: Python<'py>, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
        let reader = self.reader();
        // Most lines lie in the buffer as a whole.
        if let (len, true) = split_at(reader.fill_buf()?, limit, Some(b'\n')) {
            let line = copy_bytes(py, &reader.fill_buf()?[..len])?;
            reader.consume(len);
            return Ok(line);
        }
        copy_bytes(py, &read_growing(reader, limit, Some(b'\n'))?)
    }
}

/// Tells how many of `bytes` to take, and whether that completes the read: by `limit`, or by the byte `until`.
fn split_at(bytes: &[u8], limit: u64, until: Option<u8>) -> (usize, bool) {
    let within = usize::try_from(limit).map_or(bytes, |limit| &bytes[..limit.min(bytes.len())]);
    let end = until.and_then(|until| memchr(until, within));
    let len = end.map_or(within.len(), |end| end + 1);
    (len, end.is_some() || len as u64 == limit)
}

/// Reads to the end, to `limit`, or to the byte `until`, into memory that grows.
fn read_growing(reader: &mut dyn BufRead, mut limit: u64, until: Option<u8>) -> PyResult<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let there = match reader.fill_buf() {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let (len, done) = split_at(there, limit, until);
        bytes
            .try_reserve(len)
            .map_err(|_| PyMemoryError::new_err(()))?;
        bytes.extend_from_slice(&there[..len]);
        let end = done || there.is_empty();
        reader.consume(len);
        limit -= len as u64;
        if end {
            return Ok(bytes);
        }
    }
}

/// A complete body in a file. It is read without the interpreter's lock, since a disk may be slow.
#[derive(Debug)]
struct Spooled(OwnedBody);

impl Read for Spooled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| detached(py, || self.0.read(buffer)))
    }
}

/// A body that is still arriving, and the object through which the call that runs is reached.
#[derive(Debug)]
struct Streamed(Py<StartResponse>);

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .get()
            .write()
            .call()
            .with(Python::attach(GreenletId::current), |call| {
                call.read(buffer)
            })
            .map_err(PyErr::from)
            .and_then(|read| read.map_err(to_python))
            .map_err(io::Error::other)
    }
}

impl Input {
    pub(super) fn empty() -> Self {
        Self(Mutex::new(State::Empty))
    }

    /// The input of a request whose body is complete.
    pub(super) fn owned(body: OwnedBody) -> Self {
        let content = match body.into_bytes() {
            Ok(bytes) => Content::Memory(bytes.reader()),
            Err(file) => Content::File(BufReader::new(Spooled(file))),
        };
        Self(Mutex::new(State::Ready(content)))
    }

    /// The input of a request whose body is still arriving, to be read through the call of `start_response`.
    pub(super) fn streamed(start_response: Py<StartResponse>) -> Self {
        let content = Content::Streamed(BufReader::new(Streamed(start_response)));
        Self(Mutex::new(State::Ready(content)))
    }

    /// Ends the input with its request.
    pub(super) fn close(&self) {
        let state = mem::replace(&mut *self.state(), State::Over);
        drop(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `read` with the body; returns no bytes where there is none.
    fn with_content<'py>(
        &self,
        py: Python<'py>,
        read: impl FnOnce(&mut Content) -> PyResult<Bound<'py, PyBytes>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let taken = {
            let mut state = self.state();
            match &*state {
                State::Ready(_) => mem::replace(&mut *state, State::Busy),
                State::Empty => return copy_bytes(py, b""),
                State::Busy => {
                    return Err(PyRuntimeError::new_err("wsgi.input is being read already"));
                }
                State::Over => {
                    return Err(PyValueError::new_err(
                        "wsgi.input cannot be read when the request is over",
                    ));
                }
            }
        };
        let State::Ready(mut content) = taken else {
            return copy_bytes(py, b"");
        };
        let outcome = read(&mut content);
        let mut state = self.state();
        // Unless the request ended meanwhile, in another thread.
        if matches!(*state, State::Busy) {
            *state = State::Ready(content);
        }
        outcome
    }

    fn line<'py>(&self, py: Python<'py>, limit: Option<u64>) -> PyResult<Bound<'py, PyBytes>> {
        self.with_content(py, |content| content.line(py, limit.unwrap_or(u64::MAX)))
    }
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        size: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit(size)?.unwrap_or(u64::MAX);
        self.with_content(py, |content| content.read(py, limit))
    }

    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(
        &self,
        py: Python<'py>,
        size: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.line(py, limit(size)?)
    }

    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(
        &self,
        py: Python<'py>,
        hint: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        // As `io.IOBase.readlines` does: no hint, and a hint of 0, read all.
        let enough = limit(hint)?.filter(|&hint| hint > 0).unwrap_or(u64::MAX);
        let (lines, mut total) = (PyList::empty(py), 0);
        while total < enough {
            let line = self.line(py, None)?;
            let len = line.as_bytes().len();
            if len == 0 {
                break;
            }
            total += len as u64;
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.line(py, None)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }
}

/// A size argument: `None` and negative numbers are no limit. Anything that is not a number raises.
fn limit(size: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(size) = size else { return Ok(None) };
    let number = size.cast::<PyInt>().map_err(|_| {
        PyTypeError::new_err(format!(
            "a size must be an int or None, not {}",
            size.get_type()
        ))
    })?;
    if number.lt(0)? {
        return Ok(None);
    }
    // A size beyond all memory is no limit.
    Ok(number.extract::<u64>().ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::super::testing::{Script, head, text};
    use crate::service::Body;
    use crate::testing::Recorder;

    /// Sends back the `repr` of an expression over `read` and so on.
    fn asking(expression: &str) -> Script {
        Script::new(&format!(
            r#"
def app(environ, start_response):
    input = environ["wsgi.input"]
    start_response("200 OK", [])
    return [repr({expression}).encode()]
"#
        ))
    }

    #[test]
    fn sizes_are_as_of_any_python_file() {
        for (expression, expected) in [
            ("input.read()", "b'one\\ntwo\\nend'"),
            ("input.read(None)", "b'one\\ntwo\\nend'"),
            ("input.read(-5)", "b'one\\ntwo\\nend'"),
            ("input.read(10**30)", "b'one\\ntwo\\nend'"),
            (
                "(input.read(0), input.read(5), input.read(99), input.read(1))",
                "(b'', b'one\\nt', b'wo\\nend', b'')",
            ),
            ("input.readline()", "b'one\\n'"),
            (
                "(input.readline(2), input.readline(99), input.readline(-1))",
                "(b'on', b'e\\n', b'two\\n')",
            ),
            ("input.readlines()", "[b'one\\n', b'two\\n', b'end']"),
            ("input.readlines(5)", "[b'one\\n', b'two\\n']"),
            ("list(input)", "[b'one\\n', b'two\\n', b'end']"),
            (
                "(next(input), input.read(1), input.readlines(0))",
                "(b'one\\n', b't', [b'wo\\n', b'end'])",
            ),
        ] {
            assert_eq!(
                text(&asking(expression).post("one\ntwo\nend")),
                expected,
                "{expression}"
            );
        }
    }

    #[test]
    fn a_size_that_is_no_number_is_a_type_error() {
        for call in ["read('1')", "readline(1.5)", "readlines(b'')"] {
            let script = asking(&format!("input.{call}"));
            assert!(
                script.fail().to_string().starts_with("TypeError: a size"),
                "{call}"
            );
        }
    }

    #[test]
    fn a_request_without_a_body_reads_empty() {
        let script = asking(
            "(input.read(), input.read(5), input.readline(), input.readlines(), list(input))",
        );
        assert_eq!(text(&script.get()), "(b'', b'', b'', [], [])");
    }

    #[test]
    fn a_spooled_body_is_read_whole_and_in_lines() {
        let body: Vec<u8> = (0..300_000_u32)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        let script = Script::new(
            r#"
import hashlib
def app(environ, start_response):
    input, hash, n = environ["wsgi.input"], hashlib.sha256(), 0
    hash.update(input.read(65_537))
    for line in input:
        n += 1
        hash.update(line)
    start_response("200 OK", [])
    return [f"{n > 200_000} {hash.hexdigest()}".encode()]

def app_of(body):
    return hashlib.sha256(body).hexdigest()
"#,
        );
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&body).unwrap();
        file.rewind().unwrap();
        let recorder = Recorder::new();
        let length = body.len().to_string();
        let head = head("POST", "/", &[("content-length", length.as_bytes())]);
        let spooled = Body::file(file, body.len() as u64).unwrap();
        let _ = script.call(&head, spooled, &recorder).unwrap();
        let whole = script.value("app_of(b''.join(b'%d\\n' % n for n in range(300_000)))");
        assert_eq!(
            format!("'{}'", text(&recorder)),
            format!("'True {}", &whole[1..])
        );
    }

    #[test]
    fn a_body_that_is_still_arriving_is_read_through_the_exchange() {
        let script = asking("(input.readline(), input.read(2), input.read())");
        let recorder = Recorder::with_input("one\ntwo\nend");
        let _ = script
            .call(
                &head("POST", "/", &[("transfer-encoding", b"chunked")]),
                Body::stream(&recorder),
                &recorder,
            )
            .unwrap();
        assert_eq!(text(&recorder), "(b'one\\n', b'tw', b'o\\nend')");
    }

    const THREADED: &str = r#"
from concurrent.futures import ThreadPoolExecutor
def there(call):
    try:
        with ThreadPoolExecutor(1) as pool: return pool.submit(call).result()
    except Exception as error:
        return type(error).__name__
def app(environ, start_response):
    start_response("200 OK", [])
    return [repr(there(environ["wsgi.input"].read)).encode()]
"#;

    #[test]
    fn a_complete_body_may_be_read_in_another_thread() {
        assert_eq!(text(&Script::new(THREADED).post("body")), "b'body'");
    }

    #[test]
    fn an_arriving_body_may_not_be_read_in_another_thread() {
        let recorder = Recorder::with_input("body");
        let _ = Script::new(THREADED)
            .call(
                &head("POST", "/", &[("transfer-encoding", b"chunked")]),
                Body::stream(&recorder),
                &recorder,
            )
            .unwrap();
        assert_eq!(text(&recorder), "'RuntimeError'");
    }
}
