//! [`Completion`]: how a command to an arbiter ends, for the thread that gave it.
//!
//! *Invariants*: each command is answered once, also by an arbiter that ends before; the arbiter waits for no thread
//! that waits for an answer.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::time::MonoTime;

/// How far a command has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The arbiter has not looked at it yet.
    Queued,
    /// The arbiter does it: a reload's settings can be used, an upgrade's process is there.
    Taken,
    /// A worker has handed it over to the arbiter, and hears no more of it: the command may end that worker.
    HandedOver,
    /// It is done.
    Done,
    /// It was refused, or has failed.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
}

/// Tells how a command ends. Given by the methods of a [`Handle`](super::Handle); dropping it changes nothing.
///
/// ```no_run
/// use std::time::Duration;
///
/// # fn reload(handle: &oxicorn::arbiter::Handle) {
/// match handle.reload().wait(Duration::from_secs(60)) {
///     Ok(()) => println!("the new settings are in force"),
///     Err(error) if error.is_timeout() => println!("the new workers are still starting"),
///     Err(error) => println!("the old settings stay: {error}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Completion {
    cell: Arc<Cell>,
    arbiter: Arc<OnceLock<ThreadId>>,
}

/// The arbiter's side: what it is told is the answer. Dropped without one, the command has failed.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Cell>);

#[derive(Debug)]
struct Cell {
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// Both sides for one command; `arbiter` is the thread that must not wait, once it is known.
pub(super) fn pair(arbiter: &Arc<OnceLock<ThreadId>>) -> (Ticket, Completion) {
    let cell = Arc::new(Cell {
        progress: Mutex::new(Progress::Queued),
        changed: Condvar::new(),
    });
    let arbiter = Arc::clone(arbiter);
    (Ticket(Arc::clone(&cell)), Completion { cell, arbiter })
}

impl Completion {
    /// How far the command has come; never waits.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.cell.lock().clone()
    }

    /// Waits until the command has ended, for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// - The sentence with which the command has failed or was refused.
    /// - The time is over: [`Error::is_timeout`]. The command goes on.
    /// - This is the arbiter's own thread (its observer, say), which would wait for itself.
    /// - This is a worker, which is not told how its commands end.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let deadline = MonoTime::now() + timeout;
        let mut progress = self.cell.lock();
        loop {
            match &*progress {
                Progress::Done => return Ok(()),
                Progress::Failed { reason } => return Err(Error::new(reason.clone())),
                Progress::HandedOver => {
                    return Err(Error::new(
                        "the command was handed over, and a worker is not told how it ends",
                    ));
                }
                Progress::Queued | Progress::Taken => {}
            }
            if self.arbiter.get() == Some(&thread::current().id()) {
                return Err(Error::new(
                    "the arbiter's own thread cannot wait for what the arbiter is to do",
                ));
            }
            let left = deadline.since(MonoTime::now());
            if left.is_zero() {
                return Err(Error::of(
                    Kind::Timeout,
                    "the arbiter has not yet come to the end of what it was asked for",
                ));
            }
            let waited = self.cell.changed.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Ticket {
    pub(super) fn take(&self) {
        self.set(Progress::Taken);
    }

    pub(super) fn hand_over(self) {
        self.set(Progress::HandedOver);
    }

    pub(super) fn finish(self) {
        self.set(Progress::Done);
    }

    pub(super) fn fail(self, reason: impl Into<String>) {
        let reason = reason.into();
        self.set(Progress::Failed { reason });
    }

    fn set(&self, to: Progress) {
        let mut progress = self.0.lock();
        if matches!(*progress, Progress::Queued | Progress::Taken) {
            *progress = to;
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let reason = "the arbiter has ended before".to_owned();
        self.set(Progress::Failed { reason });
    }
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    fn new() -> (Ticket, Completion) {
        pair(&Arc::new(OnceLock::new()))
    }

    #[test]
    fn a_waiting_thread_learns_how_a_command_has_ended() {
        let (ticket, completion) = new();
        assert!(completion.wait(SOON).unwrap_err().is_timeout());
        ticket.take();
        assert_eq!(completion.progress(), Progress::Taken);
        let waits = thread::spawn(move || completion.wait(LONG));
        ticket.finish();
        assert!(waits.join().unwrap().is_ok());
        let (ticket, completion) = new();
        ticket.fail("the disk is full");
        let error = completion.wait(LONG).unwrap_err();
        assert_eq!(error.to_string(), "the disk is full");
        assert!(!error.is_timeout());
    }

    #[test]
    fn a_command_without_an_answer_has_failed() {
        let (ticket, completion) = new();
        drop(ticket);
        let error = completion.wait(LONG).unwrap_err();
        assert_eq!(error.to_string(), "the arbiter has ended before");
    }

    #[test]
    fn the_arbiters_own_thread_gets_an_error_and_does_not_hang() {
        let arbiter = Arc::new(OnceLock::new());
        let (ticket, completion) = pair(&arbiter);
        arbiter.set(thread::current().id()).unwrap();
        let error = completion.wait(LONG).unwrap_err();
        assert!(error.to_string().contains("own thread"), "{error}");
        ticket.finish();
        assert!(completion.wait(LONG).is_ok());
    }
}
