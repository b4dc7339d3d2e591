//! What Python has to say about failures: `wsgi.errors`, and exceptions as text.
//! Nothing here decides what a failure means, and no text of a request goes unmarked into the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyBrokenPipeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::ffi;
use crate::error::Error;
use crate::trace;

/// Past so many bytes the beginning of a line is not kept any longer.
const LONGEST: usize = 16 * 1024;

/// Python's `wsgi.errors`: text that is written to it goes to the error log, whole lines at a time.
///
/// Each request has one of its own, so that no line is joined from the text of two. What it has begun is logged at
/// the request's end; what is written after that is logged at once, since nobody would ask for it any more.
#[pyclass(frozen, module = "oxicorn", name = "ErrorStream")]
#[derive(Debug, Default)]
pub(super) struct ErrorStream {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The beginning of a line whose end has not come yet.
    begun: String,
    /// Whether the request is over.
    over: bool,
}

#[pymethods]
impl ErrorStream {
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let py = text.py();
        let length = text.code_point_len()?;
        let lines = self.state().take_in(&text.to_string_lossy());
        if let Some(lines) = lines {
            log(py, &lines);
        }
        Ok(length)
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?)?;
        }
        Ok(())
    }

    fn flush(&self, py: Python<'_>) {
        let begun = std::mem::take(&mut self.state().begun);
        if !begun.is_empty() {
            log(py, &begun);
        }
    }
}

impl ErrorStream {
    /// One that belongs to no request.
    pub(super) fn of_no_request() -> Self {
        let stream = Self::default();
        stream.state().over = true;
        stream
    }

    /// The request is over: nothing that it has written stays here.
    pub(super) fn end(&self, py: Python<'_>) {
        self.state().over = true;
        self.flush(py);
    }

    /// The object for another request, unless somebody still holds it.
    pub(super) fn recycle(py: Python<'_>, this: Py<Self>) -> Option<Py<Self>> {
        if !ffi::is_only_reference(py, &this) {
            return None;
        }
        this.get().state().over = false;
        Some(this)
    }

    /// No Python runs, and nothing waits, while this is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes in what was written, and gives what of it all is to be logged: whole lines, without the last one's
    /// end.
    fn take_in(&mut self, text: &str) -> Option<String> {
        let (lines, rest) = match text.rsplit_once('\n') {
            Some((lines, rest)) => (Some(lines), rest),
            None => (None, text),
        };
        let mut logged = lines.map(|lines| {
            let begun = std::mem::take(&mut self.begun);
            begun + lines
        });
        self.begun.push_str(rest);
        let too_long = self.begun.len() > LONGEST || self.over && !self.begun.is_empty();
        if too_long {
            let begun = std::mem::take(&mut self.begun);
            match &mut logged {
                Some(logged) => {
                    logged.push('\n');
                    logged.push_str(&begun);
                }
                None => logged = Some(begun),
            }
        }
        logged
    }
}

/// Writes an error to the log, which may be long in taking it: without the interpreter's lock.
pub(super) fn log(py: Python<'_>, text: &str) {
    py.detach(|| trace::error!("{text}"));
}

/// Writes a warning, as [`log`] an error.
pub(super) fn warn(py: Python<'_>, text: &str) {
    py.detach(|| trace::warning!("{text}"));
}

