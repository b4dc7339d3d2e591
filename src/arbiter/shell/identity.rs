//! [`Identities`]: by what an arbiter is known to others, its pid file and its name in lists of processes.
//!
//! Both are the arbiter's and no worker's; they come with settings, so a reload that is given up takes them along.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::arbiter::reexec::Predecessor;
use crate::error::Result;
use crate::sys::pidfile::PidFile;
use crate::sys::title::Title;
use crate::trace::{debug, error};

/// What one reading of the settings says of it.
#[derive(Clone, Debug, Default)]
pub(in crate::arbiter) struct Identity {
    pub(in crate::arbiter) pidfile: Option<PathBuf>,
    /// Without one, lists of processes show what they did.
    pub(in crate::arbiter) name: Option<String>,
}

/// What is said with the settings in force, and what may come back.
#[derive(Default)]
pub(super) struct Identities {
    /// By the generation of the first group that came with each.
    all: BTreeMap<u64, Identity>,
    /// The pid files that any of them names.
    pidfiles: Vec<PidFile>,
    title: Option<Title>,
}

impl Identities {
    /// Has the pid file of an identity that is to be added, if it is not held already.
    pub(super) fn claim(
        &mut self,
        path: Option<&Path>,
        predecessor: Option<&Predecessor>,
    ) -> Result<()> {
        let held = |path: &&Path| self.pidfiles.iter().any(|file| file.path() == *path);
        if let Some(path) = path.filter(|path| !held(path)) {
            self.pidfiles.push(match predecessor {
                Some(before) => PidFile::claim_beside(path, before.pid)?,
                None => PidFile::claim(path)?,
            });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, generation: u64, identity: Identity) {
        self.all.insert(generation, identity);
    }

    pub(super) fn current(&self) -> Identity {
        self.all.values().next_back().cloned().unwrap_or_default()
    }

    /// Drops what came with a generation, and the pid files that no other identity names.
    pub(super) fn drop(&mut self, generation: u64) {
        self.all.remove(&generation);
        let named: Vec<_> = self
            .all
            .values()
            .filter_map(|it| it.pidfile.as_deref())
            .collect();
        self.pidfiles.retain(|file| named.contains(&file.path()));
    }

    /// This arbiter follows no other one any more: the files' names are its own.
    pub(super) fn promote(&mut self) {
        for pidfile in &mut self.pidfiles {
            if let Err(error) = pidfile.promote() {
                error!("{error}");
            }
        }
    }

    pub(super) fn clear_beside(&self, successor: i32) {
        for pidfile in &self.pidfiles {
            pidfile.clear_beside(successor);
        }
    }

    /// The pid files' descriptors, whose locks are the arbiter's.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pidfiles.iter().filter_map(PidFile::descriptor)
    }

    /// Shows that this process is the arbiter, the second one while it follows another.
    pub(super) fn show_arbiter(&mut self, follows: bool) {
        self.show("master", if follows { ".2" } else { "" });
    }

    /// Shows that this process is a worker, or another child. Whose it is does not matter: with the arbiter before its own
    /// that arbiter's number would go. Its locks are to end with the arbiter.
    pub(super) fn become_child(&mut self, role: &str) {
        self.show(role, "");
        self.pidfiles.clear();
    }

    pub(super) fn release(&mut self) {
        self.pidfiles.clear();
    }

    fn show(&mut self, role: &str, second: &str) {
        let Some(name) = self.current().name else {
            self.title = None;
            return;
        };
        let text = format!("oxicorn: {role} [{name}{second}]");
        let title = self.title.get_or_insert_with(Title::keep);
        if let Err(error) = title.show(&text) {
            debug!("{text} is not shown: {error}");
        }
    }
}
