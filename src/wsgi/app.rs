//! [`App`]: the recipe for a WSGI application.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::application::Application;
use super::call_hooks::CallHooks;
use super::imports::Imports;
use super::mount::Mount;
use super::recipe::{Recipe, setup_failed};
use super::source::Source;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::python::gunicorn_names::LoggerSettings;
use crate::python::preload::Preloaded;
use crate::python::signals::{self, ProcessKind, SignalProxies};
use crate::python::{ffi, finalize, fork, interpreter, sampler, stacks};
use crate::service::{MakeService, Releaser, Request, ServiceContext};
use crate::trace;

/// A WSGI application by its specification: where it is, and the Python that it needs.
///
/// A recipe ([`MakeService`]): each worker starts an interpreter and imports the application by itself, unless the
/// arbiter loads it for all of them ([`preload_app`](Self::preload_app)).
///
/// The specification is `module`, which stands for its `application` or else its `app`; `module:name`, also with dots;
/// or `module:factory(1, key="two")`, with literals as arguments.
///
/// ```no_run
/// use oxicorn::wsgi::App;
///
/// let app = App::new("shop.wsgi:application")
///     .venv(".venv")
///     .python_path(["src"])
///     .env("DJANGO_SETTINGS_MODULE", "shop.settings");
/// ```
///
/// # One application after another
///
/// An `App` is a value: nothing happens before it is loaded, and a process can have any number of them. After a reload,
/// an arbiter without an interpreter can serve another one, with another specification, virtual environment, path and
/// variables: its workers start anew. Where the arbiter has an interpreter, that keeps its virtual environment and an
/// application that was preloaded ([`MakeService::succeed`]). Path and variables are new in any case. Clones share
/// an application that was loaded beforehand.
#[derive(Clone, Debug)]
pub struct App {
    recipe: Recipe,
    mount: Mount,
    preload: bool,
    slot: Arc<PreloadSlot>,
}

/// The application that this process has loaded beforehand, for all clones of an [`App`].
#[derive(Debug, Default)]
struct PreloadSlot {
    /// True if loading was begun, also where it has failed.
    begun: AtomicBool,
    preloaded: Mutex<Option<Arc<PreloadedApp>>>,
}

#[derive(Debug)]
struct PreloadedApp {
    recipe: Recipe,
    application: Preloaded,
}

impl PreloadSlot {
    fn get(&self) -> Option<Arc<PreloadedApp>> {
        self.lock().clone()
    }

    /// No Python runs while this lock is held.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<PreloadedApp>>> {
        self.preloaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// An application by its specification, which is parsed when the application is loaded.
    pub fn new(spec: impl Into<String>) -> Self {
        Self::of(Source::Spec(spec.into()))
    }

