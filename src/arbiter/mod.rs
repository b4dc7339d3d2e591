//! The arbiter: forks [`Worker`]s, keeps their number, and ends with them.
//!
//! It reads no connection, parses nothing and loads no application: what can crash or hang happens in a
//! worker. It knows no HTTP; any [`Worker`] will do.
//!
//! ```text
//!             signals ─┐                           ┌─▶ fork, kill
//!   workers' messages ─┼─▶ shell ─▶ Supervisor ─▶ shell ─▶ log, observer
//!     exits, the clock ┘           (pure)          └─▶ the next poll
//! ```
//!
//! *Invariants*: a child is waited for by its own process id, so the host keeps its own children; when
//! [`Arbiter::run`] returns, no worker is left, the pid file and the socket files are gone, and the host
//! has its signal handlers back.

mod action;
mod backoff;
mod command;
mod shell;
mod supervisor;
mod table;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::Listeners;
use crate::sys::fork;
use crate::sys::pidfile::PidFile;
use crate::trace::info;
use crate::worker::Worker;
use action::Limits;
use shell::Shell;

/// How many processes there can be at once, unless the builder says otherwise.
const SLOTS: usize = 512;

/// Something that happened to the arbiter or its workers, for an observer in the arbiter's process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// The arbiter is about to fork its first worker.
    Started {
        /// What the workers will share.
        listeners: Listeners,
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
    /// A worker has gone.
    WorkerExited {
        /// The worker's number.
        id: u64,
        /// Its process id, which may belong to another process by now.
        pid: i32,
        /// How it ended; `None` where somebody else has waited for it.
        status: Option<ExitStatus>,
    },
    /// The arbiter has closed its listeners, and asks the workers to leave.
    Stopping,
}

type Observer = Box<dyn FnMut(&Phase)>;

/// Supervises worker processes. Made by [`Arbiter::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use oxicorn::{Arbiter, Result, Shutdown, WorkerContext};
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
pub struct Arbiter<W> {
    worker: W,
    listeners: Doors,
    limits: Limits,
    pidfile: Option<PathBuf>,
    allow_threads: bool,
    observer: Observer,
}

impl<W: Worker> Arbiter<W> {
    /// Starts to describe an arbiter for this kind of worker: one worker, no listeners.
    pub fn builder(worker: W) -> Builder<W> {
        Builder {
            worker,
            listeners: Vec::new().into(),
            limits: Limits {
                workers: 1,
                slots: SLOTS,
                timeout: Some(Duration::from_secs(30)),
                boot_timeout: Some(Duration::from_secs(120)),
                graceful_timeout: Duration::from_secs(30),
            },
            pidfile: None,
            allow_threads: false,
            observer: Box::new(|_| {}),
        }
    }

    /// Forks the workers and supervises them until it is told to stop; then returns, with the process as
    /// it was before.
    ///
    /// While it runs it has these signals of the process: TERM stops gracefully; INT and QUIT stop at
    /// once, also during a graceful stop; TTIN and TTOU ask for one worker more or less. HUP, USR1, USR2
    /// and WINCH have no effect. CHLD is taken too: a host with children of its own waits for them by
    /// itself.
    ///
    /// In a worker process this call never returns: the process ends with the worker.
    ///
    /// # Errors
    ///
    /// - The process has threads already: they would not exist in the workers, but the locks that they
    ///   hold would (`fork(2)`). See [`Builder::allow_threads`].
    /// - The pid file names a living process, or cannot be written.
    /// - [`Worker::preload`] failed.
    /// - No worker was ever ready, since one failed to boot: the error has the first one's own sentence,
    ///   with [`Error::exit_code`] 3, or 4 where it did not find its application.
    /// - Another arbiter runs in this process, or the system gives no descriptors or no memory.
    pub fn run(self) -> Result<()> {
        let Self {
            mut worker,
            listeners,
            limits,
            pidfile,
            allow_threads,
            observer,
        } = self;
        let threads = fork::threads();
        if threads > 1 && !allow_threads {
            return Err(Error::config(format!(
                "this process has {threads} threads, which would not exist in forked workers while \
                 the locks that they hold would: start the arbiter first, or allow threads if you know \
                 them to be harmless"
            )));
        }
        info!("Starting oxicorn {}", env!("CARGO_PKG_VERSION"));
        let _pidfile = pidfile.map(PidFile::claim).transpose()?;
        worker.preload()?;
        let shell = Shell::new(worker, listeners, limits, observer)?;
        let end = shell.run();
        info!("Shutting down: Master");
        match &end {
            Err(error) if error.is_app() => info!("Reason: App failed to load."),
            Err(error) if error.is_boot() => info!("Reason: Worker failed to boot."),
            _ => {}
        }
        end
    }
}

