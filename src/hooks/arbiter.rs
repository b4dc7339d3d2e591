//! [`ArbiterHooks`]: the hooks that run in the arbiter, called on its events.

use std::sync::Arc;

use super::catch::{call, call_logged};
use super::{Installed, ServerInfo, WorkerInfo, own_pid};
use crate::arbiter::{ArbiterEvent, Handle};
use crate::error::{Error, Result};
use crate::net::Listeners;
use crate::service::Address;
use crate::trace;

/// The status of Gunicorn's arbiter after an exception in its loop.
const LOOP_FAILED: i32 = 255;

pub(crate) struct ArbiterHooks {
    installed: Installed,
    server: ServerInfo,
    /// Whether a worker was ready.
    serves: bool,
}

impl ArbiterHooks {
    /// The hooks of an arbiter that starts with `workers` workers.
    pub(crate) fn new(
        installed: &Installed,
        workers: usize,
        listeners: &Listeners,
        handle: Handle,
    ) -> Self {
        Self {
            installed: installed.clone(),
            server: ServerInfo {
                pid: own_pid(),
                workers,
                listeners: addresses(listeners),
                handle,
            },
            serves: false,
        }
    }

    /// Calls the hook that belongs to an event, if there is one.
    pub(crate) fn on_event(&mut self, event: &ArbiterEvent) {
        let hooks = Arc::clone(&self.installed.hooks);
        self.follow(event);
        self.call("on_event", |server| hooks.on_event(server, event));
        match event {
            // Gunicorn calls this hook before any other.
            ArbiterEvent::Starting => {
                let workers = self.server.workers;
                self.call("nworkers_changed", |server| {
                    hooks.nworkers_changed(server, workers, None);
                });
                self.call_starting("on_starting", |server| hooks.on_starting(server));
            }
            ArbiterEvent::Started { .. } => {
                self.call_starting("when_ready", |server| hooks.when_ready(server));
            }
            ArbiterEvent::Resized { from, to } if from.is_some() => {
                self.call("nworkers_changed", |server| {
                    hooks.nworkers_changed(server, *to, *from);
                });
            }
            ArbiterEvent::Forking { id } => {
                let called = call("pre_fork", || hooks.pre_fork(&self.server, *id));
                match called {
                    Err(error) if !self.serves => {
                        let failed = Error::config(error.to_string()).because(error);
                        self.end_start(failed.with_exit_status(Some(LOOP_FAILED)));
                    }
                    Err(error) => trace::error!("{error}"),
                    Ok(()) => {}
                }
            }
            ArbiterEvent::WorkerReady { .. } => self.serves = true,
            ArbiterEvent::WorkerExited { id, pid, status } => self.call("child_exit", |server| {
                hooks.child_exit(server, &WorkerInfo { id: *id, pid: *pid }, *status);
            }),
            ArbiterEvent::Reloaded { .. } => {
                self.call("on_reload", |server| hooks.on_reload(server));
            }
            ArbiterEvent::Executing => self.call("pre_exec", |server| hooks.pre_exec(server)),
            ArbiterEvent::Ended => self.call("on_exit", |server| hooks.on_exit(server)),
            _ => {}
        }
    }

    /// The arbiter as hooks see it from now on.
    fn follow(&mut self, event: &ArbiterEvent) {
        match event {
            ArbiterEvent::Started { listeners } | ArbiterEvent::Reloaded { listeners } => {
                self.server.listeners = addresses(listeners);
            }
            ArbiterEvent::Resized { to, .. } => self.server.workers = *to,
            _ => {}
        }
    }

    fn call_starting(&self, name: &str, hook: impl FnOnce(&ServerInfo) -> Result<()>) {
        if let Err(error) = call(name, || hook(&self.server)) {
            self.end_start(error);
        }
    }

    fn end_start(&self, error: Error) {
        self.installed.fail(error);
        self.server.handle.stop_now();
    }

    fn call(&self, name: &str, hook: impl FnOnce(&ServerInfo)) {
        call_logged(name, || hook(&self.server));
    }
}

fn addresses(listeners: &Listeners) -> Vec<Address> {
    let listeners = listeners.iter();
    listeners.map(|listener| (&**listener).into()).collect()
}
