//! [`Hooks`]: a program's own code at the turns of a server's life, in the process that takes the turn.
//!
//! No layer below knows of it: the arbiter's hooks follow its [`ArbiterEvent`]s, those of a worker are in a worker, a
//! recipe and a service that are put around the ones given.
//!
//! ```text
//!   arbiter: nworkers_changed ▶ on_starting ▶ when_ready ▶ pre_fork ─┐         ┌─▶ child_exit … ▶ on_exit
//!                                                     fork ──────────┤         │
//!   worker:                    post_fork ▶ post_worker_init ▶ (pre_request ▶ post_request)*
//!                                                     ▶ worker_int | worker_abort ▶ worker_exit
//!
//!   arbiter, told to reload:   on_reload ▶ nworkers_changed ▶ pre_fork …
//! ```
//!
//! *Invariants*: a hook that fails or panics costs what its own documentation says, and nothing else; without
//! hooks a request pays one comparison.

mod request;
mod worker;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use crate::arbiter::{ArbiterEvent, Handle};
use crate::error::{Error, Result};
use crate::h1::Head;
use crate::net::Listeners;
use crate::service::{Address, Request};
use crate::trace;
pub use request::RequestOutcome;
pub(crate) use request::Watched;
pub(crate) use worker::HookedWorker;

