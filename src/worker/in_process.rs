//! [`InProcessServer`]: a worker on threads of the program's own process, with a handle where others have an arbiter.
//!
//! It forks nothing, takes no signal, and supervises nothing: a call that hangs stays.
//!
//! ```text
//!   start ──▶ make the service ──▶ ready ──▶ InProcessServer ── stop ──▶ drain, for graceful_timeout at most ──▶ join
//!                   └─ Err                      └─ drop ──▶ drain
//! ```
//!
//! *Invariants*: when [`InProcessServer::stop`] or [`InProcessServer::join`] returns, no thread of the worker is left and its
//! sockets are closed, if the program keeps no clone; its socket files go as soon as it is asked to leave.

use std::fmt;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Shutdown, ShutdownHandle, WorkerContext, WorkerEvent, WorkerTemplate};
use crate::error::{Error, Result};
use crate::ipc::scoreboard::{Scoreboard, WorkerState};
use crate::ipc::totals::Totals;
use crate::net::Listeners;
use crate::service::{Address, Releaser, released};

/// A server that serves in threads of this process. Made by [`Server::in_process`](crate::Server::in_process).
///
/// Dropping it asks it to stop, and waits for nothing.
///
/// ```no_run
/// use oxicorn::service::service_fn;
///
/// fn main() -> oxicorn::Result<()> {
///     let hello = service_fn(|_, reply| reply.text(200, "hello\n"));
///     let running = oxicorn::Server::bind("127.0.0.1:0")?.build()?.in_process(hello)?;
///     println!("listening at {}", running.listeners()[0]);
///     running.stop()
/// }
/// ```
#[must_use = "it stops when it is dropped"]
pub struct InProcessServer {
    handle: InProcessServerHandle,
    listeners: Vec<Address>,
    graceful_timeout: Duration,
    /// Says no more once the worker has ended.
    signs: Receiver<()>,
    thread: Option<JoinHandle<Result<()>>>,
    /// What releases a lock that its threads may need while another thread waits for them.
    releaser: Option<Releaser>,
}

/// Tells a [`InProcessServer`] server to stop, and tells of it, from any thread.
#[derive(Clone, Debug)]
pub struct InProcessServerHandle {
    shutdown: ShutdownHandle,
    scoreboard: Arc<Scoreboard>,
}

/// What a [`InProcessServer`] server is doing. The numbers are read one by one: together they are no snapshot of one
/// moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InProcessServerStatus {
    /// What it does; [`WorkerState::Empty`] when it has ended.
    pub state: WorkerState,
    /// Its open connections.
    pub connections: u32,
    /// How many requests it has answered.
    pub requests: u64,
}

/// Runs a worker on a thread, and waits until it is ready.
pub(crate) fn start(
    mut worker: Box<dyn WorkerTemplate + Send>,
    listeners: Listeners,
    graceful_timeout: Duration,
    releaser: Option<Releaser>,
) -> Result<InProcessServer> {
    let addresses = listeners.iter().map(|listener| (&**listener).into());
    let addresses = addresses.collect();
    let context = Box::new(WorkerContext::within(
        listeners.for_queue(0)?,
        worker.calls(),
    )?);
    let handle = InProcessServerHandle {
        shutdown: context.shutdown_handle(),
        scoreboard: Arc::clone(&context.scoreboard),
    };
    let files = Arc::new(Files(Mutex::new(Some(listeners))));
    let (sender, mut signs) = mpsc::channel();
    let asked = Arc::clone(&files);
    context.observe(move |event| match event {
        // The receiver may have gone: then no thread waits.
        WorkerEvent::Ready => drop(sender.send(())),
        WorkerEvent::Asked(_) => asked.close(),
        WorkerEvent::Aborted | WorkerEvent::Abandoned => {}
    });
    let work = move || {
        // Also where the worker panics: the thread's end tells that.
        let _ended = Ended(&context, &files);
        worker.worker().run(&context)
    };
    let thread = thread::Builder::new().name("oxicorn".into()).spawn(work);
    let thread = thread.map_err(|error| Error::io("cannot start a thread", error))?;
    let heard = {
        let signs = &mut signs;
        released(releaser, move || signs.recv())
    };
    if heard.is_err() {
        released(releaser, || finish(thread))?;
        return Err(Error::boot("the worker has ended before it was ready"));
    }
    Ok(InProcessServer {
        handle,
        listeners: addresses,
        graceful_timeout,
        signs,
        thread: Some(thread),
        releaser,
    })
}

fn finish(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread
        .join()
        .unwrap_or_else(|panic| Err(Error::panicked("the worker", &*panic)))
}

/// The listeners, until their files are removed.
struct Files(Mutex<Option<Listeners>>);

/// The end of a worker, which shows it.
struct Ended<'a>(&'a WorkerContext, &'a Files);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let Self(context, files) = self;
        files.close();
        let slot = context.slot();
        slot.set_connections(0);
        slot.set_state(WorkerState::Empty);
    }
}

impl Files {
    fn close(&self) {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listeners) = listeners {
            listeners.unlink();
        }
    }
}

impl InProcessServer {
    /// What tells it to stop, from any thread.
    #[must_use]
    pub fn handle(&self) -> InProcessServerHandle {
        self.handle.clone()
    }

    /// Where it listens: with the port that the system chose, where it was to choose.
    #[must_use]
    pub fn listeners(&self) -> &[Address] {
        &self.listeners
    }

    /// Lets it finish what it has, for `graceful_timeout` at most, and waits for its end. What is in a call
    /// then cannot be ended, and is waited for.
    ///
    /// # Errors
    ///
    /// What the worker failed with.
    pub fn stop(mut self) -> Result<()> {
        self.handle.stop();
        let (signs, patience) = (&mut self.signs, self.graceful_timeout);
        if released(self.releaser, move || signs.recv_timeout(patience))
            == Err(RecvTimeoutError::Timeout)
        {
            self.handle.stop_now();
        }
        self.end()
    }

    /// Waits for its end, which a [handle](Self::handle) brings.
    ///
    /// # Errors
    ///
    /// What the worker failed with.
    pub fn join(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let thread = self.thread.take();
        thread.map_or(Ok(()), |thread| released(self.releaser, || finish(thread)))
    }
}

impl Drop for InProcessServer {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

impl fmt::Debug for InProcessServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessServer")
            .field("listeners", &self.listeners)
            .field("status", &self.handle.status())
            .finish_non_exhaustive()
    }
}

impl InProcessServerHandle {
    /// Asks it to take nothing new, finish what it has, and end. Waits for nothing.
    pub fn stop(&self) {
        self.shutdown.ask(Shutdown::Graceful);
    }

    /// Asks it to end at once: connections are closed, and the answers of calls that still run are lost.
    /// Waits for nothing.
    pub fn stop_now(&self) {
        self.shutdown.ask(Shutdown::Quick);
    }

    /// What it has done since its start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.scoreboard.counters().read()
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> InProcessServerStatus {
        let slot = self.scoreboard.slot(0);
        InProcessServerStatus {
            state: slot.state(),
            connections: slot.connections(),
            requests: slot.requests(),
        }
    }
}
