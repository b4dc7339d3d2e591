//! [`ServerHooks`]: Gunicorn's server hooks, as a configuration file sets them.
//!
//! *Invariants*
//!
//! - Without a function for a hook nothing of Python runs for it.
//! - A reload brings the hooks of its file with the first worker that tries it, and takes them back if it fails.
//! - A worker has the hooks of the settings that it was forked of.

use std::process::{self, ExitStatus};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::generation::{Generation, state};
use super::loggers;
use super::objects::Objects;
use super::signals as signals_of_file;
use super::steps::{self, step};
use crate::arbiter::ArbiterEvent;
use crate::error::{Error, Result};
use crate::hooks::{Hooks, ServerInfo, WorkerInfo};
use crate::python::{errors, ffi, finalize, interpreter, signals};
use crate::sys::signal;
use crate::worker::exit_forked_child;

/// Gunicorn's server hooks, which a [configuration file](super::ConfigFile) sets, called with Gunicorn's arguments.
///
/// They are those of the settings that are in force: a reload brings new ones. For the hooks around a request, the
/// application must come from [`App::from_settings`](crate::wsgi::App::from_settings).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ServerHooks;

/// What a hook's arguments are made of.
type Arguments<'a> = dyn for<'py> Fn(&Objects<'py>) -> PyResult<Bound<'py, PyTuple>> + 'a;

impl ServerHooks {
    /// Calls the function for a hook, if there is one. Its traceback is logged.
    ///
    /// # Errors
    ///
    /// An exception of the function, in one line.
    fn call(name: &str, arguments: &Arguments<'_>) -> Result<()> {
        let (generation, server) = in_force();
        let (Some(generation), Some(server)) = (generation, server) else {
            return Ok(());
        };
        let Some(function) = generation.functions.get(name) else {
            return Ok(());
        };
        let called_in = process::id();
        let call = || {
            Python::attach(|py| {
                Objects::new(py, &server, &generation)
                    .and_then(|objects| function.call(&arguments(&objects)?))
                    .map_err(|error| failed(py, name, &error))
            })
        };
        let called = if i64::from(called_in) == i64::from(server.pid) {
            signals_of_file::keep_own(name, call)
        } else {
            call()
        };
        if process::id() != called_in {
            // It would be a second arbiter, or a second worker.
            exit_forked_child(&format!("the hook {name}"), called.as_ref().err());
        }
        called
    }

    /// Calls a hook whose failure ends nothing: it is logged.
    fn tell(name: &str, arguments: &Arguments<'_>) {
        let _ = Self::call(name, arguments);
    }

    /// Tells once that this worker ends: before its exit functions, where there are some to come.
    pub(super) fn tell_exit() {
        let Some(worker) = state().worker.take() else {
            return;
        };
        Self::tell("worker_exit", &|objects| {
            let server = objects.server();
            (&server, objects.own_worker(worker)?).into_pyobject(server.py())
        });
    }

    /// Tells once that this worker leaves at once.
    fn tell_leaving(is_aborted: bool) {
        let worker = {
            let mut state = state();
            let first = !std::mem::replace(&mut state.is_leaving, true);
            state.worker.filter(|_| first)
        };
        let Some(worker) = worker else {
            return;
        };
        let hook = if is_aborted {
            "worker_abort"
        } else {
            "worker_int"
        };
        Self::tell(hook, &|objects| {
            let worker = objects.own_worker(worker)?;
            step(worker.py(), "leaving")?.call1((&worker, is_aborted))?;
            (&worker,).into_pyobject(worker.py())
        });
    }

    /// A call of this worker is about to be ended by a signal: here a hook still sees its stack. Not where only the call
    /// has taken too long.
    fn tell_before_end() {
        if signal::is_interrupted() {
            Self::tell_leaving(signal::is_aborted());
        }
    }

    fn tell_number_of_workers(new: usize, old: Option<usize>) -> Result<()> {
        state().workers_told = Some(new);
        Self::call("nworkers_changed", &|objects| {
            let server = objects.server();
            (&server, new, old).into_pyobject(server.py())
        })
    }
}

/// The settings that are in force, and the server.
fn in_force() -> (Option<Generation>, Option<ServerInfo>) {
    let state = state();
    (state.current.clone(), state.server.clone())
}

/// Logs an exception of a hook, and returns it in one line.
pub(super) fn failed(py: Python<'_>, name: &str, error: &PyErr) -> Error {
    errors::log_exception(py, &format!("Error in the hook {name}"), error);
    let place = errors::place(py, error);
    let place = place.map_or(String::new(), |place| format!(" ({place})"));
    Error::new(format!("{}{place}", errors::summary(py, error)))
}

fn server<'py>(objects: &Objects<'py>) -> PyResult<Bound<'py, PyTuple>> {
    let server = objects.server();
    (&server,).into_pyobject(server.py())
}

