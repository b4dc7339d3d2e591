//! [`App`], the recipe for a WSGI application, and [`Application`], the loaded one.
//! Neither knows sockets, workers or signals: an application answers through its exchange.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;

use super::body::{self, Ending, Failure};
use super::early_hints::EarlyHints;
use super::environ::{Content, Memory, SOFTWARE, Templates};
use super::error_stream::ErrorStream;
use super::input::Input;
use super::response::{Answer, Whole};
use super::start_response::StartResponse;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::python::calls::{self, Call};
use crate::python::errors;
use crate::python::ffi;
use crate::python::finalize;
use crate::python::fork;
use crate::python::gil::Gil;
use crate::python::greenlet::GreenletId;
use crate::python::import_spec::ImportSpec;
use crate::python::interpreter;
use crate::python::preload::Preloaded;
use crate::python::signals::{self, ProcessKind, SignalProxies};
use crate::python::stacks;
use crate::service::{
    MakeService, Releaser, Request, Responded, Responder, Service, ServiceContext, ServiceRuntime,
};
use crate::trace;

/// A WSGI application by its specification: where it is, and the Python that it needs.
///
/// A recipe ([`MakeService`]): each worker starts an interpreter and imports the application by itself, unless
/// the arbiter is to do so for all of them ([`preload_app`](Self::preload_app)).
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
    preload: bool,
    /// Whether loading an application in the arbiter was begun, by this recipe or one before it.
    loading: Arc<AtomicBool>,
    preloaded: Option<Arc<Preloaded>>,
}

impl App {
    /// An application by its specification, which is looked at when it is loaded.
    pub fn new(spec: impl Into<String>) -> Self {
        Self {
            spec: spec.into(),
            venv: None,
            paths: Vec::new(),
            env: Vec::new(),
            preload: false,
            loading: Arc::default(),
            preloaded: None,
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

    /// Has the arbiter load the application before it forks the first worker. Workers then start in a moment
    /// and share the application's memory; but a reload does not load it again, it is loaded with the
    /// arbiter's privileges, and what it opens while it is imported, all workers have.
    ///
    /// It is for an `App` that is the recipe itself. One that a worker makes and [loads](Self::load) by itself, as in
    /// [`per_worker`](crate::per_worker), comes too late for it: it is loaded there, and a warning says so.
    #[must_use]
    pub fn preload_app(mut self, preload: bool) -> Self {
        self.preload = preload;
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
    pub fn load(&self, context: &ServiceContext<'_>) -> Result<Application> {
        let spec = ImportSpec::parse(&self.spec)?;
        let preloaded = self.preloaded.as_deref();
        if self.preload && preloaded.is_none() {
            trace::warning!(
                "{} is loaded in this worker by itself, although it was to be loaded beforehand: only an App that is \
                 the server's own recipe can be",
                self.spec
            );
        }
        if preloaded.is_none() {
            interpreter::start(self.venv.as_deref())?;
        }
        Python::attach(|py| {
            let failed = |error| python_failed(py, &error);
            // Before the import, which may hang, too.
            if let Some(stacks) = context.stacks {
                stacks::write_on_request(py, stacks).map_err(failed)?;
            }
            let home = if fork::is_forked() {
                ProcessKind::ForkedWorker
            } else {
                ProcessKind::Worker
            };
            // The signals of a program are its own.
            let proxies = context
                .own_process
                .then(|| SignalProxies::install(py, home));
            let proxies = proxies.transpose().map_err(failed)?;
            let application = match preloaded {
                Some(preloaded) => {
                    if context.worker == 1 {
                        preloaded.compare_users(py);
                    }
                    self.set_environ(py, context.own_process).map_err(failed)?;
                    preloaded.object.bind(py).clone()
                }
                None => self.import(py, &spec, context.own_process)?,
            };
            if let Some(proxies) = proxies {
                proxies.restore_own_handlers(py).map_err(failed)?;
            }
            Application::new(&application, context).map_err(failed)
        })
    }

    fn import<'py>(
        &self,
        py: Python<'py>,
        spec: &ImportSpec<'_>,
        own_process: bool,
    ) -> Result<Bound<'py, PyAny>> {
        interpreter::set_path(py, &self.paths, own_process)
            .and_then(|()| self.set_environ(py, own_process))
            .map_err(|error| python_failed(py, &error))?;
        spec.load(py)
    }

    /// Puts the variables of this application into `os.environ`, and `SERVER_SOFTWARE`, unless the interpreter is a
    /// program's own.
    fn set_environ(&self, py: Python<'_>, own_process: bool) -> PyResult<()> {
        let software = own_process || interpreter::is_ours();
        let software = software.then_some((OsStr::new("SERVER_SOFTWARE"), OsStr::new(SOFTWARE)));
        let variables = self.env.iter().map(|(key, value)| (&**key, &**value));
        interpreter::set_environ(py, software.into_iter().chain(variables), own_process)
    }
}

impl MakeService for App {
    type Service = Application;

