//! `wsgi.input`: a request's body as a file that Python reads (PEP 3333, "Input and Error Streams").
//! It never reads beyond the body, and refuses to be read when the request is over.
//!
//! A complete body belongs to the object and may be read in any thread. One that is still arriving is
//! borrowed from the running call (`lend`), in its own thread only.
//!
//! What is there is copied once, into the object that Python gets. Where there is no room for that object it is
//! Python's `MemoryError`.
//!
//! *Invariants*: no lock is held while bytes are read or Python runs: the source is taken out meanwhile.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use memchr::memchr;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList};

use super::start_response::{StartResponse, not_lent};
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
    /// There is no body, and one object may serve any number of requests.
    Empty,
    Ready(Source),
    /// It is being read in this moment.
    Busy,
    /// The request is over.
    Over,
}

#[derive(Debug)]
enum Source {
    Memory(Reader<Bytes>),
    File(BufReader<Spooled>),
    Lent(BufReader<Lent>),
}

impl Source {
    /// How much is left to read, if that is known.
    fn left(&self) -> Option<u64> {
        match self {
            Self::Memory(bytes) => Some(bytes.get_ref().len() as u64),
            Self::File(file) => Some(file.get_ref().0.left() + file.buffer().len() as u64),
            Self::Lent(_) => None,
        }
    }

    fn reader(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File(file) => file,
            Self::Lent(lent) => lent,
        }
    }

    /// The next `limit` bytes, or what there is to the end.
    fn read<'py>(&mut self, py: Python<'py>, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
        let Some(left) = self.left() else {
            return copy_bytes(py, &gathered(self.reader(), limit, None)?);
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

    /// The next `limit` bytes, or what there is to the end of a line.
    fn line<'py>(&mut self, py: Python<'py>, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
        let reader = self.reader();
        // Most lines are there as a whole.
        if let (len, true) = wanted(reader.fill_buf()?, limit, Some(b'\n')) {
            let line = copy_bytes(py, &reader.fill_buf()?[..len])?;
            reader.consume(len);
            return Ok(line);
        }
        copy_bytes(py, &gathered(reader, limit, Some(b'\n'))?)
    }
}

/// How many of `bytes` are wanted, and whether they are all that is: `limit` is reached, or the byte `until`.
fn wanted(bytes: &[u8], limit: u64, until: Option<u8>) -> (usize, bool) {
    let within = usize::try_from(limit).map_or(bytes, |limit| &bytes[..limit.min(bytes.len())]);
    let end = until.and_then(|until| memchr(until, within));
    let len = end.map_or(within.len(), |end| end + 1);
    (len, end.is_some() || len as u64 == limit)
}

/// Reads on to the end, to `limit`, or to the byte `until`, into memory that grows.
fn gathered(reader: &mut dyn BufRead, mut limit: u64, until: Option<u8>) -> PyResult<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let there = match reader.fill_buf() {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let (len, done) = wanted(there, limit, until);
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

/// A complete body in a file. A disk may be slow: it is read without the interpreter's lock.
#[derive(Debug)]
struct Spooled(OwnedBody);

impl Read for Spooled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| detached(py, || self.0.read(buffer)))
    }
}

/// A body that is still arriving: the object through whose slot the running call is lent.
#[derive(Debug)]
struct Lent(Py<StartResponse>);

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .get()
            .write()
            .slot()
            .borrow(Python::attach(GreenletId::current), |call| {
                call.read(buffer)
            })
            .map_err(not_lent)
            .and_then(|read| read.map_err(to_python))
            .map_err(io::Error::other)
    }
}

impl Input {
    pub(super) fn empty() -> Self {
        Self(Mutex::new(State::Empty))
    }

    pub(super) fn owned(body: OwnedBody) -> Self {
        let source = match body.into_bytes() {
            Ok(bytes) => Source::Memory(bytes.reader()),
            Err(file) => Source::File(BufReader::new(Spooled(file))),
        };
        Self(Mutex::new(State::Ready(source)))
    }

    pub(super) fn lent(start: Py<StartResponse>) -> Self {
        let source = Source::Lent(BufReader::new(Lent(start)));
        Self(Mutex::new(State::Ready(source)))
    }

    /// Ends it with its request.
    pub(super) fn close(&self) {
        let state = mem::replace(&mut *self.state(), State::Over);
        drop(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `read` with the source, or answers with no bytes where there is none.
    fn with_source<'py>(
        &self,
        py: Python<'py>,
        read: impl FnOnce(&mut Source) -> PyResult<Bound<'py, PyBytes>>,
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
        let State::Ready(mut source) = taken else {
            return copy_bytes(py, b"");
        };
        let outcome = read(&mut source);
        let mut state = self.state();
        // Unless the request ended meanwhile, in another thread.
        if matches!(*state, State::Busy) {
            *state = State::Ready(source);
        }
        outcome
    }

    fn line<'py>(&self, py: Python<'py>, limit: Option<u64>) -> PyResult<Bound<'py, PyBytes>> {
        self.with_source(py, |source| source.line(py, limit.unwrap_or(u64::MAX)))
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
        self.with_source(py, |source| source.read(py, limit))
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
        // As of `io.IOBase.readlines`: no hint, and a hint of 0, is all.
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

/// A size argument: `None` and negative numbers are no limit; what is no number is refused.
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
    // A size beyond all memory is no limit either.
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
