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
//! A [`Handle`] tells it the same things as signals do, from the program that it runs in.
//!
//! *Invariants*: a child is waited for by its own process id, so the host keeps its own children; when
//! [`Arbiter::run`] returns, no worker is left, the pid file and the socket files are gone, and the host
//! has its signal handlers back.

mod action;
mod backoff;
mod command;
mod event;
mod handle;
mod listeners;
mod reexec;
mod shell;
mod supervisor;
mod table;

use std::fmt;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::Listeners;
use crate::sys::fork;
use crate::trace::info;
use crate::worker::Worker;
use action::Limits;
pub use command::{SignalRow, signals};
pub use event::ArbiterEvent;
use event::{Observer, contained};
pub(crate) use handle::CommandQueue;
pub use handle::{ArbiterState, Handle, Status};
use listeners::ArbiterListeners;
use reexec::Predecessor;
pub use reexec::{ReexecCommand, is_successor};
use shell::{ArbiterOptions, Lineage, Shell};

/// How many processes there can be at once, unless the builder says otherwise.
const SLOTS: usize = 512;

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
    listeners: ArbiterListeners,
    limits: Limits,
    pidfile: Option<PathBuf>,
    name: Option<String>,
    slots: usize,
    allow_threads: bool,
    signals: bool,
    reap_orphans: bool,
    pulse: Option<Duration>,
    observer: Observer,
    reload: Option<Source<W>>,
    exec: ReexecCommand,
    command_queue: CommandQueue,
}

/// Where new settings come from.
type Source<W> = Box<dyn FnMut() -> Result<ArbiterBuilder<W>>>;

impl<W: Worker> Arbiter<W> {
    /// Starts to describe an arbiter for this kind of worker: one worker, no listeners.
    pub fn builder(worker: W) -> ArbiterBuilder<W> {
        ArbiterBuilder {
            limits: Limits {
                workers: 1,
                timeout: Some(Duration::from_secs(30)),
                request_timeout: None,
                max_requests: None,
                max_requests_jitter: 0,
                max_worker_age: None,
                max_worker_memory: None,
                calls: worker.calls(),
                boot_timeout: Some(Duration::from_secs(120)),
                graceful_timeout: Duration::from_secs(30),
                upgrade_retire: false,
            },
            upgrade_retire: None,
            worker,
            listeners: None,
            pidfile: None,
            name: None,
            slots: SLOTS,
            allow_threads: false,
            signals: true,
            reap_orphans: process::id() == 1,
            pulse: None,
            observer: Box::new(|_| {}),
            reload: None,
            exec: None,
            command_queue: None,
        }
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
    /// - [`Worker::preload`] failed.
    /// - No worker was ever ready, since one failed to boot: the error has the first one's own sentence,
    ///   with [`Error::exit_code`] 3, or 4 where it did not find its application.
    /// - Another arbiter runs in this process, or the system gives no descriptors or no memory.
    pub fn run(self) -> Result<()> {
        let Self {
            worker,
            listeners,
            limits,
            pidfile,
            name,
            slots,
            allow_threads,
            signals,
            reap_orphans,
            pulse,
            observer,
            reload,
            exec,
            command_queue,
        } = self;
        let mut observer = contained(observer);
        let threads = fork::threads();
        if threads > 1 && !allow_threads {
            return Err(Error::config(format!(
                "this process has {threads} threads, which would not exist in forked workers while \
                 the locks that they hold would: start the arbiter first, or allow threads if you know \
                 them to be harmless"
            )));
        }
        info!("Starting oxicorn {}", env!("CARGO_PKG_VERSION"));
        let predecessor = Predecessor::find();
        let options = ArbiterOptions {
            slots,
            signals,
            reap_orphans,
            pulse,
        };
        let lineage = Lineage { exec, predecessor };
        let mut shell = Shell::new(
            worker,
            listeners,
            limits,
            pidfile,
            options,
            command_queue,
            lineage,
        )?;
        observer(&ArbiterEvent::Starting);
        shell.reload = reload;
        shell.name = name;
        shell.preload()?;
        shell.run(&mut observer)
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
pub struct ArbiterBuilder<W> {
    worker: W,
    listeners: Option<Listeners>,
    limits: Limits,
    /// Unlike limits it stays where a reload does not say it.
    upgrade_retire: Option<bool>,
    pidfile: Option<PathBuf>,
    name: Option<String>,
    slots: usize,
    allow_threads: bool,
    signals: bool,
    reap_orphans: bool,
    pulse: Option<Duration>,
    observer: Observer,
    reload: Option<Source<W>>,
    exec: Option<ReexecCommand>,
    command_queue: Option<CommandQueue>,
}

impl<W: Worker> ArbiterBuilder<W> {
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
        self.listeners = Some(listeners.into());
        self
    }

    /// How long a worker may show no progress before it is aborted: 30 s if it is not said; zero is for
    /// ever. It holds from the moment when the worker is ready.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = unless_zero(timeout);
        self
    }

    /// How long one request may take: as long as it likes if it is not said, or zero. The log then names it,
    /// with the stacks of the worker's threads where it can show them, and the worker is replaced while its
    /// other requests are finished.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = unless_zero(timeout);
        self
    }

    /// Replaces a worker whose [slot](crate::Slot) has counted so many requests, and up to `jitter` more, at
    /// random for each worker. Zero, the usual, is never. One worker at a time is replaced, and serves until
    /// the other one is ready.
    pub fn max_requests(mut self, requests: u64, jitter: u64) -> Self {
        self.limits.max_requests = (requests > 0).then_some(requests);
        self.limits.max_requests_jitter = jitter;
        self
    }