impl Hooks for ServerHooks {
    fn on_event(&self, server: &ServerInfo, event: &ArbiterEvent) {
        let before = in_force().0;
        state().follow(server, event);
        match event {
            ArbiterEvent::Starting => steps::set_handle(&server.handle),
            ArbiterEvent::Reloaded { .. } | ArbiterEvent::ReloadFailed { .. } => {
                loggers::change(before.as_ref(), in_force().0.as_ref());
            }
            ArbiterEvent::WorkerSpawned { id, pid } => spawned(*id, *pid),
            _ => {}
        }
    }

    fn wants_requests(&self) -> bool {
        // The application calls these itself.
        false
    }

    fn on_starting(&self, info: &ServerInfo) -> Result<()> {
        Self::tell_number_of_workers(info.workers, None)
            .map_err(|error| error.about("the hook nworkers_changed before it"))?;
        Self::call("on_starting", &server)
    }

    fn on_reload(&self, info: &ServerInfo) {
        let (workers, old) = {
            let state = state();
            let workers = state.current.as_ref().map(|it| it.settings.workers);
            (workers, state.workers_told)
        };
        // As with Gunicorn, whether it has changed or not.
        let _ = Self::tell_number_of_workers(workers.unwrap_or(info.workers), old);
        Self::tell("on_reload", &server);
    }

    fn when_ready(&self, _: &ServerInfo) -> Result<()> {
        Self::call("when_ready", &server)
    }

    fn pre_fork(&self, _: &ServerInfo, id: u64) -> Result<()> {
        Self::call("pre_fork", &|objects| {
            let server = objects.server();
            (&server, objects.worker(id, None)?).into_pyobject(server.py())
        })
    }

    fn post_fork(&self, worker: &WorkerInfo) -> Result<()> {
        state().worker = Some(worker.id);
        signals::before_end(Self::tell_before_end);
        Self::call("post_fork", &|objects| {
            let server = objects.server();
            (&server, objects.own_worker(worker.id)?).into_pyobject(server.py())
        })
    }

    fn post_worker_init(&self, worker: &WorkerInfo) -> Result<()> {
        Self::call("post_worker_init", &|objects| {
            let worker = objects.own_worker(worker.id)?;
            (&worker,).into_pyobject(worker.py())
        })
    }

    fn worker_int(&self, _: &WorkerInfo) {
        Self::tell_leaving(false);
    }

    fn worker_abort(&self, _: &WorkerInfo) {
        Self::tell_leaving(true);
    }

    fn child_exit(&self, _: &ServerInfo, worker: &WorkerInfo, _: Option<ExitStatus>) {
        let WorkerInfo { id, pid, .. } = *worker;
        Self::tell("child_exit", &|objects| {
            let server = objects.server();
            (&server, objects.worker(id, Some(pid))?).into_pyobject(server.py())
        });
        exited(id, pid);
    }

    fn worker_exit(&self, _: &WorkerInfo) {
        Self::tell_exit();
    }

    fn nworkers_changed(&self, _: &ServerInfo, new: usize, old: Option<usize>) {
        // The start tells it before its own hook, and a reload does.
        if old.is_some() && state().workers_told != Some(new) {
            let _ = Self::tell_number_of_workers(new, old);
        }
    }

    fn pre_exec(&self, _: &ServerInfo) {
        Self::tell("pre_exec", &server);
    }

    fn on_exit(&self, _: &ServerInfo) {
        Self::tell("on_exit", &server);
        if ffi::is_running() && interpreter::is_ours() {
            Python::attach(|py| {
                finalize::run_exit_functions(py);
                loggers::end(py);
            });
        }
    }
}

/// Shows a worker among those of the server, if there are hooks to show it to.
fn spawned(id: u64, pid: i32) {
    with_objects(|objects| objects.worker(id, Some(pid)).map(drop));
}

/// Removes a worker from those of the server.
fn exited(id: u64, pid: i32) {
    with_objects(|objects| objects.end_of(id, pid));
}

fn with_objects(work: impl FnOnce(&Objects<'_>) -> PyResult<()>) {
    let (Some(generation), Some(server)) = in_force() else {
        return;
    };
    if generation.functions.is_empty() {
        return;
    }
    Python::attach(|py| {
        let worked = Objects::new(py, &server, &generation).and_then(|objects| work(&objects));
        if let Err(error) = worked {
            failed(py, "server.WORKERS", &error);
        }
    });
}