    /// An application that `make` gives: a WSGI callable (PEP 3333) as a value, made of Python's or of Rust's parts.
    ///
    /// `make` runs once where the application is loaded: in each worker, on its main thread, or once before the fork with
    /// [`preload_app`](Self::preload_app). What it captures is Rust's state. After a fork each worker has its own copy
    /// of that.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use oxicorn::wsgi::App;
    /// use oxicorn::wsgi::pyo3::prelude::*;
    /// use oxicorn::wsgi::pyo3::types::{PyCFunction, PyDict, PyTuple};
    ///
    /// let greeting = String::from("Hello");
    /// let app = App::from_callable(move |py| {
    ///     let (greeting, calls) = (greeting.clone(), AtomicU64::new(0));
    ///     let app = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<_> {
    ///         let headers = vec![("Content-Type", "text/plain")];
    ///         arguments.get_item(1)?.call1(("200 OK", headers))?;
    ///         let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
    ///         Ok(vec![format!("{greeting}, number {number}\n").into_bytes()])
    ///     };
    ///     Ok(PyCFunction::new_closure(py, None, None, app)?.into_any())
    /// });
    /// ```
    pub fn from_callable<F>(make: F) -> Self
    where
        F: for<'py> Fn(Python<'py>) -> PyResult<Bound<'py, PyAny>> + Send + Sync + 'static,
    {
        Self::of(Source::Callable(Arc::new(make)))
    }

    fn of(source: Source) -> Self {
        Self {
            recipe: Recipe {
                source,
                venv: None,
                paths: Vec::new(),
                env: Vec::new(),
                loggers: None,
            },
            mount: Mount::default(),
            preload: false,
            slot: Arc::default(),
        }
    }

    /// Serves the application under the path `name` (`/shop`): that is its `SCRIPT_NAME`, and `PATH_INFO` is the rest of
    /// the decoded path (PEP 3333). A slash at the end does not count. Without this the variable `SCRIPT_NAME` in
    /// `os.environ` says it, as in Gunicorn.
    ///
    /// The path at which a [`Router`](crate::service::Router) has mounted the application comes before it, and then a
    /// trusted forwarder's header `SCRIPT_NAME`. A request for a path that is not below `name` fails with a 500.
    #[must_use]
    pub fn script_name(mut self, name: impl Into<String>) -> Self {
        self.mount.script_name = Some(name.into());
        self
    }

    /// Has `add` put keys into the environ of each request, after all others are there. It runs with the interpreter's
    /// lock held, on the thread of the call, and gets the request without its body. An exception is a 500.
    ///
    /// ```
    /// use oxicorn::wsgi::App;
    /// use oxicorn::wsgi::pyo3::types::PyDictMethods;
    ///
    /// let app = App::new("shop.wsgi:application").environ(|request, environ| {
    ///     environ.set_item("shop.listener", request.connection().listener)
    /// });
    /// ```
    #[must_use]
    pub fn environ<F>(mut self, add: F) -> Self
    where
        F: Fn(&Request<'_>, &Bound<'_, PyDict>) -> PyResult<()> + Send + Sync + 'static,
    {
        self.mount.add_keys = Some(Arc::new(add));
        self
    }

    /// Has the loggers `gunicorn.error` and `gunicorn.access` of Python's `logging` write to these logs.
    pub(crate) fn loggers(mut self, loggers: LoggerSettings) -> Self {
        self.recipe.loggers = Some(loggers);
        self
    }

    /// Keeps the values of these keys of the environ, in any case, for the record of each request, as they are when the
    /// application has returned: an access log's `%({NAME}e)s`. Each costs a look-up in every request.
    #[must_use]
    pub fn record_environ(mut self, keys: impl IntoIterator<Item: Into<String>>) -> Self {
        self.mount.recorded.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Has `report` told of the files that the application is loaded from, also later. An exception while it is loaded is
    /// then no error: its traceback is the page of all requests.
    pub(crate) fn report_imports(
        mut self,
        report: impl Fn(&[PathBuf]) + Send + Sync + 'static,
    ) -> Self {
        self.mount.report = Some(Arc::new(report));
        self
    }

    /// Has `hooks` told of the application and its calls.
    pub(crate) fn hooks(mut self, hooks: Arc<dyn CallHooks>) -> Self {
        self.mount.hooks = Some(hooks);
        self
    }

    /// Takes packages from the virtual environment in `folder`, instead of the activated one (`$VIRTUAL_ENV`, or the
    /// one of the `python3` on `PATH`).
    ///
    /// It is a property of the interpreter. Where the process has an interpreter already, it has no effect.
    #[must_use]
    pub fn venv(mut self, folder: impl Into<PathBuf>) -> Self {
        self.recipe.venv = Some(folder.into());
        self
    }

    /// Adds folders to `sys.path`, after the current folder, which is always first.
    #[must_use]
    pub fn python_path(mut self, folders: impl IntoIterator<Item: Into<PathBuf>>) -> Self {
        self.recipe
            .paths
            .extend(folders.into_iter().map(Into::into));
        self
    }

    /// Sets a variable in `os.environ` before the application is imported.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.recipe.env.push((key.into(), value.into()));
        self
    }

    /// Has the arbiter load the application before it forks the first worker. Workers then start in a moment and share
    /// the application's memory. But a reload does not load the application again, it is loaded with the arbiter's
    /// privileges, and all workers have the files that it opens while it is imported.
    ///
    /// It works for an `App` that is the server's own recipe. An `App` that a worker makes and [loads](Self::load) by
    /// itself, as in [`per_worker`](crate::service::per_worker), is made too late: it is loaded there, with a warning.
    #[must_use]
    pub fn preload_app(mut self, preload: bool) -> Self {
        self.preload = preload;
        self
    }

    /// Starts the interpreter, unless this process has one, and imports the application, which learns from `context`
    /// whether other processes and threads call it, too.
    ///
    /// The thread of the first call becomes Python's main thread, on which alone `signal.signal` works.
    ///
    /// # Errors
    ///
    /// In one sentence that names the module, its file and the cause. The traceback of an exception is logged.
    /// [`exit_code`](Error::exit_code) is 4 where the specification does not name an application, and 3 where Python
    /// did not start or importing failed.
    pub fn load(&self, context: &ServiceContext<'_>) -> Result<Application> {
        self.recipe.source.check()?;
        let preloaded = self.preloaded();
        if self.preload && preloaded.is_none() {
            trace::warning!(
                "{} is loaded in this worker by itself, although it was to be loaded beforehand: only an App that is \
                 the server's own recipe can be",
                self.recipe.source
            );
        }
        if preloaded.is_none() {
            interpreter::start(self.recipe.venv.as_deref())?;
        }
        Python::attach(|py| {
            let failed = |error| setup_failed(py, &error);
            // Before the import, since that may hang.
            if let Some(stacks) = context.stacks {
                stacks::write_on_request(py, stacks).map_err(failed)?;
            }
            if let Some(orders) = context.sampling {
                sampler::start(py, Arc::clone(orders)).map_err(failed)?;
            }
            let kind = if fork::is_forked() {
                ProcessKind::ForkedWorker
            } else {
                ProcessKind::Worker
            };
            // A program's process keeps its handlers as they are.
            let proxies = context
                .own_process
                .then(|| SignalProxies::install(py, kind));
            let proxies = proxies.transpose().map_err(failed)?;
            let imports = self.mount.report.as_ref();
            let imports = imports.map(|report| Imports::new(py, report));
            let imports = imports.transpose().map_err(failed)?;
            if let Some(before) = self.slot.get() {
                self.recipe
                    .unset_variables_of(py, &before.recipe)
                    .map_err(failed)?;
            }
            let application = match preloaded {
                Some(preloaded) => {
                    if context.worker == 1 {
                        preloaded.application.compare_users(py);
                    }
                    if preloaded.recipe.paths != self.recipe.paths {
                        self.recipe
                            .set_path(py, context.own_process)
                            .map_err(failed)?;
                    }
                    self.recipe
                        .set_environ(py, context.own_process)
                        .map_err(failed)?;
                    preloaded.application.object.bind(py).clone()
                }
                None => match (self.recipe.import(py, context.own_process), &imports) {
                    (Err(error), Some(imports)) => imports.stand_in(py, error)?,
                    (loaded, _) => loaded?,
                },
            };
            if let Some(imports) = &imports {
                imports.tell(py);
            }
            if let Some(proxies) = proxies {
                proxies.restore_own_handlers(py).map_err(failed)?;
            }
            if let Some(hooks) = &self.mount.hooks {
                hooks.loaded(context.worker, &application).map_err(failed)?;
            }
            Application::new(&application, context, &self.mount, imports).map_err(failed)
        })
    }

    /// The application that this process has loaded beforehand, if it is this one.
    fn preloaded(&self) -> Option<Arc<PreloadedApp>> {
        let preloaded = self.slot.get();
        preloaded.filter(|preloaded| preloaded.recipe.source == self.recipe.source)
    }
}

