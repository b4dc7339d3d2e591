//! `wsgi.file_wrapper`: a file as a response, which the system sends where the object is a [`RealFile`] (PEP 3333,
//! "Optional Platform-Specific File Handling"). Any other object is read through Python.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAttributeError, PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::python::real_file::RealFile;

/// Gunicorn's block size, and PEP 3333's own example.
const BLOCK: isize = 8192;

/// Reads a file-like object block by block.
#[pyclass(frozen, module = "oxicorn")]
#[derive(Debug)]
pub(super) struct FileWrapper {
    /// `None` once Python has collected it.
    file: Mutex<Option<Py<PyAny>>>,
    block_size: isize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=BLOCK))]
    fn new(filelike: Py<PyAny>, blksize: isize) -> Self {
        Self {
            file: Mutex::new(Some(filelike)),
            block_size: blksize,
        }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let read = intern!(py, "read");
        let block = self.file(py)?.call_method1(read, (self.block_size,))?;
        Ok(if block.is_truthy()? {
            Some(block)
        } else {
            None
        })
    }

    /// The protocol of iteration that Python had before `__iter__`, as in `wsgiref`.
    fn __getitem__<'py>(&self, py: Python<'py>, _index: isize) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)?
            .ok_or_else(|| PyIndexError::new_err("end of file"))
    }

    /// `close`, but only if the file has one.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if name == "close" {
            return self.file(py)?.getattr(intern!(py, "close"));
        }
        Err(PyAttributeError::new_err(format!(
            "'FileWrapper' object has no attribute '{name}'"
        )))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A holder of the lock has a reference of its own: nothing is collected that is not visited here.
        match self.file.try_lock() {
            Ok(file) => visit.call(&*file),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let file = self.lock().take();
        // Its own code may run now, and come back here.
        drop(file);
    }
}

