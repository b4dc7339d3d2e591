//! [`FileWatch`]: reloads the server when a file changes (`reload`): for development.
//!
//! It is attached to the arbiter. Workers report the files that their applications were loaded from.
//!
//! ```text
//!   workers ── Reports ──▶ files ◀── patterns of reload_extra_files, the configuration file
//!                            │
//!   inotify, or a second ──▶ look: has a version changed? ── quiet for a moment ──▶ reload
//! ```
//!
//! *Invariants*: what tells of a change is a file's version alone, so that a missed or a needless event of inotify costs time
//! and no correctness; an editor that saves in several steps causes one reload.

mod file_version;
mod pattern;
mod reports;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::arbiter::{Attachment, Handle};
use crate::config::{Origin, ReloadEngine, SETTINGS, Settings};
use crate::error::{Error, Result};
use crate::time::MonoTime;
use crate::trace;
use file_version::FileVersion;
use reports::Reports;
#[cfg(feature = "wsgi")]
pub(crate) use reports::reporter;

/// How often files are looked at without inotify.
const LOOK: Duration = Duration::from_secs(1);
/// How soon files are looked at after an event of inotify.
const SOON: Duration = Duration::from_millis(50);
/// For how long no file must change before the server is reloaded.
const QUIET: Duration = Duration::from_millis(200);
/// When the server is reloaded although files go on changing.
const LATEST: Duration = Duration::from_secs(2);

/// Looks for changes of files.
#[derive(Debug)]
pub(crate) struct FileWatch {
    /// Readable where the reports or inotify are.
    readable: Epoll,
    reports: Reports,
    inotify: Option<Inotify>,
    /// Whether files are looked at every [`LOOK`].
    polls: bool,
    files: BTreeMap<PathBuf, FileVersion>,
    patterns: Vec<PathBuf>,
    look_at: Option<MonoTime>,
    change: Option<Change>,
}

/// A change that has not led to a reload yet.
#[derive(Debug)]
struct Change {
    path: PathBuf,
    first: MonoTime,
    last: MonoTime,
}

impl FileWatch {
    /// For these settings, if they ask for it; from here on workers can report.
    ///
    /// # Errors
    ///
    /// Where the system gives no descriptors, or the engine is to be inotify and there is none.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Self>> {
        if !settings.reload {
            return Ok(None);
        }
        trace::warning!(
            "reload is on: a change of a file replaces the workers, and clients see tracebacks. It is for development"
        );
        if settings.preload_app {
            trace::warning!(
                "preload_app has no effect while reload is on: each worker loads the application"
            );
        }
        Self::new(settings).map(Some)
    }

    fn new(settings: &Settings) -> Result<Self> {
        let failed =
            |what: &str, error: nix::Error| Error::io(format!("cannot watch files: {what}"), error);
        let readable =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| failed("epoll", e))?;
        let reports = Reports::new()?;
        let event = || EpollEvent::new(EpollFlags::EPOLLIN, 0);
        readable
            .add(&reports, event())
            .map_err(|e| failed("epoll", e))?;
        let engine = settings.reload_engine;
        let mut inotify = None;
        if engine != ReloadEngine::Poll {
            let made = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
            let made = made.and_then(|made| readable.add(&made, event()).map(|()| made));
            match made {
                Ok(made) => inotify = Some(made),
                Err(error) if engine == ReloadEngine::Inotify => {
                    return Err(failed("inotify", error));
                }
                Err(_) => {}
            }
        }
        let mut watch = Self {
            readable,
            reports,
            inotify,
            polls: engine != ReloadEngine::Inotify,
            files: BTreeMap::new(),
            patterns: settings.reload_extra_files.clone(),
            look_at: None,
            change: None,
        };
        let origins = SETTINGS.iter().map(|setting| settings.origin(setting));
        let read = origins.filter_map(|origin| match origin {
            Origin::File { path, .. } => Some(path),
            _ => None,
        });
        watch.files = read.map(|path| (path, FileVersion::NONE)).collect();
        watch.look(MonoTime::now());
        // What is there at the start has not changed.
        watch.change = None;
        watch.plan(MonoTime::now());
        Ok(watch)
    }

    /// Compares all files with what was known of them.
    fn look(&mut self, now: MonoTime) {
        let matching = self.patterns.iter().flat_map(|it| pattern::expand(it));
        let new: Vec<_> = matching
            .filter(|path| !self.files.contains_key(path))
            .collect();
        // A file that has come is a change.
        self.files
            .extend(new.into_iter().map(|path| (path, FileVersion::NONE)));
        let mut changed = None;
        for (path, known) in &mut self.files {
            let found = FileVersion::of(path);
            if found != *known {
                *known = found;
                changed.get_or_insert_with(|| path.clone());
            }
        }
        if let Some(path) = changed {
            let change = self.change.get_or_insert(Change {
                path,
                first: now,
                last: now,
            });
            change.last = now;
        }
        self.ask_for_events();
    }

    /// Asks inotify for events of all folders again: one may have been replaced by another of its name.
    fn ask_for_events(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE;
        let of_files = self.files.keys().filter_map(|path| path.parent());
        let folders: BTreeSet<_> = of_files
            .chain(self.patterns.iter().map(|it| pattern::folder(it)))
            .collect();
        for folder in folders {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            let asked = inotify.add_watch(folder, flags);
            if asked == Err(nix::Error::ENOSPC) && !self.polls {
                self.polls = true;
                trace::warning!(
                    "reload: the system gives no more watches of inotify (fs.inotify.max_user_watches): files are looked \
                     at once a second"
                );
            }
        }
    }

    /// Takes in what inotify has to say; tells whether it was anything.
    fn take_events(&self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let mut any = false;
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {
            any = true;
        }
        any
    }

    /// Sets when to look again.
    fn plan(&mut self, now: MonoTime) {
        let settled = self
            .change
            .as_ref()
            .map(|change| (change.last + QUIET).min(change.first + LATEST));
        let regular = self.polls.then(|| now + LOOK);
        self.look_at = settled.into_iter().chain(regular).min();
    }
}

impl Attachment for FileWatch {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.readable.0.as_fd())
    }

    fn deadline(&self) -> Option<MonoTime> {
        self.look_at
    }

    fn ready(&mut self, handle: &Handle) {
        let now = MonoTime::now();
        let mut is_news = self.take_events();
        for (path, version) in self.reports.take() {
            is_news |= !self.files.contains_key(&path);
            // What the arbiter knows of a file is older than what a worker has loaded.
            self.files.entry(path).or_insert(version);
        }
        if is_news {
            let soon = now + SOON;
            self.look_at = Some(self.look_at.map_or(soon, |at| at.min(soon)));
        }
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        self.look(now);
        let over = |change: &mut Change| now >= change.last + QUIET || now >= change.first + LATEST;
        if let Some(change) = self.change.take_if(over) {
            trace::info!("{} has changed: reloading", change.path.display());
            // Its end is in the log.
            drop(handle.reload());
        }
        self.plan(now);
    }
}
