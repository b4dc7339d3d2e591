//! [`Hooks`]: a program's own code at points of a server's life, in the process that has come to the point.
//!
//! No layer below knows hooks: those of the arbiter run on its [`ArbiterEvent`]s, and those
//! of a worker in wrappers around the worker, the service's recipe and the service.
//!
//! ```text
//!   arbiter: nworkers_changed ▶ on_starting ▶ when_ready ▶ pre_fork ─┐         ┌─▶ child_exit … ▶ on_exit
//!                                                     fork ──────────┤         │
//!   worker:                    post_fork ▶ post_worker_init ▶ (pre_request ▶ post_request)*
//!                                                     ▶ worker_int | worker_abort ▶ worker_exit
//!
//!   arbiter, on a reload:      on_reload ▶ nworkers_changed ▶ pre_fork …
//! ```
//!
//! *Invariants*: a hook that fails or panics has the effect that its documentation gives, and no other; without hooks a
//! request costs one comparison more.

mod arbiter;
mod catch;
mod request;
mod worker;

use std::fmt;
use std::process::{self, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use crate::arbiter::{ArbiterEvent, Handle};
use crate::error::{Error, Result};
use crate::h1::Head;
use crate::service::{Address, Request};
pub(crate) use arbiter::ArbiterHooks;
pub(crate) use request::HookedMake;
pub use request::RequestOutcome;
pub(crate) use worker::HookedWorker;

/// Code that a server calls at points of its life: Gunicorn's server hooks, under their names. Each does nothing by
/// default. They are given to [`ServerBuilder::hooks`](crate::ServerBuilder::hooks).
///
/// There is one object, and each worker has the copy of it that its fork made: a value that a hook stores in a worker is
/// seen in that worker only. The hooks around a request run on the thread that answers it, on several at once.
///
/// A hook must not block. The arbiter supervises nothing while a hook runs in it, and in a worker the thread that runs a
/// hook begins no request.
///
/// ```no_run
/// use oxicorn::{Hooks, Request, Responder, Result, Server};
/// use oxicorn::hooks::{ServerInfo, WorkerInfo};
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
#[expect(unused_variables, reason = "a hook does nothing by default")]
pub trait Hooks: Send + Sync {
    /// Arbiter: something has happened. The hook that belongs to the event is called after this.
    fn on_event(&self, server: &ServerInfo, event: &ArbiterEvent) {}

    /// Whether [`pre_request`](Self::pre_request) and [`post_request`](Self::post_request) are to be called. Without them
    /// requests pass by. Asked once in each worker.
    fn wants_requests(&self) -> bool {
        true
    }

    /// Arbiter: the start begins. The pid file is written, signals are not yet handled, and nothing is preloaded.
    ///
    /// # Errors
    ///
    /// An error ends the start: [`Server::serve`](crate::Server::serve) returns it.
    fn on_starting(&self, server: &ServerInfo) -> Result<()> {
        Ok(())
    }

    /// Arbiter: new settings are on trial, and their first worker is about to be forked.
    fn on_reload(&self, server: &ServerInfo) {}

    /// Arbiter: the listeners are open, and the first worker is about to be forked.
    ///
    /// This is the place to start threads of the arbiter's process: a metrics endpoint, a watcher. They need no
    /// [`allow_threads`](crate::ServerBuilder::allow_threads), which is about the threads that are there before. A reload
    /// and a replaced worker leave them running, and so does the end of the server. No worker has them: a fork copies the
    /// arbiter's thread alone (`fork(2)`). Every worker is forked while they run, so they must hold no lock that a worker
    /// takes: one that is held in the moment of the fork stays locked in that worker. The lock of the standard output is
    /// such a lock; glibc's allocator is not, as it is unlocked in the child. Descriptors that a thread has open are open
    /// in the workers too.
    ///
    /// # Errors
    ///
    /// An error ends the start: [`Server::serve`](crate::Server::serve) returns it.
    fn when_ready(&self, server: &ServerInfo) -> Result<()> {
        Ok(())
    }

    /// Arbiter: the worker with the number `id` is about to be forked.
    ///
    /// # Errors
    ///
    /// An error ends the start, with the exit status 255 as in Gunicorn; it is only logged once the server serves.
    fn pre_fork(&self, server: &ServerInfo, id: u64) -> Result<()> {
        Ok(())
    }

    /// Worker: the fork is done. The worker has its own signal handlers, and nothing is loaded.
    ///
    /// # Errors
    ///
    /// An error is a failed boot of the worker: exit status 3.
    fn post_fork(&self, worker: &WorkerInfo) -> Result<()> {
        Ok(())
    }

    /// Worker: the service is made, and the worker is about to take requests.
    ///
    /// # Errors
    ///
    /// An error is a failed boot of the worker: exit status 3.
    fn post_worker_init(&self, worker: &WorkerInfo) -> Result<()> {
        Ok(())
    }

    /// Worker: INT or QUIT has told it to leave at once. The hook runs in the worker's loop and not in a signal handler,
    /// so it may do anything. A call of the service on the main thread ends before.
    fn worker_int(&self, worker: &WorkerInfo) {}

    /// Worker: ABRT has arrived, from the arbiter because the worker made no progress, or from another process. The hook
    /// runs where [`worker_int`](Self::worker_int) does. A worker that does not return to its loop is killed a second
    /// later, without this hook.
    fn worker_abort(&self, worker: &WorkerInfo) {}

    /// Worker: a request is about to be given to the service. A request that cannot be parsed never comes here.
    ///
    /// # Errors
    ///
    /// An error is logged, and the request is answered with 500.
    fn pre_request(&self, worker: &WorkerInfo, request: &Request<'_>) -> Result<()> {
        Ok(())
    }

    /// Worker: the service has returned. The hook follows every [`pre_request`](Self::pre_request), also one that failed.
    fn post_request(&self, worker: &WorkerInfo, request: &Head, outcome: &RequestOutcome<'_>) {}

    /// Arbiter: a worker's process has ended. `status` is `None` where other code of the process has waited for it.
    fn child_exit(&self, server: &ServerInfo, worker: &WorkerInfo, status: Option<ExitStatus>) {}

    /// Worker: its process is about to end, also after a failure. The hook does not run in a process that is killed,
    /// stopped before it is ready, or ended by the application (`_exit(2)`).
    fn worker_exit(&self, worker: &WorkerInfo) {}

    /// Arbiter: the number of workers is set, at the start (`old` is `None`) and whenever it changes. It is the first
    /// hook of all.
    fn nworkers_changed(&self, server: &ServerInfo, new: usize, old: Option<usize>) {}

    /// The next arbiter's process (`SIGUSR2`): it is forked, and about to execute the new program.
    fn pre_exec(&self, server: &ServerInfo) {}

    /// Arbiter: no worker is left, the pid file is removed, and the program's signal handlers are restored.
    fn on_exit(&self, server: &ServerInfo) {}
}

/// The arbiter, for a hook that runs in its process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The process id of the arbiter.
    pub pid: i32,
    /// The number of workers that the server is set to run.
    pub workers: usize,
    /// The addresses that the server listens on.
    pub listeners: Vec<Address>,
    /// Controls the server.
    pub handle: Handle,
}

/// A worker, for a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// The number of the worker. A replacement has another one.
    pub id: u64,
    /// The process id of the worker.
    pub pid: i32,
}

impl WorkerInfo {
    fn current(id: u64) -> Self {
        let pid = own_pid();
        Self { id, pid }
    }
}

/// The process id of this process, of the type that all process ids have here.
fn own_pid() -> i32 {
    // The kernel's highest one is 2^22.
    i32::try_from(process::id()).unwrap_or(i32::MAX)
}

pub(crate) type SharedHooks = Arc<dyn Hooks>;

/// The hooks of a server, and the failure of one that ends the start.
#[derive(Clone)]
pub(crate) struct Installed {
    pub(crate) hooks: SharedHooks,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Installed {
    pub(crate) fn new(hooks: impl Hooks + 'static) -> Self {
        Self {
            hooks: Arc::new(hooks),
            failure: Arc::default(),
        }
    }

    fn fail(&self, error: Error) {
        let failure = self.failure.lock();
        failure
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }

    /// # Errors
    ///
    /// The failure that ends the start, if a hook has failed.
    pub(crate) fn take_failure(&self) -> Result<()> {
        let failure = self.failure.lock();
        let failure = failure.unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}
