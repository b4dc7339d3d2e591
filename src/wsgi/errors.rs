//! What Python has to say about failures: `wsgi.errors`, and exceptions as text.
//! Nothing here decides what a failure means, and no text of a request goes unmarked into the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::Error;
use crate::trace;

/// Python's `wsgi.errors`: text that is written to it goes to the error log, whole lines at a time.
///
/// One object serves all requests of a worker.
#[pyclass(frozen, module = "oxicorn", name = "ErrorStream")]
#[derive(Debug, Default)]
pub(super) struct ErrorStream {
    /// The beginning of a line whose end has not come yet.
    begun: Mutex<String>,
}

#[pymethods]
impl ErrorStream {
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let length = text.code_point_len()?;
        let text = text.to_string_lossy();
        let Some(end) = text.rfind('\n') else {
            self.begun().push_str(&text);
            return Ok(length);
        };
        let mut lines = std::mem::take(&mut *self.begun());
        lines.push_str(&text[..end]);
        self.begun().push_str(&text[end + 1..]);
        log(&lines);
        Ok(length)
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?)?;
        }
        Ok(())
    }

    fn flush(&self) {
        let begun = std::mem::take(&mut *self.begun());
        if !begun.is_empty() {
            log(&begun);
        }
    }
}

impl ErrorStream {
    /// No Python runs, and nothing waits, while this is held.
    fn begun(&self) -> MutexGuard<'_, String> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(text: &str) {
    trace::error!("{text}");
}

/// An exception as Python prints it, with its traceback and its causes.
pub(super) fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let lines = py.import("traceback")?.call_method1(
            "format_exception",
            (error.get_type(py), error.value(py), error.traceback(py)),
        )?;
        let text = PyString::new(py, "").call_method1("join", (lines,))?;
        Ok(text
            .cast::<PyString>()?
            .to_string_lossy()
            .trim_end()
            .to_owned())
    };
    format().unwrap_or_else(|_| error.to_string())
}

/// An exception in one line: `ValueError: too large`.
pub(super) fn summary(py: Python<'_>, error: &PyErr) -> String {
    let kind = error.get_type(py).name();
    let kind = kind
        .as_ref()
        .map_or("exception".into(), |name| name.to_string_lossy());
    let text = message(py, error);
    match text.lines().next() {
        Some(line) => format!("{kind}: {line}"),
        None => kind.into_owned(),
    }
}

/// What `str()` makes of an exception, as far as it can.
pub(super) fn message(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).str().map_or_else(
        |_| String::new(),
        |text| text.to_string_lossy().into_owned(),
    )
}

/// The innermost place of an exception's traceback: `/srv/shop/wsgi.py line 12`.
pub(super) fn place(py: Python<'_>, error: &PyErr) -> Option<String> {
    let mut frame = error.traceback(py)?.into_any();
    while let Some(next) = frame.getattr("tb_next").ok().filter(|next| !next.is_none()) {
        frame = next;
    }
    let code = frame.getattr("tb_frame").ok()?.getattr("f_code").ok()?;
    let file = code.getattr("co_filename").ok()?;
    Some(format!("{file} line {}", frame.getattr("tb_lineno").ok()?))
}

/// A failure of this crate's own as Python sees it: a lost client is a `BrokenPipeError`.
pub(super) fn to_python(error: Error) -> PyErr {
    std::io::Error::from(error).into()
}
