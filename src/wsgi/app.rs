//! [`App`], the recipe for a WSGI application, and [`Application`], the loaded one.
//! Neither knows sockets, workers or signals: an application answers through its exchange.

use std::cell::Cell;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use pyo3::prelude::*;

use super::answer::Answer;
use super::body::{self, Failure};
use super::environ::{Memory, SOFTWARE, Templates};
use super::errors;
use super::gil::Gil;
use super::input::Input;
use super::interpreter;
use super::spec::Spec;
use super::start_response::StartResponse;
use crate::error::{Error, Result};
use crate::h1::Head;
use crate::service::{MakeService, Request, Responder, Sent, Service, Site, Turn};
use crate::trace;

/// A WSGI application by its specification: where it is, and the Python that it needs.
///
/// A recipe ([`MakeService`]): each worker starts an interpreter and imports the application by itself.
///
/// The specification is `module`, which stands for its `application` or else its `app`; `module:name`,
/// also with dots; or `module:factory(1, key="two")`, with literals as arguments.
///
/// ```no_run
/// use oxicorn::wsgi::App;
///
/// let app = App::new("shop.wsgi:application")
///     .venv(".venv")
///     .python_path(["src"])
///     .env("DJANGO_SETTINGS_MODULE", "shop.settings");
/// ```
#[derive(Clone, Debug)]
pub struct App {
    spec: String,
    venv: Option<PathBuf>,
    paths: Vec<PathBuf>,
    env: Vec<(OsString, OsString)>,
}

impl App {
    /// An application by its specification, which is looked at when it is loaded.
    pub fn new(spec: impl Into<String>) -> Self {
        Self {
            spec: spec.into(),
            venv: None,
            paths: Vec::new(),
            env: vec![("SERVER_SOFTWARE".into(), SOFTWARE.into())],
        }
    }

    /// Takes packages from the virtual environment in `folder`, instead of the activated one
    /// (`$VIRTUAL_ENV`, or the `python3` that `PATH` finds).
    ///
    /// Only the first application of a process decides: it starts the interpreter.
    #[must_use]
    pub fn venv(mut self, folder: impl Into<PathBuf>) -> Self {
        self.venv = Some(folder.into());
        self
    }

    /// Adds folders to `sys.path`, after the current folder, which is always first.
    #[must_use]
    pub fn python_path(mut self, folders: impl IntoIterator<Item: Into<PathBuf>>) -> Self {
        self.paths.extend(folders.into_iter().map(Into::into));
        self
    }

    /// Sets a variable in `os.environ` before the application is imported.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Starts the interpreter, unless this process has one, and imports the application, which learns
    /// from `site` whether other processes and threads call it too.
    ///
    /// The first call's thread becomes Python's main thread, on which alone `signal.signal` works.
    ///
    /// # Errors
    ///
    /// In one sentence that names the module, its file and the cause; the traceback of what was raised is
    /// logged. [`exit_code`](Error::exit_code) is 4 where the specification does not name an application,
    /// and 3 where Python could not start or importing failed.
    pub fn load(&self, site: &Site<'_>) -> Result<Application> {
        let spec = Spec::parse(&self.spec)?;
        interpreter::start(self.venv.as_deref())?;
        Python::attach(|py| {
            interpreter::furnish(py, &self.paths, &self.env)
                .map_err(|error| python_failed(py, &error))?;
            let application = spec.load(py)?;
            Application::new(&application, site).map_err(|error| python_failed(py, &error))
        })
    }
}

impl MakeService for App {
    type Service = Application;

    fn make(&self, site: &Site<'_>) -> Result<Application> {
        self.load(site)
    }
}

/// Python failed in something that works in every sound installation.
fn python_failed(py: Python<'_>, error: &PyErr) -> Error {
    trace::error!("{}", errors::traceback(py, error));
    let summary = errors::summary(py, error);
    Error::boot(format!("Python cannot be made ready: {summary}"))
}

/// A loaded WSGI application: a [`Service`].
///
/// It logs what the application raises, with its traceback, and answers such a call with an error.
pub struct Application {
    callable: Py<PyAny>,
    templates: Templates,
}

