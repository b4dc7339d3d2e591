//! New settings: read, tried, and kept or given up.
//!
//! The supervisor says when; here is what was in force before, until that is sure. Settings that cannot be used
//! change nothing, those on trial included.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{ArbiterListeners, DeferredUnlinks, Input, Limits, Shell, preload};
use crate::arbiter::check;
use crate::arbiter::event::{ArbiterEvent, Observer};
use crate::error::{Error, Result};
use crate::net::Listeners;
use crate::sys::pidfile::PidFile;
use crate::trace::{error, info, warning};
use crate::worker::Worker;

/// What was in force before the settings on trial.
pub(super) struct Former<W> {
    worker: W,
    listeners: ArbiterListeners,
    limits: Limits,
    pidfile: Option<PathBuf>,
    name: Option<String>,
}

impl<W> Former<W> {
    pub(super) fn listeners(&self) -> &ArbiterListeners {
        &self.listeners
    }

    /// Closes what is not listened on with the settings on trial.
    pub(super) fn close_but(
        &mut self,
        listeners: &ArbiterListeners,
        unlinks: &mut DeferredUnlinks,
    ) {
        self.listeners.close_but(&listeners.listeners(), unlinks);
    }

    /// In a child the sockets' files are not its to remove.
    pub(super) fn into_child(mut self) -> impl Sized {
        drop(self.listeners.hand_over());
        self.worker
    }
}

impl<W: Worker> Shell<W> {
    /// Reads the settings again. What is in force stays where that fails.
    pub(super) fn load(&mut self, observer: &mut Observer) -> Option<Input> {
        observer(&ArbiterEvent::Reloading);
        self.show_status(true);
        match self.take_new_settings() {
            Ok(()) => {
                if self.worker.is_preloaded() {
                    warning!(
                        "The application was loaded before the workers were forked, and is not loaded again"
                    );
                }
                let listeners = self.listeners.listeners();
                observer(&ArbiterEvent::Reloaded { listeners });
                Some(Input::Loaded(self.limits))
            }
            Err(error) => {
                self.show_status(false);
                log_reload_failure(error.to_string(), observer);
                None
            }
        }
    }

    fn take_new_settings(&mut self) -> Result<()> {
        let Some(source) = &mut self.reload else {
            return Ok(());
        };
        let mut new = catch_unwind(AssertUnwindSafe(source))
            .unwrap_or_else(|panic| Err(Error::panicked("the source of the settings", &*panic)))?;
        new.limits.upgrade_retire = new.upgrade_retire.unwrap_or(self.limits.upgrade_retire);
        let mut listeners = ArbiterListeners::new(match new.listeners.take() {
            Some(listeners) => listeners,
            None => self.listeners.listeners(),
        });
        let usable = check(&new.limits, self.options.slots)
            .and_then(|()| preload(&mut new.worker, &self.signals))
            .and_then(|()| self.claim(new.pidfile.as_deref()));
        if let Err(error) = usable {
            // What was opened for them is closed again.
            listeners.close_but(&self.open_listeners(), &mut self.unlinks);
            return Err(error);
        }
        let mut replaced = Former {
            worker: std::mem::replace(&mut self.worker, new.worker),
            listeners: std::mem::replace(&mut self.listeners, listeners),
            limits: std::mem::replace(&mut self.limits, new.limits),
            pidfile: std::mem::replace(&mut self.pidfile, new.pidfile),
            name: std::mem::replace(&mut self.name, new.name),
        };
        if self.former.is_none() {
            self.former = Some(replaced);
        } else {
            info!("What was being tried is given up for still newer settings");
            replaced
                .listeners
                .close_but(&self.open_listeners(), &mut self.unlinks);
            self.release_pidfiles();
        }
        self.set_title();
        Ok(())
    }

    /// All that is listened on, with the settings in force and with those before.
    fn open_listeners(&self) -> Listeners {
        let former = self
            .former
            .as_ref()
            .map(|former| former.listeners.listeners());
        let (now, before) = (self.listeners.listeners(), former.unwrap_or_default());
        now.iter().chain(&before).cloned().collect()
    }

    /// Has the pid file that new settings name, if it is not held already.
    fn claim(&mut self, path: Option<&Path>) -> Result<()> {
        let held = |path: &&Path| self.pidfiles.iter().any(|file| file.path() == *path);
        if let Some(path) = path.filter(|path| !held(path)) {
            self.pidfiles.push(match &self.predecessor {
                Some(before) => PidFile::claim_beside(path, before.pid)?,
                None => PidFile::claim(path)?,
            });
        }
        Ok(())
    }

    /// Lets the pid files go that neither the settings in force name nor those before.
    fn release_pidfiles(&mut self) {
        let before = self.former.as_ref().map(|former| &former.pidfile);
        let named: Vec<&Path> = [Some(&self.pidfile), before]
            .into_iter()
            .flatten()
            .filter_map(Option::as_deref)
            .collect();
        self.pidfiles.retain(|file| named.contains(&file.path()));
    }

    /// The new settings have proven good.
    pub(super) fn commit_reload(&mut self) {
        if let Some(mut former) = self.former.take() {
            former.close_but(&self.listeners, &mut self.unlinks);
            self.release_pidfiles();
        }
        info!("The new workers can serve: the old ones leave");
    }

    /// What was in force before is so again.
    pub(super) fn revert(&mut self, reason: String, observer: &mut Observer) {
        if let Some(former) = self.former.take() {
            let Former {
                worker,
                listeners,
                limits,
                pidfile,
                name,
            } = former;
            self.worker = worker;
            self.limits = limits;
            self.pidfile = pidfile;
            self.name = name;
            self.set_title();
            let mut tried = std::mem::replace(&mut self.listeners, listeners);
            tried.close_but(&self.listeners.listeners(), &mut self.unlinks);
            self.release_pidfiles();
        }
        log_reload_failure(reason, observer);
    }
}

fn log_reload_failure(reason: String, observer: &mut Observer) {
    error!("Reload failed, and the workers that there are go on: {reason}");
    observer(&ArbiterEvent::ReloadFailed { reason });
}