impl FileWrapper {
    fn file<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let file = self.lock().as_ref().map(|file| file.bind(py).clone());
        file.ok_or_else(|| PyValueError::new_err("the file was collected"))
    }

    /// No Python runs while this is held.
    fn lock(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wrapped file as one that the system can send, where it is one.
    pub(super) fn real_file(&self, py: Python<'_>) -> Option<RealFile> {
        RealFile::of(&self.file(py).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, text};
    use crate::testing::Recorder;

    const FILES: &str = r#"
import gzip, io, tempfile
kept = []

def real(mode="w+b", position=4, **options):
    file = tempfile.TemporaryFile(mode, **options)
    file.write(b"0123456789" if "b" in mode else "0123456789")
    file.seek(position)
    return file

def unseekable():
    import os
    ends = os.pipe()
    os.write(ends[1], b"piped")
    os.close(ends[1])
    return os.fdopen(ends[0], "rb")

def packed():
    file = real(position=0)
    file.truncate()
    with gzip.GzipFile(fileobj=file, mode="wb") as pack: pack.write(b"unpacked")
    file.seek(0)
    return gzip.GzipFile(fileobj=file, mode="rb")

class Loud(io.BytesIO):
    closed_times = 0
    def close(self):
        self.closed_times += 1
        super().close()
"#;

    fn sending(file: &str, headers: &str) -> Script {
        Script::new(&format!(
            "{FILES}
def app(environ, start_response):
    start_response('200 OK', {headers})
    file = {file}
    kept.append(file)
    return environ['wsgi.file_wrapper'](file, 3)
"
        ))
    }

    // Gunicorn: E57, E58
    #[test]
    fn a_real_file_is_sent_in_one_piece_from_where_it_stands() {
        for file in ["real()", "real(buffering=0)"] {
            let recorder = sending(file, "[]").get();
            assert_eq!(recorder.blocks(), [b"456789"], "{file}");
            assert_eq!(recorder.length(), Some(6));
        }
    }

    // Gunicorn: E57
    #[test]
    fn a_content_length_bounds_what_is_sent() {
        let recorder = sending("real()", "[('Content-Length', '2')]").get();
        assert_eq!(recorder.blocks(), [b"45"]);
        let recorder = sending("real()", "[('Content-Length', '99')]").get();
        // The file may grow while it is read.
        assert_eq!(recorder.blocks(), [b"456", b"789"]);
    }

    // Gunicorn: E59
    #[test]
    fn an_empty_file_is_a_complete_response() {
        let recorder = sending("real(position=10)", "[]").get();
        assert!(recorder.is_complete());
        assert_eq!(recorder.length(), Some(0));
    }

    /// An application that sends `file`, whose content it reads itself as well.
    fn opened(file: &str, headers: &str) -> Script {
        Script::new(&format!(
            "import os
{FILES}
def path():
    kept.append(real())
    kept[-1].flush()
    return '/proc/self/fd/%d' % kept[-1].fileno()

def app(environ, start_response):
    start_response('200 OK', {headers})
    return environ['wsgi.file_wrapper']({file}, 3)
"
        ))
    }

    // Gunicorn: E58
    #[test]
    fn a_file_whose_size_is_no_promise_is_read_to_its_end() {
        let mut met = 0;
        for path in [
            "/proc/version",
            "/proc/self/status",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/kernel/fscaps",
        ] {
            let Ok(content) = std::fs::read(path) else {
                continue;
            };
            met += 1;
            for buffering in ["", ", buffering=0"] {
                let recorder = opened(&format!("open('{path}', 'rb'{buffering})"), "[]").get();
                assert_eq!(recorder.length(), None, "{path}");
                assert!(recorder.is_complete());
                // Numbers in it may have changed.
                let found = recorder.body();
                let start = content.len().min(10);
                assert_eq!(found[..start], content[..start], "{path}");
            }
        }
        assert!(met >= 2, "there is no /proc");
    }

    // Gunicorn: E58
    #[test]
    fn an_unreadable_file_is_an_error_and_not_an_empty_answer() {
        for file in [
            "open(path(), 'wb')",
            "open(path(), 'wb', buffering=0)",
            "open(path(), 'ab', buffering=0)",
            "io.FileIO(os.open(path(), os.O_WRONLY), 'r')",
            "open(os.open(path(), os.O_WRONLY), 'rb')",
        ] {
            let recorder = Recorder::new();
            let outcome = opened(file, "[]").get_into(&recorder);
            assert!(outcome.is_err(), "{file}");
            assert_eq!(recorder.status(), None, "{file}");
        }
    }

    #[test]
    fn what_was_read_and_written_through_a_buffer_counts() {
        let script = Script::new(&format!(
            "{FILES}
def app(environ, start_response):
    start_response('200 OK', [])
    file = real(position=0)
    file.read(1)
    file.seek(0, 2)
    file.write(b'more')
    file.seek(2)
    return environ['wsgi.file_wrapper'](file)
"
        ));
        assert_eq!(text(&script.get()), "23456789more");
    }

    #[test]
    fn the_file_is_closed_afterwards_and_its_descriptor_was_another() {
        let script = sending("real()", "[]");
        script.get();
        assert_eq!(script.value("kept[0].closed"), "True");
    }

    // Gunicorn: E61
    #[test]
    fn what_is_no_real_file_is_read_block_by_block() {
        let recorder = sending("io.BytesIO(b'12345678')", "[]").get();
        assert_eq!(recorder.blocks(), [&b"123"[..], b"456", b"78"]);
        assert_eq!(text(&sending("unseekable()", "[]").get()), "piped");
        assert_eq!(text(&sending("packed()", "[]").get()), "unpacked");
        let error = sending("real('w+')", "[]").fail().to_string();
        assert!(error.contains("must be made of bytes"), "{error}");
    }

    #[test]
    fn a_wrapper_in_a_cycle_is_collected() {
        let script = Script::new(
            r#"
import gc, weakref
kept = []
class Ring:
    def read(self, size): return b""
def app(environ, start_response):
    ring = Ring()
    ring.wrapper = environ["wsgi.file_wrapper"](ring)
    kept.append(weakref.ref(ring))
    start_response("200 OK", [])
    return ring.wrapper
"#,
        );
        script.get();
        assert_eq!(script.value("gc.is_tracked(kept[0]().wrapper)"), "True");
        assert_eq!(
            script.value("gc.get_referents(kept[0]().wrapper)[-1] is kept[0]()"),
            "True"
        );
        script.value("gc.collect()");
        assert_eq!(script.value("kept[0]()"), "None");
    }

    #[test]
    fn close_is_there_only_if_the_file_has_one() {
        let script = sending("Loud(b'x')", "[]");
        script.get();
        assert_eq!(script.value("kept[0].closed_times"), "1");
        let script = Script::new(
            r#"
class Bare:
    def __init__(self): self.blocks = [b"bare"]
    def read(self, size): return self.blocks.pop() if self.blocks else b""
def app(environ, start_response):
    wrapper = environ["wsgi.file_wrapper"](Bare())
    start_response("200 OK", [("X-Close", str(hasattr(wrapper, "close")))])
    return wrapper
"#,
        );
        let recorder = script.get();
        assert_eq!(recorder.header("x-close").unwrap(), b"False");
        assert_eq!(text(&recorder), "bare");
    }
}