impl Application {
    pub(super) fn new(callable: &Bound<'_, PyAny>, site: &Site<'_>) -> PyResult<Self> {
        let py = callable.py();
        let script_name = py
            .import("os")?
            .getattr("environ")?
            .call_method1("get", ("SCRIPT_NAME", ""))?
            .extract::<String>()?;
        Ok(Self {
            templates: Templates::new(py, site, &script_name)?,
            callable: callable.clone().unbind(),
        })
    }

    fn answer(
        &self,
        py: Python<'_>,
        kit: &mut Kit,
        request: Request<'_>,
        reply: Responder<'_>,
    ) -> Result<Sent> {
        let (head, connection, body) = request.into_parts();
        let failed = |failure| explain(py, head, None, failure);
        let start = match kit.start_response.take() {
            Some(start) => start,
            None => StartResponse::new(py).map_err(|error| failed(error.into()))?,
        };
        let (input, streamed) = if body.is_empty() {
            (None, None)
        } else {
            let (input, streamed) = match body.detach() {
                Ok(body) => (Input::owned(body), None),
                Err(body) => (Input::lent(start.clone_ref(py)), Some(body)),
            };
            let input = Py::new(py, input).map_err(|error| failed(error.into()))?;
            (Some(input), streamed)
        };
        let environ = self
            .templates
            .environ(py, &mut kit.memory, head, connection, input.as_ref())
            .map_err(failed)?;

        let write = start.get().write();
        let answer = Answer::new(write, reply, streamed, head.method() == "HEAD");
        let outcome = write.slot().lend(&answer, || {
            let result = self.callable.bind(py).call1((environ, start.bind(py)))?;
            body::send(&result, &answer)
        });
        if let Some(input) = input {
            input.get().close();
        }
        let outcome = outcome
            .unwrap_or_else(|| Err(Error::new("a call's start_response was in use").into()))
            .map_err(|failure| explain(py, head, answer.take_failure(), failure));
        kit.start_response = StartResponse::recycle(py, start);
        outcome
    }
}

impl Service for Application {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Sent> {
        Python::attach(|py| {
            let mut kit = Kit::take();
            let outcome = self.answer(py, &mut kit, request, reply);
            kit.put_back();
            outcome
        })
    }

    fn turn(&self) -> &dyn Turn {
        &Gil
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

/// Logs a failure with its traceback and gives the error that the server gets. A client that has gone
/// is no failure of the application, even where it surfaced there as an `OSError`.
fn explain(py: Python<'_>, head: &Head, exchange: Option<Error>, failure: Failure) -> Error {
    let (text, error) = match failure {
        Failure::Refused(error) if error.is_disconnected() => return error,
        Failure::Refused(error) => (error.to_string(), error),
        Failure::Raised(raised) => {
            let is_its_own = raised.is_instance_of::<pyo3::exceptions::PyOSError>(py);
            match exchange {
                Some(error) if is_its_own && error.is_disconnected() => return error,
                // Keeps the kind: a body that was malformed is the client's error, not the application's.
                Some(error) if is_its_own => (errors::traceback(py, &raised), error),
                _ => (
                    errors::traceback(py, &raised),
                    Error::new(errors::summary(py, &raised)),
                ),
            }
        }
    };
    trace::error!(
        "Error handling request {} {}\n{text}",
        head.method(),
        head.target()
    );
    error
}

/// What a thread keeps from one request to the next.
#[derive(Debug, Default)]
struct Kit {
    memory: Memory,
    start_response: Option<Py<StartResponse>>,
}

thread_local! {
    static KIT: Cell<Option<Box<Kit>>> = const { Cell::new(None) };
}

impl Kit {
    /// The thread's kit, or a new one where a call is inside another call, or the thread is at its end.
    fn take() -> Box<Kit> {
        KIT.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    fn put_back(self: Box<Self>) {
        // Fails only at the thread's end.
        let _ = KIT.try_with(|kit| kit.set(Some(self)));
    }
}
