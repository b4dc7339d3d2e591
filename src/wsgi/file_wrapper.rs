//! `wsgi.file_wrapper`: a file as a response, sent by the system where it is a real one (PEP 3333,
//! "Optional Platform-Specific File Handling").
//! Whatever could read otherwise than the file's descriptor does (text, decompression, a subclass) is
//! read through Python instead.

use std::fs::File;
use std::os::fd::RawFd;

use pyo3::exceptions::{PyAttributeError, PyIndexError};
use pyo3::intern;
use pyo3::prelude::*;

use super::ffi;

/// Gunicorn's block size, and PEP 3333's own example.
const BLOCK: isize = 8192;

/// Reads a file-like object block by block.
#[pyclass(frozen, module = "oxicorn")]
#[derive(Debug)]
pub(super) struct FileWrapper {
    file: Py<PyAny>,
    block_size: isize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=BLOCK))]
    fn new(filelike: Py<PyAny>, blksize: isize) -> Self {
        Self {
            file: filelike,
            block_size: blksize,
        }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let read = intern!(py, "read");
        let block = self.file.bind(py).call_method1(read, (self.block_size,))?;
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
            return self.file.bind(py).getattr(intern!(py, "close"));
        }
        Err(PyAttributeError::new_err(format!(
            "'FileWrapper' object has no attribute '{name}'"
        )))
    }
}

/// A file that the system can send by itself.
pub(super) struct RealFile {
    pub(super) file: File,
    /// Where the Python file stands.
    pub(super) offset: u64,
    /// How much there is from there on.
    pub(super) len: u64,
}

impl FileWrapper {
    /// The wrapped file, if it is a regular one that Python reads as it is. Its own position stays
    /// untouched.
    pub(super) fn real_file(&self, py: Python<'_>) -> Option<RealFile> {
        let file = self.file.bind(py);
        if !reads_its_descriptor(file).unwrap_or(false) {
            return None;
        }
        let position = || -> PyResult<(RawFd, u64)> {
            // What was written through a buffer must be in the file first.
            file.call_method0(intern!(py, "flush"))?;
            let descriptor = file.call_method0(intern!(py, "fileno"))?.extract()?;
            let offset = file.call_method0(intern!(py, "tell"))?.extract()?;
            Ok((descriptor, offset))
        };
        let (descriptor, offset) = position().ok()?;
        let file = ffi::duplicate(descriptor).ok()?;
        let facts = file.metadata().ok()?;
        facts.is_file().then(|| RealFile {
            len: facts.len().saturating_sub(offset),
            file,
            offset,
        })
    }
}

/// Whether it is exactly an `io.FileIO`, or a buffer of `io` around one: anything else may give other
/// bytes than the descriptor.
fn reads_its_descriptor(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = file.py();
    let is = |object: &Bound<'_, PyAny>, name: &str| -> PyResult<bool> {
        Ok(object.get_type().is(&py.import("io")?.getattr(name)?))
    };
    if is(file, "FileIO")? {
        return Ok(true);
    }
    Ok((is(file, "BufferedReader")? || is(file, "BufferedRandom")?)
        && is(&file.getattr(intern!(py, "raw"))?, "FileIO")?)
}
