//! New settings: read, tried, and kept or given up.
//!
//! The supervisor says when; here is what was in force before, until that is sure.

use super::{Doors, Input, Left, Limits, Shell};
use crate::arbiter::check;
use crate::arbiter::phase::{Observer, Phase};
use crate::error::Result;
use crate::sys::pidfile::PidFile;
use crate::trace::{error, info, warning};
use crate::worker::Worker;

/// What was in force before the settings on trial.
pub(super) struct Former<W> {
    worker: W,
    doors: Doors,
    limits: Limits,
    pidfile: FormerFile,
    name: Option<String>,
}

/// The pid file that was there before.
enum FormerFile {
    /// The one that is there now.
    Same,
    /// Another one, or none.
    Other(Option<PidFile>),
}

impl<W> Former<W> {
    pub(super) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Closes what is not listened on with the settings on trial.
    pub(super) fn close_but(&mut self, doors: &Doors, left: &mut Left) {
        self.doors.close_but(doors, left);
    }

    /// In a child the sockets' files are not its to remove, and the pid file's lock is not its to keep.
    pub(super) fn into_child(mut self) -> impl Sized {
        drop((self.doors.hand_over(), self.pidfile));
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
        let mut new = source()?;
        check(&new.limits, self.powers.slots)?;
        let same = |file: &PidFile| new.pidfile.as_deref() == Some(file.path());
        let claimed = match (&self.pidfile, &new.pidfile) {
            (Some(file), _) if same(file) => FormerFile::Same,
            (None, None) => FormerFile::Same,
            (_, path) => {
                let path = path.as_ref();
                let claimed = match &self.predecessor {
                    Some(before) => path.map(|path| PidFile::claim_beside(path, before.pid)),
                    None => path.map(PidFile::claim),
                };
                FormerFile::Other(claimed.transpose()?)
            }
        };
        let doors = Doors::new(match new.listeners.take() {
            Some(listeners) => listeners,
            None => self.doors.listeners(),
        });
        new.worker.preload()?;
        self.former = Some(Former {
            worker: std::mem::replace(&mut self.worker, new.worker),
            doors: std::mem::replace(&mut self.doors, doors),
            limits: std::mem::replace(&mut self.limits, new.limits),
            name: std::mem::replace(&mut self.name, new.name),
            pidfile: match claimed {
                FormerFile::Same => FormerFile::Same,
                FormerFile::Other(new) => {
                    FormerFile::Other(std::mem::replace(&mut self.pidfile, new))
                }
            },
        });
        self.entitle();
        Ok(())
    }

    /// The new settings have proven good.
    pub(super) fn settle(&mut self) {
        if let Some(mut former) = self.former.take() {
            former.close_but(&self.doors, &mut self.left);
        }
        info!("The new workers can serve: the old ones leave");
    }

    /// What was in force before is so again.
    pub(super) fn revert(&mut self, reason: Option<String>, observer: &mut Observer) {
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
            self.name = name;
            self.entitle();
            let mut tried = std::mem::replace(&mut self.doors, doors);
            tried.close_but(&self.doors, &mut self.left);
            if let FormerFile::Other(pidfile) = pidfile {
                self.pidfile = pidfile;
                self.take_pidfile_name();
            }
        }
        if let Some(reason) = reason {
            lament(reason, observer);
        }
    }
}

fn lament(reason: String, observer: &mut Observer) {
    error!("Reload failed, and the workers that there are go on: {reason}");
    observer(&Phase::ReloadFailed { reason });
}