/// Writes what is worth to be known, as [`log`] an error.
pub(super) fn send_informational(py: Python<'_>, text: &str) {
    py.detach(|| trace::info!("{text}"));
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

/// What a program that ends by this exception would have for its status, if it is `SystemExit`.
pub(super) fn exit_status(py: Python<'_>, error: &PyErr) -> Option<i32> {
    if !error.is_instance_of::<PySystemExit>(py) {
        return None;
    }
    let code = error.value(py).getattr("code").ok()?;
    if code.is_none() {
        return Some(0);
    }
    // Python takes the lowest bits of a number, and 1 for anything else, which it prints.
    Some(code.extract::<i32>().unwrap_or(1))
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
    if error.is_disconnected() {
        // With the number that applications compare.
        return PyBrokenPipeError::new_err((libc::EPIPE, error.to_string()));
    }
    std::io::Error::from(error).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, head, with_python};
    use super::*;
    use crate::recorder::Recorder;
    use crate::service::Body;

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
        let script = Script::new(
            r"
class Mute(Exception):
    def __str__(self): raise ValueError
def app(environ, start_response): raise Mute
",
        );
        assert_eq!(script.fail().to_string(), "Mute");
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

    /// Lines of the log that `work` makes.
    #[cfg(feature = "tracing")]
    fn logged(work: impl FnOnce()) -> String {
        use std::io::Write;
        use std::sync::Arc;

        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);

        impl Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = lines.0.lock().unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn the_error_stream_logs_whole_lines() {
        let script = Script::new(
            r#"
def app(environ, start_response):
    errors = environ["wsgi.errors"]
    assert errors.write("be") == 2
    errors.write("gun\nsecond\nthi")
    errors.writelines(["rd", "\n", "rest"])
    errors.flush()
    errors.flush()
    start_response("200 OK", [])
    return []
"#,
        );
        let log = logged(|| drop(script.get()));
        assert_eq!(log, "ERROR begun\nsecond\nERROR third\nERROR rest\n");
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn what_a_request_has_begun_is_logged_at_its_end_and_joined_to_nothing_else() {
        let script = Script::new(
            r#"
class Body(list):
    def __init__(self, errors): super().__init__([b"x"]); self.errors = errors
    def close(self): self.errors.write("!")
def app(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("unfinished")
    if environ["PATH_INFO"] == "/raises":
        errors.write(" business")
        raise ValueError
    start_response("200 OK", [])
    return Body(errors)
"#,
        );
        let log = logged(|| {
            drop(script.get());
            let raises = head("GET", "/raises", &[]);
            let error = script.call(&raises, Body::empty(), &Recorder::new());
            assert!(error.is_err());
            drop(script.get());
        });
        assert_eq!(
            log,
            "ERROR unfinished!\nERROR unfinished business\nERROR unfinished!\n"
        );
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn requests_that_run_at_once_do_not_share_a_line() {
        let script = Script::new(
            r#"
import threading
here = threading.Barrier(2, timeout=30)
def app(environ, start_response):
    write = environ["wsgi.errors"].write
    write("be")
    here.wait()
    write("gun\n")
    start_response("200 OK", [])
    return []
"#,
        );
        let serve = || logged(|| drop(script.get()));
        std::thread::scope(|threads| {
            let other = threads.spawn(serve);
            assert_eq!(serve(), "ERROR begun\n");
            assert_eq!(other.join().unwrap(), "ERROR begun\n");
        });
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn a_line_without_an_end_is_logged_past_a_bound() {
        let script = Script::new(
            r#"
def app(environ, start_response):
    for _ in range(1025):
        environ["wsgi.errors"].write("0123456789abcdef" * 16)
    start_response("200 OK", [])
    return []
"#,
        );
        let log = logged(|| drop(script.get()));
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 16, "{}", lines.len());
        let longest = lines.iter().map(|line| line.len()).max().unwrap();
        assert!(longest <= "ERROR ".len() + LONGEST + 256, "{longest}");
        let text: usize = lines.iter().map(|line| line.len() - "ERROR ".len()).sum();
        assert_eq!(text, 1025 * 256);
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn what_is_written_when_the_request_is_over_is_logged_at_once() {
        let script = Script::new(
            r#"
kept = []
def app(environ, start_response):
    kept.append(environ["wsgi.errors"])
    start_response("200 OK", [])
    return []
"#,
        );
        let log = logged(|| {
            drop(script.get());
            script.value("kept[0].write('la')");
            script.value("kept[0].write('ter\\nand later')");
            drop(script.get());
        });
        assert_eq!(log, "ERROR la\nERROR ter\nand later\n");
        assert_eq!(script.value("kept[0] is kept[1]"), "False");
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn a_close_that_fails_is_logged() {
        let script = Script::new(
            r#"
class Body(list):
    def close(self): raise ValueError("too late")
def app(environ, start_response):
    start_response("200 OK", [])
    return Body()
"#,
        );
        let log = logged(|| drop(script.get()));
        assert!(
            log.starts_with("ERROR Error in the close() of a response\nTraceback"),
            "{log}"
        );
        assert!(log.ends_with("ValueError: too late\n"), "{log}");
    }
}