impl MakeService for App {
    type Service = Application;

    fn make(&self, context: &ServiceContext<'_>) -> Result<Application> {
        self.load(context)
    }

    /// Takes over the application that `former` has loaded in this process. Where the process has an interpreter, a change of the virtual
    /// environment is not taken, nor is another application in the place of a preloaded one; each is logged.
    fn succeed(&mut self, former: &Self) {
        self.slot = Arc::clone(&former.slot);
        if !ffi::is_running() {
            return;
        }
        let (new, old) = (&mut self.recipe, &former.recipe);
        if new.venv != old.venv {
            log_kept("venv", "Python runs in the arbiter already");
            new.venv.clone_from(&old.venv);
        }
        if let Some(preloaded) = self.slot.get().filter(|_| self.preload) {
            if new.source != preloaded.recipe.source {
                log_kept("wsgi_app", "the application was preloaded");
                new.source.clone_from(&preloaded.recipe.source);
            }
        }
    }

    fn preload(&mut self) -> Result<()> {
        if !self.preload || self.preloaded().is_some() {
            return Ok(());
        }
        self.recipe.source.check()?;
        interpreter::start(self.recipe.venv.as_deref())?;
        self.slot.begun.store(true, Ordering::Relaxed);
        let application = Python::attach(|py| {
            let failed = |error| setup_failed(py, &error);
            let proxies = SignalProxies::install(py, ProcessKind::Arbiter).map_err(failed)?;
            let imported = signals::interruptible(py, || self.recipe.import(py, false));
            let application = imported
                .unwrap_or_else(|| Err(Error::boot("the server was told to stop before it")))?;
            proxies.restore_own_handlers(py).map_err(failed)?;
            Preloaded::new(application).map_err(failed)
        })?;
        *self.slot.lock() = Some(Arc::new(PreloadedApp {
            recipe: self.recipe.clone(),
            application,
        }));
        Ok(())
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        Some(signals::interrupter())
    }