impl<W> fmt::Debug for Arbiter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arbiter")
            .field("listeners", &self.listeners)
            .field("limits", &self.limits)
            .field("pidfile", &self.pidfile)
            .finish_non_exhaustive()
    }
}

/// Describes an [`Arbiter`].
#[must_use]
pub struct Builder<W> {
    worker: W,
    listeners: Listeners,
    limits: Limits,
    pidfile: Option<PathBuf>,
    allow_threads: bool,
    observer: Observer,
}

impl<W: Worker> Builder<W> {
    /// How many workers there are to be: 1 if it is not said.
    pub fn workers(mut self, workers: usize) -> Self {
        self.limits.workers = workers;
        self
    }

    /// What the workers share. The arbiter answers for their socket files from now on.
    ///
    /// A worker that gives its listeners up closes them only if nobody else in its process has a clone:
    /// so keep none.
    pub fn listeners(mut self, listeners: impl Into<Listeners>) -> Self {
        self.listeners = listeners.into();
        self
    }

    /// How long a worker may show no progress before it is aborted: 30 s if it is not said; zero is for
    /// ever. It holds from the moment when the worker is ready.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = unless_zero(timeout);
        self
    }

    /// How long a worker that is asked to stop gracefully may take before it is killed: 30 s if it is not
    /// said.
    pub fn graceful_timeout(mut self, timeout: Duration) -> Self {
        self.limits.graceful_timeout = timeout;
        self
    }

    /// How long a worker may take to be ready before it is aborted: 120 s if it is not said; zero is for
    /// ever.
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.limits.boot_timeout = unless_zero(timeout);
        self
    }

    /// Where to write the arbiter's process id. A file of a dead process is replaced, one of a living
    /// process is refused.
    pub fn pidfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.pidfile = Some(path.into());
        self
    }

    /// How many processes there can be at once, those that are leaving included: 512 if it is not said.
    /// TTIN grows no further. Each takes 256 bytes of shared memory.
    pub fn slots(mut self, slots: usize) -> Self {
        self.limits.slots = slots;
        self
    }

    /// Calls `observer` in the arbiter with what happens. It must not block: nobody is supervised
    /// meanwhile.
    pub fn observe(mut self, observer: impl FnMut(&Phase) + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Forks even if the process has threads: you know that none of them holds a lock which a worker
    /// needs.
    pub fn allow_threads(mut self, allow: bool) -> Self {
        self.allow_threads = allow;
        self
    }

    /// Checks what was said. Nothing is opened or forked yet.
    ///
    /// # Errors
    ///
    /// No workers, or more than there are slots.
    pub fn build(self) -> Result<Arbiter<W>> {
        // Already here it is nobody else's to remove their socket files.
        let listeners = Doors(Some(self.listeners));
        let Limits { workers, slots, .. } = self.limits;
        if workers == 0 {
            return Err(Error::config("workers: there must be at least one"));
        }
        if workers > slots {
            return Err(Error::config(format!(
                "workers: {workers} are more than the {slots} that there is room for"
            )));
        }
        Ok(Arbiter {
            worker: self.worker,
            listeners,
            limits: self.limits,
            pidfile: self.pidfile,
            allow_threads: self.allow_threads,
            observer: self.observer,
        })
    }
}

impl<W> fmt::Debug for Builder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("listeners", &self.listeners)
            .field("limits", &self.limits)
            .field("pidfile", &self.pidfile)
            .finish_non_exhaustive()
    }
}

fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// The arbiter's listeners: closed, and their socket files removed, when this is dropped.
#[derive(Debug)]
struct Doors(Option<Listeners>);

impl Doors {
    /// What a child takes with it: it closes sockets one day, but the files are not its to remove.
    fn hand_over(&mut self) -> Listeners {
        self.0.take().unwrap_or_else(|| Vec::new().into())
    }

    fn listeners(&self) -> Listeners {
        self.0.clone().unwrap_or_else(|| Vec::new().into())
    }

    fn close(&mut self) {
        if let Some(listeners) = self.0.take() {
            listeners.unlink();
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.close();
    }
}