    fn make(&self, context: &ServiceContext<'_>) -> Result<Application> {
        self.load(context)
    }

    /// Without an interpreter in this process all of this recipe is new. With one, its virtual environment stays, and so
    /// does an application that was preloaded.
    fn succeed(&mut self, former: &Self) {
        self.loading = Arc::clone(&former.loading);
        if !ffi::is_running() {
            return;
        }
        if self.venv != former.venv {
            refuse("venv", "Python runs in the arbiter already");
            self.venv.clone_from(&former.venv);
        }
        if former.preloaded.is_some() && (self.preload || self.spec == former.spec) {
            if self.spec != former.spec {
                refuse("wsgi_app", "the application was preloaded");
                self.spec.clone_from(&former.spec);
            }
            self.preloaded.clone_from(&former.preloaded);
        }
    }

    fn preload(&mut self) -> Result<()> {
        if !self.preload || self.preloaded.is_some() {
            return Ok(());
        }
        let spec = ImportSpec::parse(&self.spec)?;
        interpreter::start(self.venv.as_deref())?;
        self.loading.store(true, Ordering::Relaxed);
        let preloaded = Python::attach(|py| {
            let failed = |error| python_failed(py, &error);
            let proxies = SignalProxies::install(py, ProcessKind::Arbiter).map_err(failed)?;
            let imported = signals::interruptible(py, || self.import(py, &spec, false));
            let application = imported
                .unwrap_or_else(|| Err(Error::boot("the server was told to stop before it")))?;
            proxies.restore_own_handlers(py).map_err(failed)?;
            Preloaded::new(application).map_err(failed)
        })?;
        self.preloaded = Some(Arc::new(preloaded));
        Ok(())
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        Some(signals::interrupter())
    }

    fn is_preloaded(&self) -> bool {
        self.preloaded.is_some()
    }

    /// With what Python does around a fork, where there is an interpreter, whoever has started it.
    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        if !ffi::is_running() {
            fork();
            return;
        }
        Python::attach(|py| {
            let (files, own) = match &self.preloaded {
                Some(loaded) => (Ok(loaded.files.clone_ref(py)), interpreter::is_ours()),
                None => (fork::flush(py), false),
            };
            fork::around_fork(py, files, own, fork);
        });
    }

    fn unload(&mut self) {
        if self.loading.swap(false, Ordering::Relaxed) && interpreter::is_ours() {
            Python::attach(|py| signals::interruptible(py, || finalize::unload(py)));
        }
    }

    /// As any Python program ends (`Py_FinalizeEx`), if the interpreter is this server's: else what files have
    /// buffered is written.
    fn end(&self) {
        match (ffi::is_running(), interpreter::is_ours()) {
            (true, true) => finalize::finalize(),
            (true, false) => Python::attach(finalize::save),
            (false, _) => {}
        }
    }

    fn releaser(&self) -> Option<Releaser> {
        Some(|block| ffi::unattached(block))
    }
}

