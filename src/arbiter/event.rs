//! [`ArbiterEvent`]: what an arbiter tells its observers.
//!
//! Only words, told in the arbiter's own process.
//!
//! *Invariants*: an observer that panics ends nothing, and hears of what comes later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;

use super::Handle;
use crate::error::Error;
use crate::net::Listeners;
use crate::trace::error;

/// Something that happened to the arbiter or its workers, for an observer in the arbiter's process.
///
/// ```
/// use oxicorn::arbiter::ArbiterEvent;
///
/// let server = oxicorn::Server::builder().observe(|event, handle| {
///     if let ArbiterEvent::Starting = event {
///         println!("{} workers are wanted", handle.status().target);
///     }
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ArbiterEvent {
    /// The arbiter begins: its pid file is written, its signals are not yet taken.
    Starting,
    /// This arbiter follows another one, which has started it and lives: told before its first worker is forked.
    Following {
        /// The other arbiter's process id.
        pid: i32,
    },
    /// The arbiter is about to fork its first worker.
    Started {
        /// What the workers will share.
        listeners: Listeners,
    },
    /// The number of workers that there are to be has changed; at the start there was none before.
    Resized {
        /// What it was.
        from: Option<usize>,
        /// What it is.
        to: usize,
    },
    /// A worker is about to be forked.
    Forking {
        /// The worker's number.
        id: u64,
    },
    /// A worker was forked.
    WorkerSpawned {
        /// The worker's number.
        id: u64,
        /// Its process id.
        pid: i32,
    },
    /// A worker can do its work.
    WorkerReady {
        /// The worker's number.
        id: u64,
        /// Its process id.
        pid: i32,
    },
    /// All workers that are to be there are: for the first time, or again after a reload.
    Ready {
        /// How many.
        workers: usize,
    },
    /// A worker has gone.
    WorkerExited {
        /// The worker's number.
        id: u64,
        /// Its process id, which may belong to another process by now.
        pid: i32,
        /// How it ended; `None` where other code of the process has waited for it.
        status: Option<ExitStatus>,
    },
    /// The settings are about to be read again.
    Reloading,
    /// New settings are in force, and their first worker is about to be forked.
    Reloaded {
        /// What the new workers will share.
        listeners: Listeners,
    },
    /// The settings that were in force before a reload stay, or are so again.
    ReloadFailed {
        /// Why, in a sentence.
        reason: String,
    },
    /// The program is about to be started anew, as the arbiter that follows this one.
    Upgrading,
    /// Told in the process that is about to become the program anew, and nowhere else.
    Executing,
    /// The new arbiter has a worker that can serve. Both go on until one of them is told to stop.
    Upgraded {
        /// The new arbiter's process id.
        pid: i32,
    },
    /// There is no new arbiter, or it serves no more, and this one goes on alone.
    UpgradeFailed {
        /// Why, in a sentence.
        reason: String,
    },
    /// This arbiter has followed another one, which is gone now: the listeners and the pid file's name are its
    /// own.
    Promoted,
    /// The arbiter is alive: told as often as [`pulse`](super::ArbiterBuilder::pulse) asked for.
    Pulse,
    /// The arbiter has closed its listeners, and asks the workers to leave.
    Stopping,
    /// No worker is left, and the pid file is gone.
    Ended,
}

type Observer = Box<dyn FnMut(&ArbiterEvent, &Handle)>;

/// All that are told, in order. A panic of one is logged and goes no further: workers would be left without their
/// arbiter.
#[derive(Default)]
pub(super) struct Observers(pub(super) Vec<Observer>);

impl Observers {
    pub(super) fn tell(&mut self, event: &ArbiterEvent, handle: &Handle) {
        for observer in &mut self.0 {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| observer(event, handle))) {
                error!("{}", Error::panicked("the observer", &*panic));
            }
        }
    }
}