    fn is_preloaded(&self) -> bool {
        self.preloaded().is_some()
    }

    /// Forks between Python's own steps, where there is an interpreter, whether the application is loaded in it or not.
    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        let fork = &mut || self.mount.forked(fork());
        if !ffi::is_running() {
            fork();
            return;
        }
        let preloaded = self.slot.get();
        let own = self.preloaded().is_some() || fork::keeps_exit_functions();
        let own = own && interpreter::is_ours();
        Python::attach(|py| {
            let files = match &preloaded {
                Some(preloaded) => Ok(preloaded.application.files.clone_ref(py)),
                None => fork::flush(py),
            };
            fork::around_fork(py, files, own, fork);
        });
    }

    fn unload(&mut self) {
        let begun = self.slot.begun.swap(false, Ordering::Relaxed);
        let preloaded = self.slot.lock().take();
        if begun && interpreter::is_ours() {
            Python::attach(|py| signals::interruptible(py, || finalize::unload(py)));
        }
        drop(preloaded);
    }

    /// Ends Python as any Python program does (`Py_FinalizeEx`), if the interpreter is this crate's; else writes the
    /// buffers of files.
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

/// Logs that a reload does not take a setting.
fn log_kept(setting: &str, reason: &str) {
    trace::error!("{setting} stays as it is, since {reason}: an upgrade (USR2) takes the new one");
}

#[cfg(test)]
mod tests {
    use pyo3::types::{PyCFunction, PyTuple};

    use super::*;
    use crate::python::testing::with_python;
    use crate::service::{Body, Service};
    use crate::testing::Recorder;
    use crate::wsgi::testing::{connection, head, text};

