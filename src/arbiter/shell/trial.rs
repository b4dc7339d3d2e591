//! New settings: read, tried, and kept or given up.
//!
//! The supervisor says when; here is what was in force before, until that is sure. Settings that cannot be used
//! change nothing, those on trial included.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{Doors, Input, Left, Limits, Shell, preload};
use crate::arbiter::check;
use crate::arbiter::phase::{Observer, Phase};
use crate::error::{Error, Result};
use crate::net::Listeners;
use crate::sys::pidfile::PidFile;
use crate::trace::{error, info, warning};
use crate::worker::Worker;

/// What was in force before the settings on trial.
pub(super) struct Former<W> {
    worker: W,
    doors: Doors,
    limits: Limits,
    pidfile: Option<PathBuf>,
    name: Option<String>,
}

impl<W> Former<W> {
    pub(super) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Closes what is not listened on with the settings on trial.
    pub(super) fn close_but(&mut self, doors: &Doors, left: &mut Left) {
        self.doors.close_but(&doors.listeners(), left);
    }

    /// In a child the sockets' files are not its to remove.
    pub(super) fn into_child(mut self) -> impl Sized {
        drop(self.doors.hand_over());
        self.worker
    }
}

impl<W: Worker> Shell<W> {
    /// Reads the settings again. What is in force stays where that fails.
    pub(super) fn load(&mut self, observer: &mut Observer) -> Option<Input> {
        observer(&Phase::Reloading);
        self.show_status(true);
        match self.take_new_settings() {
            Ok(()) => {
                if self.worker.is_preloaded() {
                    warning!(
                        "The application was loaded before the workers were forked, and is not loaded again"
                    );
                }
                let listeners = self.doors.listeners();
                observer(&Phase::Reloaded { listeners });
                Some(Input::Loaded(self.limits))
            }
            Err(error) => {
                self.show_status(false);
                lament(error.to_string(), observer);
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
        let mut doors = Doors::new(match new.listeners.take() {
            Some(listeners) => listeners,
            None => self.doors.listeners(),
        });
        let usable = check(&new.limits, self.powers.slots)
            .and_then(|()| preload(&mut new.worker, &self.signals))
            .and_then(|()| self.claim(new.pidfile.as_deref()));
        if let Err(error) = usable {
            // What was opened for them is closed again.
            doors.close_but(&self.open_listeners(), &mut self.left);
            return Err(error);
        }
        let mut replaced = Former {
            worker: std::mem::replace(&mut self.worker, new.worker),
            doors: std::mem::replace(&mut self.doors, doors),
            limits: std::mem::replace(&mut self.limits, new.limits),
            pidfile: std::mem::replace(&mut self.pidfile, new.pidfile),
            name: std::mem::replace(&mut self.name, new.name),
        };
        if self.former.is_none() {
            self.former = Some(replaced);
        } else {
            info!("What was being tried is given up for still newer settings");
            replaced
                .doors
                .close_but(&self.open_listeners(), &mut self.left);
            self.release_pidfiles();
        }
        self.entitle();
        Ok(())
    }

    /// All that is listened on, with the settings in force and with those before.
    fn open_listeners(&self) -> Listeners {
        let former = self.former.as_ref().map(|former| former.doors.listeners());
        let (now, before) = (self.doors.listeners(), former.unwrap_or_default());
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
    pub(super) fn settle(&mut self) {
        if let Some(mut former) = self.former.take() {
            former.close_but(&self.doors, &mut self.left);
            self.release_pidfiles();
        }
        info!("The new workers can serve: the old ones leave");
    }

    /// What was in force before is so again.
    pub(super) fn revert(&mut self, reason: String, observer: &mut Observer) {
        if let Some(former) = self.former.take() {
            let Former {
                worker,
                doors,
                limits,
                pidfile,
                name,
            } = former;
            self.worker = worker;
            self.limits = limits;
            self.pidfile = pidfile;
            self.name = name;
            self.entitle();
            let mut tried = std::mem::replace(&mut self.doors, doors);
            tried.close_but(&self.doors.listeners(), &mut self.left);
            self.release_pidfiles();
        }
        lament(reason, observer);
    }
}

fn lament(reason: String, observer: &mut Observer) {
    error!("Reload failed, and the workers that there are go on: {reason}");
    observer(&Phase::ReloadFailed { reason });
}
