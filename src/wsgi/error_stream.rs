//! `wsgi.errors`: text that an application writes to the error log, whole lines at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::python::errors::log;
use crate::python::ffi;

/// The longest beginning of a line that is kept, in bytes.
const LONGEST_PARTIAL_LINE: usize = 16 * 1024;

/// Python's `wsgi.errors`: text that is written to it goes to the error log, whole lines at a time.
///
/// Each request has its own, so that no line joins the text of two. A line that the request leaves unfinished is logged
/// at its end. Text that is written after the end is logged at once.
#[pyclass(frozen, module = "oxicorn", name = "ErrorStream")]
#[derive(Debug, Default)]
pub(super) struct ErrorStream {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The beginning of an unfinished line.
    partial_line: String,
    /// True if the request is over.
    over: bool,
}

#[pymethods]
impl ErrorStream {
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let py = text.py();
        let length = text.code_point_len()?;
        let lines = self.state().add(&text.to_string_lossy());
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
        let partial = std::mem::take(&mut self.state().partial_line);
        log_partial(py, &partial);
    }
}

impl ErrorStream {
    /// A stream that belongs to no request.
    pub(super) fn without_request() -> Self {
        let stream = Self::default();
        stream.state().over = true;
        stream
    }

    /// Ends the stream with its request, and logs an unfinished line.
    pub(super) fn end(&self, py: Python<'_>) {
        let mut state = self.state();
        state.over = true;
        let partial = std::mem::take(&mut state.partial_line);
        drop(state);
        log_partial(py, &partial);
    }

    /// The object for another request, of which this thread has that many references; `None` where the application still
    /// holds it.
    pub(super) fn recycle(py: Python<'_>, this: Py<Self>, references: isize) -> Option<Py<Self>> {
        if ffi::is_held(py, &this, references) {
            return None;
        }
        this.get().state().over = false;
        Some(this)
    }

    /// No Python runs, and nothing waits, while this lock is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_partial(py: Python<'_>, line: &str) {
    if !line.is_empty() {
        log(py, line);
    }
}

impl State {
    /// Adds text, and returns the text that is to be logged now: whole lines, without the end of the last one.
    fn add(&mut self, text: &str) -> Option<String> {
        let (lines, rest) = match text.rsplit_once('\n') {
            Some((lines, rest)) => (Some(lines), rest),
            None => (None, text),
        };
        let mut logged = lines.map(|lines| {
            let partial = std::mem::take(&mut self.partial_line);
            partial + lines
        });
        self.partial_line.push_str(rest);
        let too_long = self.partial_line.len() > LONGEST_PARTIAL_LINE
            || self.over && !self.partial_line.is_empty();
        if too_long {
            let partial = std::mem::take(&mut self.partial_line);
            match &mut logged {
                Some(logged) => {
                    logged.push('\n');
                    logged.push_str(&partial);
                }
                None => logged = Some(partial),
            }
        }
        logged
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use super::super::testing::{Script, head};
    use super::*;
    use crate::service::Body;
    use crate::testing::Recorder;

    /// Lines of the log that `work` makes.
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

    // Gunicorn: E5
    #[test]
    fn an_unended_line_is_logged_at_the_requests_end_by_itself() {
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

    // Gunicorn: E5
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

    // Gunicorn: E5
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
        assert!(
            longest <= "ERROR ".len() + LONGEST_PARTIAL_LINE + 256,
            "{longest}"
        );
        let text: usize = lines.iter().map(|line| line.len() - "ERROR ".len()).sum();
        assert_eq!(text, 1025 * 256);
    }

    // Gunicorn: E5
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
