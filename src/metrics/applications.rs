//! [`Applications`]: what applications count by themselves with `prometheus_client`, in its mode for several processes.
//!
//! Each process writes files of its own to one folder. They are merged as that package's `MultiProcessCollector` does it,
//! and without Python.
//!
//! ```text
//!   counter_7.db, gauge_liveall_8.db … ──▶ file: entries ──▶ merge: families ──▶ exposition
//! ```
//!
//! *Invariants*: whatever the folder holds, reading it waits for nothing and takes a bounded part of memory; what cannot be
//! read is left out, and the rest is shown.

mod file;
mod merge;
mod number;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::trace::warning;
use file::Room;
pub(super) use merge::{ApplicationFamily, ApplicationKind};
use merge::{GAUGE_MODES, Merger, Source};

/// How many names in the folder are looked at.
const FILES: usize = 20_000;

/// The files of applications, if they write some.
#[derive(Debug, Default)]
pub(crate) struct Applications {
    folder: Option<PathBuf>,
    /// Whether a file was left out, and the log says so.
    told: AtomicBool,
}

impl Applications {
    /// Those whose processes write to this folder.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        let told = AtomicBool::new(false);
        Self { folder, told }
    }

    /// The metrics of all processes together, by their names.
    pub(super) fn read(&self) -> Vec<ApplicationFamily> {
        let Some(folder) = &self.folder else {
            return Vec::new();
        };
        let mut merger = Merger::default();
        let mut room = Room::default();
        let names = fs::read_dir(folder).into_iter().flatten().take(FILES);
        let names = names
            .flatten()
            .filter_map(|it| it.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        // What is left out where there is too much is the same each time.
        names.sort_unstable();
        for name in names {
            let Some(source) = Source::of(&name) else {
                continue;
            };
            let read = file::read(&folder.join(&name), &mut room);
            let outcome = read.and_then(|bytes| merger.add(&source, &bytes));
            if let Err(reason) = outcome {
                self.tell(folder, &name, reason);
            }
        }
        merger.finish()
    }

    fn tell(&self, folder: &Path, name: &str, reason: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            warning!(
                "Metrics of applications: of {} in {} something is left out, since {reason}; others that are so too are not \
                 logged",
                name.escape_debug(),
                folder.display()
            );
        }
    }
}

/// Removes what a process that has died has told of itself alone (`mark_process_dead` of the package).
pub(crate) fn forget_process(folder: &Path, pid: i32) {
    for mode in GAUGE_MODES {
        // There may be none of them.
        let _ = fs::remove_file(folder.join(format!("gauge_live{mode}_{pid}.db")));
    }
}

#[cfg(test)]
mod tests;