/// Says that a reload leaves this setting as it is.
fn refuse(setting: &str, reason: &str) {
    trace::error!("{setting} stays as it is, since {reason}: an upgrade (USR2) takes the new one");
}

/// Python failed in something that works in every sound installation.
fn python_failed(py: Python<'_>, error: &PyErr) -> Error {
    errors::log(py, &errors::traceback(py, error));
    let summary = errors::summary(py, error);
    Error::boot(format!("Python cannot be made ready: {summary}"))
}

/// A loaded WSGI application: a [`Service`].
///
/// A call whose application raises gives an error that says what, in one line, and has the traceback as its
/// source: [`Error::report`] shows both. A client that has gone gives [`Error::disconnected`].
pub struct Application {
    callable: Py<PyAny>,
    templates: Templates,
    /// Where it is one of those that a program's process has.
    guest: Option<Guest>,
}

/// An application in a process that does not end with it.
struct Guest;

/// How many of them live.
static GUESTS: AtomicUsize = AtomicUsize::new(0);

impl Guest {
    fn new() -> Self {
        GUESTS.fetch_add(1, Ordering::Relaxed);
        Self
    }

    fn is_last() -> bool {
        GUESTS.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        GUESTS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Application {
    pub(super) fn new(callable: &Bound<'_, PyAny>, context: &ServiceContext<'_>) -> PyResult<Self> {
        let py = callable.py();
        let script_name = py
            .import("os")?
            .getattr("environ")?
            .call_method1("get", ("SCRIPT_NAME", ""))?
            .extract::<String>()?;
        Ok(Self {
            templates: Templates::new(py, context, &script_name)?,
            callable: callable.clone().unbind(),
            guest: (!context.own_process).then(Guest::new),
        })
    }

    /// Python's part of a call.
    fn answer<'a>(
        &self,
        py: Python<'_>,
        kit: &mut Kit,
        request: Request<'a>,
        reply: Responder<'a>,
    ) -> Result<Answered<'a>> {
        let (head, connection, body) = request.into_parts();
        let failed = |failure| explain(py, None, failure);
        let start = match kit.start_response.take() {
            Some(start) => start,
            None => StartResponse::new(py).map_err(|error| failed(error.into()))?,
        };
        let collected = body.left();
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
        let content = Content {
            input: input.as_ref(),
            collected,
        };
        let environ = self
            .templates
            .environ(py, &mut kit.memory, head, connection, &content)
            .map_err(failed)?;
        let hints = match kit.early_hints.take() {
            Some(hints) => hints,
            None => Py::new(py, EarlyHints::default()).map_err(|error| failed(error.into()))?,
        };
        environ
            .set_item(intern!(py, "wsgi.early_hints"), &hints)
            .map_err(|error| failed(error.into()))?;
        let errors = match kit.errors.take() {
            Some(errors) => errors,
            None => Py::new(py, ErrorStream::default()).map_err(|error| failed(error.into()))?,
        };
        environ
            .set_item(intern!(py, "wsgi.errors"), &errors)
            .map_err(|error| failed(error.into()))?;

        let write = start.get().write();
        let head_only = head.method() == "HEAD";
        let answer = Answer::new(write, reply, streamed, head_only);
        let mut kept = std::mem::take(&mut kit.block);
        let call = || {
            let result = self.callable.bind(py).call1((environ, start.bind(py)))?;
            body::send(&result, &answer, &mut kept)
        };
        let here = GreenletId::current(py);
        let outcome = write
            .slot()
            .lend(here, &answer, || {
                hints.get().slot().lend(here, &answer, call)
            })
            .flatten();
        if let Some(input) = input {
            input.get().close();
        }
        errors.get().end(py);
        let outcome = outcome
            .unwrap_or_else(|| Err(Error::new("a call's start_response was in use").into()))
            .and_then(|ending| {
                if let Ending::Responded(sent) = ending {
                    return Ok(Answered::Responded(sent));
                }
                // Who holds it still may call it, and has to be told that the response has left.
                let unheld = StartResponse::is_unheld(py, &start);
                if let Some((reply, outline)) = unheld.then(|| answer.take_unbegun()).flatten() {
                    let block = std::mem::take(&mut kept);
                    return Ok(Answered::Kept(Whole {
                        reply,
                        outline,
                        block,
                        head_only,
                    }));
                }
                let sent = answer.finish(Some(kept.len() as u64), &kept)?;
                Ok(Answered::Responded(sent))
            })
            .map_err(|failure| explain(py, answer.take_failure(), failure));
        kit.block = kept;
        kit.start_response = StartResponse::recycle(py, start);
        kit.early_hints = EarlyHints::recycle(py, hints);
        kit.errors = ErrorStream::recycle(py, errors);
        outcome
    }
}