    /// Replaces a worker that has been ready for so long, as [`max_requests`](Self::max_requests) does. Zero,
    /// the usual, is never.
    pub fn max_worker_age(mut self, age: Duration) -> Self {
        self.limits.max_worker_age = unless_zero(age);
        self
    }

    /// Replaces a worker whose resident memory has grown to so many bytes, as
    /// [`max_requests`](Self::max_requests) does. Zero, the usual, is never.
    pub fn max_worker_memory(mut self, bytes: u64) -> Self {
        self.limits.max_worker_memory = (bytes > 0).then_some(bytes);
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

    /// Where to write the arbiter's process id. While the arbiter lives it has a lock (flock(2)) on a file beside it,
    /// `PATH.lock`: a pid file that nobody holds is replaced, whatever is in it, and one that is held is refused.
    pub fn pidfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.pidfile = Some(path.into());
        self
    }

    /// Shows in lists of processes what each one is: `oxicorn: master [NAME]`, `oxicorn: worker [NAME]`. A new
    /// arbiter is `[NAME.2]` while the one that has started it lives. Nothing is changed if it is not said, and
    /// what was shown before is so again after the run.
    ///
    /// The program's arguments stay as they are. Their short name (`comm` in proc(5)) changes with it; where a
    /// kernel without `CONFIG_CHECKPOINT_RESTORE` keeps the long one, only that does.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many processes there can be at once, those that are leaving included: 512 if it is not said, and
    /// one more than the workers at least, since a worker is replaced before it leaves. TTIN grows no further.
    /// Each takes 256 bytes of shared memory, and 256 more for every request that it answers at once.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Where new settings come from when the arbiter is told to reload: a builder that describes all of it
    /// anew. Its worker, its limits, its pid file and its name count, and its listeners if it was given any, those that
    /// are to stay among them; [`upgrade_retire`](Self::upgrade_retire) counts if it is said, and stays as it is if not.
    /// The rest of it does not count.
    ///
    /// Without this a reload starts new workers with the settings that there are. An error, or a panic, leaves
    /// everything as it was; so do workers that cannot boot.
    pub fn reload(mut self, source: impl FnMut() -> Result<Self> + 'static) -> Self {
        self.reload = Some(Box::new(source));
        self
    }

    /// What an upgrade executes: this program as it was called, if it is not said, from the folder in which
    /// [`build`](Self::build) is called.
    ///
    /// The program's `main` runs again. Where it binds the same addresses it gets the sockets that are open; the
    /// others are closed when its arbiter runs.
    pub fn exec(mut self, exec: ReexecCommand) -> Self {
        self.exec = Some(exec);
        self
    }

    /// Whether the arbiter stops by itself, gracefully, when the one that an upgrade has started is ready. If it
    /// is not said both serve until one is told to stop.
    pub fn upgrade_retire(mut self, retire: bool) -> Self {
        self.upgrade_retire = Some(retire);
        self
    }

    /// The door of the arbiter, where a handle to it is wanted before there is one.
    pub(crate) fn command_queue(mut self, command_queue: CommandQueue) -> Self {
        self.command_queue = Some(command_queue);
        self
    }

    /// Whether the arbiter takes the process's signals, as it usually does. A host that has its own uses a
    /// [`Handle`].
    pub fn signals(mut self, signals: bool) -> Self {
        self.signals = signals;
        self
    }

    /// Whether the arbiter waits for all children that end, adopted ones too. Process 1 must, and does if it
    /// is not said; elsewhere the children of the host are its own.
    pub fn reap_orphans(mut self, reap: bool) -> Self {
        self.reap_orphans = reap;
        self
    }

    /// Calls `observer` in the arbiter with what happens. It must not block: nobody is supervised
    /// meanwhile. A panic of it is logged, and ends nothing.
    pub fn observe(mut self, observer: impl FnMut(&ArbiterEvent) + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Has the observer told every so often that the arbiter is alive ([`ArbiterEvent::Pulse`]).
    pub fn pulse(mut self, every: Duration) -> Self {
        self.pulse = unless_zero(every);
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
    /// No workers, no slot to replace one, or a system that gives no descriptor.
    pub fn build(self) -> Result<Arbiter<W>> {
        // Already here it is nobody else's to remove their socket files.
        let listeners = ArbiterListeners::new(self.listeners.unwrap_or_else(|| Vec::new().into()));
        check(&self.limits, self.slots)?;
        Ok(Arbiter {
            worker: self.worker,
            listeners,
            limits: Limits {
                upgrade_retire: self.upgrade_retire.unwrap_or(false),
                ..self.limits
            },
            pidfile: self.pidfile,
            name: self.name,
            slots: self.slots,
            allow_threads: self.allow_threads,
            signals: self.signals,
            reap_orphans: self.reap_orphans,
            pulse: self.pulse,
            observer: self.observer,
            reload: self.reload,
            exec: self.exec.unwrap_or_else(ReexecCommand::current),
            command_queue: match self.command_queue {
                Some(command_queue) => command_queue,
                None => CommandQueue::new()?,
            },
        })
    }
}

impl<W> fmt::Debug for ArbiterBuilder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArbiterBuilder")
            .field("listeners", &self.listeners)
            .field("limits", &self.limits)
            .field("pidfile", &self.pidfile)
            .finish_non_exhaustive()
    }
}

fn check(limits: &Limits, slots: usize) -> Result<()> {
    let workers = limits.workers;
    if workers == 0 {
        return Err(Error::config("workers: there must be at least one"));
    }
    if workers >= slots {
        return Err(Error::config(format!(
            "workers: {workers} are more than there is room for in {slots} slots, of which one is for a \
             replacement"
        )));
    }
    Ok(())
}

fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}