/// What a program does at the turns of a server's life: Gunicorn's server hooks, under their names. All do
/// nothing by default. Given to [`Builder::hooks`](crate::ServerBuilder::hooks).
///
/// There is one object, and with each fork every worker gets its own copy of it: what a hook in a worker
/// stores there is seen in that worker only. The hooks around a request run on whichever thread answers it,
/// several at once.
///
/// Nothing is supervised while a hook runs in the arbiter, and no request is begun by the thread on which one
/// runs in a worker: so none must block.
///
/// ```no_run
/// use oxicorn::{Hooks, Request, Responder, Result, Server, ServerInfo, WorkerInfo};
///
/// struct Announce;
///
/// impl Hooks for Announce {
///     fn when_ready(&self, server: &ServerInfo) -> Result<()> {
///         println!("arbiter {} listens at {:?}", server.pid, server.listeners);
///         Ok(())
///     }
///
///     fn post_fork(&self, worker: &WorkerInfo) -> Result<()> {
///         println!("worker {} is process {}", worker.id, worker.pid);
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<()> {
///     let hello = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello\n");
///     Server::bind("127.0.0.1:8000")?.hooks(Announce).serve(hello)
/// }
/// ```
pub trait Hooks: Send + Sync {
    /// Arbiter: it begins. The pid file is written, signals are not yet taken, nothing is preloaded.
    ///
    /// # Errors
    ///
    /// End the start: [`Server::serve`](crate::Server::serve) returns them.
    fn on_starting(&self, server: &ServerInfo) -> Result<()> {
        let _ = server;
        Ok(())
    }

    /// Arbiter: new settings are in force, and their first worker is about to be forked.
    fn on_reload(&self, server: &ServerInfo) {
        let _ = server;
    }

    /// Arbiter: it listens, and is about to fork its first worker.
    ///
    /// # Errors
    ///
    /// End the start: [`Server::serve`](crate::Server::serve) returns them.
    fn when_ready(&self, server: &ServerInfo) -> Result<()> {
        let _ = server;
        Ok(())
    }

    /// Arbiter: worker `id` is about to be forked.
    fn pre_fork(&self, server: &ServerInfo, id: u64) {
        let _ = (server, id);
    }

    /// Worker: the first thing after the fork. Its signals are its own, nothing is loaded.
    ///
    /// # Errors
    ///
    /// The worker has failed to boot: exit status 3.
    fn post_fork(&self, worker: &WorkerInfo) -> Result<()> {
        let _ = worker;
        Ok(())
    }

    /// Worker: the service is made, and requests are about to be taken.
    ///
    /// # Errors
    ///
    /// The worker has failed to boot: exit status 3.
    fn post_worker_init(&self, worker: &WorkerInfo) -> Result<()> {
        let _ = worker;
        Ok(())
    }

    /// Worker: it was told to leave at once, by INT or QUIT. It runs in the worker's loop and not in a signal
    /// handler, so it may do anything; a call of the service on the main thread comes to its end before.
    fn worker_int(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// Worker: it was aborted (ABRT), by the arbiter since it made no progress, or by somebody else. It runs
    /// where [`worker_int`](Self::worker_int) does, so not in a worker that cannot be brought back to its loop:
    /// that one is killed a second later.
    fn worker_abort(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// Worker: a request is about to be given to the service. Requests that cannot be parsed never come here.
    ///
    /// # Errors
    ///
    /// The request is answered with 500, and the error logged.
    fn pre_request(&self, worker: &WorkerInfo, request: &Request<'_>) -> Result<()> {
        let _ = (worker, request);
        Ok(())
    }

    /// Worker: the service has returned. It follows every [`pre_request`](Self::pre_request), a failed one too.
    fn post_request(&self, worker: &WorkerInfo, request: &Head, answer: &RequestOutcome<'_>) {
        let _ = (worker, request, answer);
    }

    /// Arbiter: a worker has gone; `None` where somebody else has waited for it.
    fn child_exit(&self, server: &ServerInfo, worker: &WorkerInfo, status: Option<ExitStatus>) {
        let _ = (server, worker, status);
    }

    /// Worker: the last thing before its process ends, also where it has failed. A process that is killed, told
    /// to leave before it is ready, or ended by the application itself (`_exit(2)`) does not come here.
    fn worker_exit(&self, worker: &WorkerInfo) {
        let _ = worker;
    }

    /// Arbiter: the number of workers that there are to be has changed. The first call of all, with no number
    /// before it.
    fn nworkers_changed(&self, server: &ServerInfo, new: usize, old: Option<usize>) {
        let _ = (server, new, old);
    }

    /// The process that is about to become the next arbiter (`SIGUSR2`), forked but not yet the new program.
    fn pre_exec(&self, server: &ServerInfo) {
        let _ = server;
    }

    /// Arbiter: no worker is left, the pid file is gone, and the signals are the program's again.
    fn on_exit(&self, server: &ServerInfo) {
        let _ = server;
    }
}

/// The arbiter, as a hook in its process sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Its process id.
    pub pid: u32,
    /// How many workers there are to be.
    pub workers: usize,
    /// Where it listens.
    pub listeners: Vec<Address>,
    /// Tells it things, and tells of it.
    pub handle: Handle,
}

/// A worker, as a hook sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its number; a replacement has one of its own.
    pub id: u64,
    /// Its process id.
    pub pid: u32,
}

impl WorkerInfo {
    /// The worker of that number which this process is.
    fn here(id: u64) -> Self {
        let pid = process::id();
        Self { id, pid }
    }
}

/// A program's hooks, wherever they are called.
pub(crate) type Shared = Arc<dyn Hooks>;

/// Hooks, and the failure of one that is to end the start.
#[derive(Clone)]
pub(crate) struct Installed {
    pub(crate) hooks: Shared,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Installed {
    pub(crate) fn new(hooks: impl Hooks + 'static) -> Self {
        Self {
            hooks: Arc::new(hooks),
            failure: Arc::default(),
        }
    }

    /// Why the start was ended, if it was.
    pub(crate) fn take_failure(&self) -> Result<()> {
        let failure = self.failure.lock();
        let failure = failure.unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    /// The arbiter's side, for an arbiter that starts with so many workers.
    pub(crate) fn follow(&self, workers: usize, listeners: &Listeners, handle: Handle) -> Follower {
        Follower {
            installed: self.clone(),
            server: ServerInfo {
                pid: process::id(),
                workers,
                listeners: addresses(listeners),
                handle,
            },
        }
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// Calls the arbiter's hooks as its events come.
pub(crate) struct Follower {
    installed: Installed,
    server: ServerInfo,
}

impl Follower {
    pub(crate) fn follow(&mut self, event: &ArbiterEvent) {
        let hooks = Arc::clone(&self.installed.hooks);
        match event {
            // Gunicorn tells the number before anything else.
            ArbiterEvent::Starting => {
                let workers = self.server.workers;
                self.tell("nworkers_changed", |server| {
                    hooks.nworkers_changed(server, workers, None);
                });
                self.ask("on_starting", |server| hooks.on_starting(server));
            }
            ArbiterEvent::Started { listeners } => {
                self.server.listeners = addresses(listeners);
                self.ask("when_ready", |server| hooks.when_ready(server));
            }
            ArbiterEvent::Resized { from, to } => {
                self.server.workers = *to;
                if from.is_some() {
                    self.tell("nworkers_changed", |server| {
                        hooks.nworkers_changed(server, *to, *from);
                    });
                }
            }
            ArbiterEvent::Forking { id } => {
                self.tell("pre_fork", |server| hooks.pre_fork(server, *id));
            }
            ArbiterEvent::WorkerExited { id, pid, status } => self.tell("child_exit", |server| {
                let pid = pid.unsigned_abs();
                hooks.child_exit(server, &WorkerInfo { id: *id, pid }, *status);
            }),
            ArbiterEvent::Reloaded { listeners } => {
                self.server.listeners = addresses(listeners);
                self.tell("on_reload", |server| hooks.on_reload(server));
            }
            ArbiterEvent::Executing => self.tell("pre_exec", |server| hooks.pre_exec(server)),
            ArbiterEvent::Ended => self.tell("on_exit", |server| hooks.on_exit(server)),
            _ => {}
        }
    }

    /// A hook whose failure ends the start.
    fn ask(&self, name: &str, hook: impl FnOnce(&ServerInfo) -> Result<()>) {
        if let Err(error) = guard(name, || hook(&self.server)) {
            let failure = self.installed.failure.lock();
            failure
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
            self.server.handle.stop_now();
        }
    }

    /// A hook whose failure ends nothing.
    fn tell(&self, name: &str, hook: impl FnOnce(&ServerInfo)) {
        tell(name, || hook(&self.server));
    }
}

fn addresses(listeners: &Listeners) -> Vec<Address> {
    let listeners = listeners.iter();
    listeners.map(|listener| (&**listener).into()).collect()
}

/// Calls a hook whose failure ends nothing.
fn tell(name: &str, hook: impl FnOnce()) {
    let told = guard(name, || {
        hook();
        Ok(())
    });
    if let Err(error) = told {
        trace::error!("{error}");
    }
}

/// Calls a hook, and names it in what goes wrong.
fn guard(name: &str, hook: impl FnOnce() -> Result<()>) -> Result<()> {
    match catch_unwind(AssertUnwindSafe(hook)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let sentence = format!("the hook {name} failed: {error}");
            Err(Error::with_source(sentence, error))
        }
        Err(panic) => Err(Error::panicked(&format!("the hook {name}"), &*panic)),
    }
}
