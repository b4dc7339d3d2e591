//! Python exceptions as text, as exit statuses and in the log, and errors of this crate as exceptions.

use pyo3::exceptions::{PyBrokenPipeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::Error;
use crate::trace;

/// Logs an error, without the interpreter's lock: the log may take its time.
pub(crate) fn log(py: Python<'_>, text: &str) {
    py.detach(|| trace::error!("{text}"));
}

pub(crate) fn warn(py: Python<'_>, text: &str) {
    py.detach(|| trace::warning!("{text}"));
}

pub(crate) fn info(py: Python<'_>, text: &str) {
    py.detach(|| trace::info!("{text}"));
}

/// Logs an exception, with its traceback, under `title`.
pub(crate) fn log_exception(py: Python<'_>, title: &str, error: &PyErr) {
    log(py, &format!("{title}\n{}", traceback(py, error)));
}

/// An exception as Python prints it, with its traceback and its causes.
pub(crate) fn traceback(py: Python<'_>, error: &PyErr) -> String {
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
pub(crate) fn summary(py: Python<'_>, error: &PyErr) -> String {
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

/// An exception as `str()` gives it; empty where that raises.
pub(crate) fn message(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).str().map_or_else(
        |_| String::new(),
        |text| text.to_string_lossy().into_owned(),
    )
}

/// The exit status of a program that ends by this exception, if it is `SystemExit`.
pub(crate) fn exit_status(py: Python<'_>, error: &PyErr) -> Option<i32> {
    if !error.is_instance_of::<PySystemExit>(py) {
        return None;
    }
    let code = error.value(py).getattr("code").ok()?;
    if code.is_none() {
        return Some(0);
    }
    // Of a number, Python takes the lowest bits. Anything else it prints, and takes 1.
    Some(code.extract::<i32>().unwrap_or(1))
}

/// The place that raised an exception: `/srv/shop/wsgi.py line 12`.
pub(crate) fn place(py: Python<'_>, error: &PyErr) -> Option<String> {
    let mut frame = error.traceback(py)?.into_any();
    while let Some(next) = frame.getattr("tb_next").ok().filter(|next| !next.is_none()) {
        frame = next;
    }
    let code = frame.getattr("tb_frame").ok()?.getattr("f_code").ok()?;
    let file = code.getattr("co_filename").ok()?;
    Some(format!("{file} line {}", frame.getattr("tb_lineno").ok()?))
}

/// An error of this crate as a Python exception: `BrokenPipeError` where the client has disconnected, else `OSError`.
pub(crate) fn to_python(error: Error) -> PyErr {
    if error.is_disconnected() {
        // Applications compare its `errno`.
        return PyBrokenPipeError::new_err((libc::EPIPE, error.to_string()));
    }
    std::io::Error::from(error).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_python;
    use super::*;

    #[test]
    fn tracebacks_have_causes_and_all_lines() {
        with_python(|py| {
            let code = c"
try:
    1 / 0
except ZeroDivisionError as cause:
    raise ValueError('two\\nlines') from cause
";
            let error = py.run(code, None, None).unwrap_err();
            let text = traceback(py, &error);
            assert!(
                text.contains("ZeroDivisionError: division by zero"),
                "{text}"
            );
            assert!(text.ends_with("ValueError: two\nlines"), "{text}");
            assert_eq!(summary(py, &error), "ValueError: two");
            assert_eq!(place(py, &error).unwrap(), "<string> line 5");
        });
    }

    #[test]
    fn an_exception_that_cannot_be_shown_is_still_named() {
        with_python(|py| {
            let code = c"
class Mute(Exception):
    def __str__(self): raise ValueError
raise Mute
";
            let error = py.run(code, None, None).unwrap_err();
            assert_eq!(summary(py, &error), "Mute");
        });
    }

    #[test]
    fn a_program_that_wants_to_end_says_with_which_status() {
        with_python(|py| {
            for (code, status) in [
                (c"raise SystemExit", Some(0)),
                (c"raise SystemExit(5)", Some(5)),
                (c"raise SystemExit(True)", Some(1)),
                (c"raise SystemExit('text')", Some(1)),
                (c"raise KeyboardInterrupt", None),
            ] {
                let error = py.run(code, None, None).unwrap_err();
                assert_eq!(exit_status(py, &error), status, "{code:?}");
            }
        });
    }
}
