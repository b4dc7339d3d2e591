//! [`App`]: the recipe for a WSGI application.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use super::application::Application;
use super::environ::SOFTWARE;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::python::import_spec::ImportSpec;
use crate::python::preload::Preloaded;
use crate::python::signals::{self, ProcessKind, SignalProxies};
use crate::python::{errors, ffi, finalize, fork, interpreter, stacks};
use crate::service::{MakeService, Releaser, ServiceContext};
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
    preload: bool,
    slot: Arc<PreloadSlot>,
}

/// The specification of an application, and the Python that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recipe {
    spec: String,
    venv: Option<PathBuf>,
    paths: Vec<PathBuf>,
    env: Vec<(OsString, OsString)>,
}

/// The application that this process has loaded beforehand, for all clones of an [`App`].
#[derive(Debug, Default)]
struct PreloadSlot {
    /// Whether loading was begun, also where it has failed.
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
        Self {
            recipe: Recipe {
                spec: spec.into(),
                venv: None,
                paths: Vec::new(),
                env: Vec::new(),
            },
            preload: false,
            slot: Arc::default(),
        }
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
    /// itself, as in [`per_worker`](crate::per_worker), is made too late: it is loaded there, with a warning.
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
        let spec = ImportSpec::parse(&self.recipe.spec)?;
        let preloaded = self.preloaded();
        if self.preload && preloaded.is_none() {
            trace::warning!(
                "{} is loaded in this worker by itself, although it was to be loaded beforehand: only an App that is \
                 the server's own recipe can be",
                self.recipe.spec
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
                None => self.recipe.import(py, &spec, context.own_process)?,
            };
            if let Some(proxies) = proxies {
                proxies.restore_own_handlers(py).map_err(failed)?;
            }
            Application::new(&application, context).map_err(failed)
        })
    }

    /// The application that this process has loaded beforehand, if it is this one.
    fn preloaded(&self) -> Option<Arc<PreloadedApp>> {
        let preloaded = self.slot.get();
        preloaded.filter(|preloaded| preloaded.recipe.spec == self.recipe.spec)
    }
}

impl Recipe {
    fn import<'py>(
        &self,
        py: Python<'py>,
        spec: &ImportSpec<'_>,
        own_process: bool,
    ) -> Result<Bound<'py, PyAny>> {
        self.set_path(py, own_process)
            .and_then(|()| self.set_environ(py, own_process))
            .map_err(|error| setup_failed(py, &error))?;
        spec.load(py)
    }

    fn set_path(&self, py: Python<'_>, own_process: bool) -> PyResult<()> {
        interpreter::set_path(py, &self.paths, own_process)
    }

    /// Resets the variables that `before` has set in the interpreter, and this recipe does not set.
    fn unset_variables_of(&self, py: Python<'_>, before: &Self) -> PyResult<()> {
        let set = before.env.iter().map(|(key, _)| &**key);
        let unset = set.filter(|key| self.env.iter().all(|(other, _)| other != key));
        interpreter::reset_environ(py, unset)
    }

    /// Sets the variables in `os.environ`, and `SERVER_SOFTWARE`, unless the interpreter is a program's own.
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
            if new.spec != preloaded.recipe.spec {
                log_kept("wsgi_app", "the application was preloaded");
                new.spec.clone_from(&preloaded.recipe.spec);
            }
        }
    }

    fn preload(&mut self) -> Result<()> {
        if !self.preload || self.preloaded().is_some() {
            return Ok(());
        }
        let spec = ImportSpec::parse(&self.recipe.spec)?;
        interpreter::start(self.recipe.venv.as_deref())?;
        self.slot.begun.store(true, Ordering::Relaxed);
        let application = Python::attach(|py| {
            let failed = |error| setup_failed(py, &error);
            let proxies = SignalProxies::install(py, ProcessKind::Arbiter).map_err(failed)?;
            let imported = signals::interruptible(py, || self.recipe.import(py, &spec, false));
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
        if !ffi::is_running() {
            fork();
            return;
        }
        let preloaded = self.slot.get();
        let own = self.preloaded().is_some() && interpreter::is_ours();
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

/// The error of a step that works in every sound installation of Python.
fn setup_failed(py: Python<'_>, error: &PyErr) -> Error {
    errors::log(py, &errors::traceback(py, error));
    let summary = errors::summary(py, error);
    Error::boot(format!("Python cannot be made ready: {summary}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::testing::with_python;

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
