//! A process that works: the [`Worker`] trait, and the [`WorkerContext`] through which a worker and its
//! arbiter know of each other.
//!
//! There is no HTTP here, no service and no Python: a worker may do anything that it can stop doing when
//! it is asked to.
//!
//! ```text
//!          fork            ready()            TERM, the arbiter's end
//!   arbiter ──▶ starting ──────▶ working ─────────────────────────────▶ Graceful ──▶ run returns
//!                  │                │            INT, QUIT
//!                  │                └────────────────────────────────▶ Quick ─────▶ run returns
//!                  ├─ Err: last words, exit status 3 or 4
//!                  └─ TERM, INT, QUIT, the arbiter's end: SIGTERM's own, with nothing to finish
//! ```
//!
//! In a process of a program's own there is no arbiter and there are no signals: a [`ShutdownHandle`] asks.
//!
//! *Invariants*: what a worker is asked only grows (Running, Graceful, Quick); a worker process never
//! returns into the frames of the program that started the arbiter.

mod accept_delay;
mod call_time;
mod context;
mod hosts;
pub(crate) mod in_process;
mod leadership;
mod orders;
mod process;
mod service;
mod shutdown;
mod signals;
mod sync;
mod threaded;
pub(crate) mod threads;

use crate::error::Result;
use crate::fork_outcome::ForkOutcome;

pub use crate::ipc::scoreboard::{Call, OwnSlot, Scoreboard, Slot, WorkerState};
pub(crate) use context::Place;
pub use context::WorkerContext;
pub use in_process::{InProcessServer, InProcessServerHandle, InProcessServerStatus};
pub(crate) use orders::{Lines, WorkerEvent};
pub(crate) use process::{exit_forked_child, run_process};
pub use shutdown::{Shutdown, ShutdownHandle};
pub(crate) use signals::SIGNALS;
pub use sync::SyncWorker;
pub use threaded::ThreadedWorker;

/// What a worker process does. Every `FnMut(&WorkerContext) -> Result<()>` is one.
///
/// ```
/// use std::time::Duration;
/// use oxicorn::worker::Shutdown;
/// use oxicorn::{Result, Worker, WorkerContext};
///
/// struct Beacon {
///     every: Duration,
/// }
///
/// impl Worker for Beacon {
///     fn run(&mut self, context: &WorkerContext) -> Result<()> {
///         context.ready();
///         while context.pause(self.every) == Shutdown::Running {
///             println!("worker {} lives", context.id());
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Worker {
    /// Works until it is asked to stop, in a process of its own.
    ///
    /// It says [`ready`](WorkerContext::ready) when it can work, [`beat`](WorkerContext::beat)s while it
    /// does, and leaves when [`shutdown`](WorkerContext::shutdown) asks for it. Returning `Ok` is exit
    /// status 0, whether asked or not; the arbiter replaces a worker that was not asked.
    ///
    /// # Errors
    ///
    /// Before the worker was ready it has failed to boot: exit status 4 for [`Error::is_app`], else 3, and
    /// the sentence becomes the arbiter's. Afterwards it is exit status 255.
    ///
    /// [`Error::is_app`]: crate::Error::is_app
    fn run(&mut self, context: &WorkerContext) -> Result<()>;

    /// The last thing that is called in a worker's process, after [`run`](Self::run): the status is fixed, the log is
    /// written, and the process ends within two seconds, wherever it is.
    fn end(&mut self) {}
}

/// What an arbiter forks worker processes of: it lives in the arbiter, and its [`Worker`] in each child. Every
/// `FnMut(&WorkerContext) -> Result<()>` is one. All but the worker itself has a default.
///
/// ```
/// use oxicorn::{Result, Worker, WorkerContext};
/// use oxicorn::worker::WorkerTemplate;
///
/// struct Consumer {
///     table: Vec<u8>,
/// }
///
/// impl Worker for Consumer {
///     fn run(&mut self, context: &WorkerContext) -> Result<()> {
///         context.ready();
///         Ok(())
///     }
/// }
///
/// impl WorkerTemplate for Consumer {
///     fn worker(&mut self) -> &mut dyn Worker {
///         self
///     }
///
///     fn preload(&mut self) -> Result<()> {
///         self.table = vec![0; 1 << 20];
///         Ok(())
///     }
/// }
/// ```
pub trait WorkerTemplate {
    /// What works in a child, asked for there once: the child has a copy of this value.
    fn worker(&mut self) -> &mut dyn Worker;

    /// Loads in the arbiter, before the first fork, what the workers are to share.
    ///
    /// # Errors
    ///
    /// End the start.
    fn preload(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether something was loaded so: the workers of a reload have it as well, and nothing newer.
    fn is_preloaded(&self) -> bool {
        false
    }

    /// How many requests it answers at once: the scoreboard has a place for each.
    fn calls(&self) -> usize {
        1
    }

    /// Forks: must call `fork` once, in the arbiter, and may do what must be done around it.
    ///
    /// It returns in both processes; what `fork` gave says in which one it is.
    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        fork();
    }

    /// The arbiter ends, and no worker is left: ends what [`preload`](Self::preload) has begun, also where that has
    /// failed. The process goes on.
    fn unload(&mut self) {}
}

impl<F: FnMut(&WorkerContext) -> Result<()>> Worker for F {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        self(context)
    }
}

impl<F: FnMut(&WorkerContext) -> Result<()>> WorkerTemplate for F {
    fn worker(&mut self) -> &mut dyn Worker {
        self
    }
}
