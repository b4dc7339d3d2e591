//! [`ArbiterHooks`]: the hooks that run in the arbiter, called on its events.

use std::sync::Arc;

use super::catch::{call, call_logged};
use super::{Installed, ServerInfo, WorkerInfo, own_pid};
use crate::arbiter::{ArbiterEvent, Handle};
use crate::error::Result;
use crate::net::Listeners;
use crate::service::Address;

/// The hooks, and the arbiter as they see it.
pub(crate) struct ArbiterHooks {
    installed: Installed,
    server: ServerInfo,
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
        }
    }

    /// Calls the hook that belongs to an event, if there is one.
    pub(crate) fn on_event(&mut self, event: &ArbiterEvent) {
        let hooks = Arc::clone(&self.installed.hooks);
        match event {
            // Gunicorn calls this hook before any other.
            ArbiterEvent::Starting => {
                let workers = self.server.workers;
                self.call("nworkers_changed", |server| {
                    hooks.nworkers_changed(server, workers, None);
                });
                self.call_starting("on_starting", |server| hooks.on_starting(server));
            }
            ArbiterEvent::Started { listeners } => {
                self.server.listeners = addresses(listeners);
                self.call_starting("when_ready", |server| hooks.when_ready(server));
            }
            ArbiterEvent::Resized { from, to } => {
                self.server.workers = *to;
                if from.is_some() {
                    self.call("nworkers_changed", |server| {
                        hooks.nworkers_changed(server, *to, *from);
                    });
                }
            }
            ArbiterEvent::Forking { id } => {
                self.call("pre_fork", |server| hooks.pre_fork(server, *id));
            }
            ArbiterEvent::WorkerExited { id, pid, status } => self.call("child_exit", |server| {
                hooks.child_exit(server, &WorkerInfo { id: *id, pid: *pid }, *status);
            }),
            ArbiterEvent::Reloaded { listeners } => {
                self.server.listeners = addresses(listeners);
                self.call("on_reload", |server| hooks.on_reload(server));
            }
            ArbiterEvent::Executing => self.call("pre_exec", |server| hooks.pre_exec(server)),
            ArbiterEvent::Ended => self.call("on_exit", |server| hooks.on_exit(server)),
            _ => {}
        }
    }

    /// Calls a hook whose failure ends the start.
    fn call_starting(&self, name: &str, hook: impl FnOnce(&ServerInfo) -> Result<()>) {
        if let Err(error) = call(name, || hook(&self.server)) {
            self.installed.fail(error);
            self.server.handle.stop_now();
        }
    }

    /// Calls a hook whose failure is logged.
    fn call(&self, name: &str, hook: impl FnOnce(&ServerInfo)) {
        call_logged(name, || hook(&self.server));
    }
}

fn addresses(listeners: &Listeners) -> Vec<Address> {
    let listeners = listeners.iter();
    listeners.map(|listener| (&**listener).into()).collect()
}