impl Service for Application {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        let mut kit = Kit::take();
        let answered = Python::attach(|py| {
            let _call = Call::begin(py);
            self.answer(py, &mut kit, request, reply)
        });
        let outcome = match answered {
            Ok(Answered::Responded(sent)) => Ok(sent),
            Ok(Answered::Kept(whole)) => {
                let (outcome, outline, block) = whole.send();
                kit.block = block;
                if let Some(start) = &kit.start_response {
                    start.get().write().put_outline(outline);
                }
                outcome
            }
            Err(error) => Err(error),
        };
        kit.put_back();
        outcome
    }

    /// What Python does when a program ends: waits for the threads that are not daemons, then calls the
    /// functions registered with `atexit`. In a program's process Python goes on: there the functions are called, if
    /// no other application is left and the interpreter is not the program's own.
    fn retire(&self) {
        if self.guest.is_none() {
            Python::attach(finalize::shutdown);
        } else if Guest::is_last() && interpreter::is_ours() {
            Python::attach(finalize::run_exit_functions);
        }
    }

    fn abandon(&self) {
        Python::attach(finalize::save);
    }

    /// Raises `SystemExit` in them. A thread that waits in a call of the system is not woken for it.
    fn interrupt(&self) {
        Python::attach(calls::interrupt_others);
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        Some(signals::interrupter())
    }

    fn runtime(&self) -> &dyn ServiceRuntime {
        &Gil
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

/// The error that the server gets for a failed call, with the traceback of what was raised as its cause.
///
/// `exchange` is what the exchange failed with inside the application, as an `OSError` there: that is the
/// failure, whether it came back out or was swallowed. A client that has gone is nobody's fault.
fn explain(py: Python<'_>, exchange: Option<Error>, failure: Failure) -> Error {
    let raised = match failure {
        Failure::Refused(error) => return exchange.unwrap_or(error),
        Failure::Raised(raised) => raised,
    };
    match exchange.filter(|_| raised.is_instance_of::<PyOSError>(py)) {
        Some(error) if error.is_disconnected() => error,
        Some(error) => error.because(errors::traceback(py, &raised)),
        None => Error::new(errors::summary(py, &raised))
            .because(errors::traceback(py, &raised))
            .with_exit_status(errors::exit_status(py, &raised)),
    }
}

/// What Python has left of a call.
enum Answered<'a> {
    Responded(Responded),
    /// The response is there, and leaves without the interpreter's lock.
    Kept(Whole<'a>),
}

/// What a thread keeps from one request to the next.
#[derive(Debug, Default)]
struct Kit {
    memory: Memory,
    /// Room for a short response.
    block: Vec<u8>,
    start_response: Option<Py<StartResponse>>,
    early_hints: Option<Py<EarlyHints>>,
    errors: Option<Py<ErrorStream>>,
}

thread_local! {
    static KIT: Cell<Option<Kit>> = const { Cell::new(None) };
}

impl Kit {
    /// The thread's kit, or a new one where a call is inside another call, or the thread is at its end.
    fn take() -> Self {
        KIT.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    fn put_back(self) {
        // Fails only at the thread's end.
        let _ = KIT.try_with(|kit| kit.set(Some(self)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, connection, head, text};
    use super::*;
    use crate::python::testing::with_python;
    use crate::service::{Body, Exchange};
    use crate::testing::Recorder;

    const HELLO: &str = r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Id", "7")])
    return [b"hello\n"]
"#;

    #[test]
    fn hello_leaves_in_one_block_with_its_length() {
        let recorder = Script::new(HELLO).get();
        assert_eq!(recorder.status(), Some(200));
        assert_eq!(recorder.reason(), b"OK");
        assert_eq!(recorder.headers().len(), 2);
        assert_eq!(recorder.header("x-id").unwrap(), b"7");
        assert_eq!(recorder.length(), Some(6));
        assert_eq!(recorder.blocks(), [b"hello\n"]);
        assert!(recorder.is_complete());
    }

    #[test]
    fn an_exception_is_an_error_with_its_traceback() {
        let script = Script::new(
            r#"
calls = []
def app(environ, start_response):
    calls.append(1)
    if len(calls) == 1:
        raise ValueError("too\nlarge")
    start_response("200 OK", [])
    return []
"#,
        );
        let error = script.fail();
        assert_eq!(error.to_string(), "ValueError: too");
        let report = error.report();
        assert!(report.contains("Traceback"), "{report}");
        assert!(report.contains("in app"), "{report}");
        assert!(script.get().is_complete());
    }

    #[test]
    fn leaving_python_in_a_request_is_an_error_like_any_other() {
        let script = Script::new("def app(environ, start_response): raise SystemExit(3)");
        let error = script.fail();
        assert_eq!(error.to_string(), "SystemExit: 3");
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn what_an_application_keeps_does_not_reach_another_request() {
        let script = Script::new(
            r#"
kept = []
def app(environ, start_response):
    write = start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
    kept.append((environ, start_response, write, environ["wsgi.input"]))
    return [b"x"]

def late(call, *arguments):
    try:
        return call(*arguments)
    except Exception as error:
        return type(error).__name__
"#,
        );
        let (first, second) = (Recorder::new(), Recorder::new());
        let _ = script
            .call(&head("POST", "/1", &[]), Body::memory("one".into()), &first)
            .unwrap();
        let _ = script
            .call(
                &head("POST", "/2", &[]),
                Body::memory("two".into()),
                &second,
            )
            .unwrap();
        assert_eq!(second.header("x-path").unwrap(), b"/2");
        assert_eq!(
            script.value(
                "len({id(kept[0][i]) for i in range(4)} & {id(kept[1][i]) for i in range(4)})"
            ),
            "0"
        );
        assert_eq!(script.value("kept[0][0]['PATH_INFO']"), "'/1'");
        assert_eq!(script.value("late(kept[0][2], b'x')"), "'ValueError'");
        assert_eq!(script.value("late(kept[0][3].read)"), "'ValueError'");
        assert_eq!(
            script.value("late(kept[0][1], '200 OK', [])"),
            "'AssertionError'"
        );
        assert_eq!(first.body(), b"x");
    }

    #[cfg(not(Py_GIL_DISABLED))]
    #[test]
    fn start_response_is_used_again_when_nobody_keeps_it() {
        let script = Script::new(
            r#"
seen = set()
def app(environ, start_response):
    seen.add(id(start_response))
    start_response("200 OK", [])
    return []
"#,
        );
        for _ in 0..5 {
            script.get();
        }
        assert_eq!(script.value("len(seen)"), "1");
    }

    /// Calls the application again from within a write, as a handler of a signal might.
    struct Inside<'s>(&'s Script, Recorder, Recorder);

    impl Exchange for Inside<'_> {
        fn begin<'h>(
            &self,
            status: u16,
            reason: &[u8],
            headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
            len: Option<u64>,
        ) -> Result<()> {
            self.1.begin(status, reason, headers, len)
        }

        fn write(&self, bytes: &[u8]) -> Result<()> {
            let _ = self.0.get_into(&self.2)?;
            self.1.write(bytes)
        }

        fn write_last(&self, bytes: &[u8]) -> Result<()> {
            self.1.write_last(bytes)
        }

        fn send_file(&self, _: std::fs::File, _: u64, _: u64) -> Result<()> {
            unreachable!("no file is sent")
        }

        fn read(&self, _: &mut [u8]) -> Result<usize> {
            unreachable!("nothing is read")
        }
    }

    #[test]
    fn a_call_inside_a_call_is_a_call_of_its_own() {
        let script = Script::new(
            r#"
calls = 0
def app(environ, start_response):
    global calls
    calls += 1
    mine = calls
    start_response("200 OK", [("X-Call", str(mine))])
    if mine == 1:
        return (b"outer" for _ in range(1))
    return [b"inner"]
"#,
        );
        let exchange = Inside(&script, Recorder::new(), Recorder::new());
        let _ = script
            .call(&head("GET", "/", &[]), Body::empty(), &exchange)
            .unwrap();
        let Inside(_, outer, inner) = exchange;
        assert_eq!(
            (text(&outer), text(&inner)),
            ("outer".into(), "inner".into())
        );
        assert_eq!(outer.header("x-call").unwrap(), b"1");
        assert_eq!(inner.header("x-call").unwrap(), b"2");
    }

    #[test]
    fn an_application_passes_the_standard_librarys_validator() {
        let script = Script::new(
            r#"
from wsgiref.validate import validator

@validator
def app(environ, start_response):
    body = environ["wsgi.input"].read(3) + environ["wsgi.input"].readline(100)
    for line in environ["wsgi.input"]:
        body += line
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"got ")
    return iter([body])
"#,
        );
        assert_eq!(text(&script.post("hello\nworld\n")), "got hello\nworld\n");
        let recorder = Recorder::new();
        let query = head(
            "GET",
            "/a%20b?c=d",
            &[("cookie", b"a=1"), ("cookie", b"b=2")],
        );
        let _ = script.call(&query, Body::empty(), &recorder).unwrap();
        assert_eq!(text(&recorder), "got ");
    }

    #[test]
    fn threads_call_one_application_at_once() {
        let script = Script::new(
            r#"
import time
def app(environ, start_response):
    start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
    time.sleep(0.001)
    return [environ["PATH_INFO"].encode()]
"#,
        );
        let application = &script.application;
        std::thread::scope(|threads| {
            for thread in 0..4 {
                threads.spawn(move || {
                    application.runtime().enter(&mut || {
                        for request in 0..20 {
                            let path = format!("/{thread}/{request}");
                            let (recorder, connection) = (Recorder::new(), connection());
                            let head = head("GET", &path, &[]);
                            let request = Request::new(&head, &connection, Body::empty());
                            let _ = application
                                .call(request, Responder::new(&recorder))
                                .unwrap();
                            assert_eq!(recorder.header("x-path").unwrap(), path.as_bytes());
                            assert_eq!(text(&recorder), path);
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn variables_and_folders_are_set_before_the_import() {
        let folder = tempfile::tempdir().unwrap();
        let source = "
import os, sys
found = (os.environ['T_ENV'], os.environ['SERVER_SOFTWARE'][:8], sys.path[0] == os.getcwd())
assert found == ('a b', 'oxicorn/', True), found
app = print
";
        std::fs::write(folder.path().join("t_env.py"), source).unwrap();
        App::new("t_env")
            .python_path([folder.path()])
            .env("T_ENV", "a b")
            .load(&ServiceContext::new(&[]))
            .unwrap();
    }

    #[test]
    fn a_life_holds_nothing_that_other_threads_need() {
        with_python(|_| {
            let mut there = false;
            Gil.enter(&mut || {
                let other = std::thread::spawn(|| Python::attach(|py| py.version_info().major));
                there = other.join().unwrap() == 3;
            });
            assert!(there);
            assert!(Gil.check_signals().is_ok());
        });
    }
}
