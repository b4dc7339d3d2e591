//! [`WorkerOrder`]: what an arbiter is asked to do to single workers.
//!
//! Unlike a command it changes nothing of what the arbiter has to keep up, so the supervisor hears of it as of any other
//! event of a worker, if at all.

use std::sync::{Arc, Mutex};

/// What is to be done to a worker, by its number, or to all.
#[derive(Clone, Debug)]
pub(super) enum WorkerOrder {
    /// To put another one in its place, and have it leave then.
    Recycle(u64),
    /// To kill it.
    Kill(u64),
    /// To show the stacks of all workers' threads.
    Stacks(ShownStacks),
}

/// Where the stacks are put before the question is answered.
pub(super) type ShownStacks = Arc<Mutex<Vec<WorkerStacks>>>;

/// What the threads of a worker were doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStacks {
    /// The worker's number.
    pub id: u64,
    /// Its process id.
    pub pid: i32,
    /// The stacks as Python's `faulthandler` writes them, the innermost call first, up to 64 KiB. `None` where the worker
    /// has shown none within a second: it has no Python, has not loaded it yet, or stands still.
    pub text: Option<String>,
}