    /// Answers with the environ's `keys`, and with state of Rust's.
    fn echo(keys: &'static [&'static str], state: &Arc<AtomicBool>) -> App {
        let state = Arc::clone(state);
        App::from_callable(move |py| {
            let state = Arc::clone(&state);
            let call = move |arguments: &Bound<'_, PyTuple>,
                             _: Option<&Bound<'_, PyDict>>|
                  -> PyResult<_> {
                state.store(true, Ordering::Relaxed);
                let headers: Vec<(&str, &str)> = Vec::new();
                arguments.get_item(1)?.call1(("200 OK", headers))?;
                let environ = arguments.get_item(0)?;
                let values = keys
                    .iter()
                    .map(|key| Ok(environ.get_item(key)?.to_string()));
                Ok(vec![
                    values.collect::<PyResult<Vec<_>>>()?.join(" ").into_bytes(),
                ])
            };
            Ok(PyCFunction::new_closure(py, None, None, call)?.into_any())
        })
    }

    fn get(app: &App, target: &str) -> Result<String> {
        with_python(|_| ());
        let application = app.load(&ServiceContext::new(&[]))?;
        let (head, connection, recorder) =
            (head("GET", target, &[]), connection(), Recorder::new());
        let request = Request::new(&head, &connection, Body::empty());
        let _ = application.call(request, crate::Responder::new(&recorder))?;
        Ok(text(&recorder))
    }

    #[test]
    fn a_callable_of_the_programs_has_state_of_the_programs() {
        let state = Arc::default();
        assert_eq!(get(&echo(&["PATH_INFO"], &state), "/a").unwrap(), "/a");
        assert!(state.load(Ordering::Relaxed));
    }

    #[test]
    fn a_function_that_makes_no_callable_is_told_so() {
        with_python(|_| ());
        let load = |app: App| app.load(&ServiceContext::new(&[])).unwrap_err();
        let error = load(App::from_callable(|py| Ok(py.None().into_bound(py))));
        assert_eq!(
            error.to_string(),
            "the program's function has made no application: an object of type NoneType cannot be called"
        );
        assert_eq!(error.exit_code(), 4);
        let error = load(App::from_callable(|py| {
            py.import("t_no_such_module").map(Bound::into_any)
        }));
        let sentence =
            "cannot make the application: ModuleNotFoundError: No module named 't_no_such_module'";
        assert_eq!(
            (error.to_string().as_str(), error.exit_code()),
            (sentence, 3)
        );
    }

    #[test]
    fn an_application_under_a_prefix_gets_the_rest_of_the_path() {
        let keys = &["SCRIPT_NAME", "PATH_INFO", "RAW_URI"];
        let app = echo(keys, &Arc::default()).script_name("/legacy/");
        for (target, expected) in [
            ("/legacy", "/legacy  /legacy"),
            ("/legacy/", "/legacy / /legacy/"),
            ("/legacy/a/?q", "/legacy /a/ /legacy/a/?q"),
            ("/leg%61cy/%2Fb%20c", "/legacy //b c /leg%61cy/%2Fb%20c"),
        ] {
            assert_eq!(get(&app, target).unwrap(), expected);
        }
        let error = get(&app, "/legacyx").unwrap_err().to_string();
        assert!(error.contains("is not below SCRIPT_NAME"), "{error}");
        let umlaut = echo(keys, &Arc::default()).script_name("/b\u{fc}cher");
        let expected = "/b\u{c3}\u{bc}cher /1 /b%C3%BCcher/1";
        assert_eq!(get(&umlaut, "/b%C3%BCcher/1").unwrap(), expected);
    }

    #[test]
    fn a_program_adds_keys_to_each_environ() {
        let app = echo(&["shop.path", "PATH_INFO"], &Arc::default()).environ(|request, environ| {
            environ.set_item("shop.path", request.path().to_owned() + "!")
        });
        assert_eq!(get(&app, "/a").unwrap(), "/a! /a");
        let app = app.environ(|_, environ| {
            environ.get_item("none")?.map_or_else(
                || Err(pyo3::exceptions::PyKeyError::new_err("none")),
                |_| Ok(()),
            )
        });
        assert_eq!(get(&app, "/a").unwrap_err().to_string(), "KeyError: 'none'");
    }

    #[test]
    fn variables_and_folders_are_there_at_the_import() {
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
    fn variables_that_a_reload_removes_are_as_before() {
        with_python(|py| {
            let recipe = |app: App| app.recipe;
            let before = recipe(App::new("a").env("T_KEPT", "1").env("T_GONE", "2"));
            let next = recipe(App::new("a").env("T_KEPT", "3"));
            before.set_environ(py, false).unwrap();
            next.unset_variables_of(py, &before).unwrap();
            next.set_environ(py, false).unwrap();
            let code =
                c"__import__('os').environ.get('T_KEPT'), __import__('os').environ.get('T_GONE')";
            let values = py.eval(code, None, None).unwrap();
            assert_eq!(values.to_string(), "('3', None)");
        });
    }

    #[test]
    fn an_interpreter_keeps_its_venv() {
        with_python(|_| ());
        let former = App::new("shop").venv(".venv");
        let mut next = App::new("other").venv("new").env("A", "b");
        next.succeed(&former);
        let expected = App::new("other").venv(".venv").env("A", "b");
        assert_eq!(next.recipe, expected.recipe);
    }
}
