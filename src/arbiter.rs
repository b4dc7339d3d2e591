//! The arbiter: forks [`Worker`](crate::Worker)s, keeps their number, and ends with them.
//!
//! It reads no connection, parses nothing and loads no application: what can crash or hang happens in a
//! worker. It knows no HTTP; any [`Worker`](crate::Worker) will do.
//!
//! ```text
//!             signals ─┐                           ┌─▶ fork, kill
//!   workers' messages ─┼─▶ shell ─▶ Supervisor ─▶ shell ─▶ log, observer
//!     exits, the clock ┘           (pure)          └─▶ the next poll
//! ```
//!
//! A [`Handle`] tells it the same things as signals do, from the program that it runs in.
//!
//! *Invariants*: a child is waited for by its own process id, so the host keeps its own children; when
//! [`Arbiter::run`] returns, no worker is left, the pid file and the socket files are gone, and the host
//! has its signal handlers back.

mod action;
mod attachment;
mod backlog;
mod backoff;
mod builder;
mod command;
mod companion;
mod completion;
mod event;
mod generation;
mod handle;
mod policy;
mod reexec;
mod shell;
mod supervisor;
mod table;
mod totals;
mod worker_order;
mod worker_requests;
mod worker_status;

use std::fmt;

use crate::error::{Error, Result};
pub use crate::ipc::totals::{Durations, Outcomes, RestartCause, Totals};
use crate::sys::fork;
use crate::trace::info;
use crate::worker::WorkerTemplate;
pub use attachment::Attachment;
pub(crate) use backlog::Backlog;
pub use builder::ArbiterBuilder;
#[cfg(feature = "wsgi")]
pub(crate) use command::taken_signals;
pub use command::{SignalRow, signals};
pub(crate) use companion::{Companion, CompanionContext};
pub use completion::{Completion, Progress};
pub use event::ArbiterEvent;
use generation::Generation;
pub(crate) use handle::CommandQueue;
pub use handle::{ArbiterState, Handle, Status};
pub use reexec::{ReexecCommand, is_successor};
use shell::{ArbiterOptions, Identity, Shell};
pub use worker_order::WorkerStacks;
pub use worker_requests::StackRequest;
pub use worker_status::{CurrentRequest, WorkerStatus};

/// Supervises worker processes. Made by [`Arbiter::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use oxicorn::{Arbiter, Result, WorkerContext};
/// use oxicorn::worker::Shutdown;
///
/// fn count(context: &WorkerContext) -> Result<()> {
///     context.ready();
///     for turn in 0.. {
///         println!("worker {} of {}: {turn}", context.id(), context.workers());
///         if context.pause(Duration::from_secs(1)) != Shutdown::Running {
///             break;
///         }
///     }
///     Ok(())
/// }
///
/// fn main() -> Result<()> {
///     Arbiter::builder(count).workers(2).build()?.run()
/// }
/// ```
pub struct Arbiter {
    groups: Vec<Generation>,
    identity: Identity,
    options: ArbiterOptions,
    allow_threads: bool,
    exec: ReexecCommand,
    command_queue: CommandQueue,
}

type ReloadSource = Box<dyn FnMut() -> Result<ArbiterBuilder>>;

impl Arbiter {
    /// Starts to describe an arbiter for workers of this template: one worker, no listeners.
    pub fn builder(template: impl WorkerTemplate + 'static) -> ArbiterBuilder {
        ArbiterBuilder::new(Box::new(template))
    }

    /// What tells this arbiter things from the program that it runs in: to be taken before [`run`](Self::run),
    /// and good from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.command_queue.handle()
    }

    /// Forks the workers and supervises them until it is told to stop; then returns, with the process as
    /// it was before.
    ///
    /// While it runs it has the signals of the process that `docs/SIGNALS.md` lists, unless
    /// [`ArbiterBuilder::signals`] says otherwise. CHLD is one of them: a host with children of its own waits for
    /// them by itself.
    ///
    /// In a worker process this call never returns: the process ends with the worker.
    ///
    /// # Errors
    ///
    /// - The process has threads already: they would not exist in the workers, but the locks that they
    ///   hold would (`fork(2)`). See [`ArbiterBuilder::allow_threads`].
    /// - The pid file names a living process, or cannot be written.
    /// - [`WorkerTemplate::preload`] failed.
    /// - No worker was ever ready, since one failed to boot: the error has the first one's own sentence,
    ///   with [`Error::exit_code`] 3, or 4 where it did not find its application.
    /// - Another arbiter runs in this process, or the system gives no descriptors or no memory.
    pub fn run(self) -> Result<()> {
        let threads = fork::threads();
        if threads > 1 && !self.allow_threads {
            return Err(Error::config(format!(
                "this process has {threads} threads, which would not exist in forked workers while \
                 the locks that they hold would: start the arbiter first, or allow threads if you know \
                 them to be harmless"
            )));
        }
        info!("Starting oxicorn {}", env!("CARGO_PKG_VERSION"));
        // The companion is forked before anything is loaded.
        let mut shell = Shell::new(self)?.accompany();
        shell.start()?;
        shell.run()
    }
}

impl fmt::Debug for Arbiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.groups.iter().map(|group| &group.listeners);
        let policies = self.groups.iter().map(|group| group.policy);
        f.debug_struct("Arbiter")
            .field("listeners", &listeners.collect::<Vec<_>>())
            .field("policies", &policies.collect::<Vec<_>>())
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
