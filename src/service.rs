//! What a server calls: [`Service`], with the [`Request`] it gets and the [`Responder`] it answers with.
//!
//! Nothing here knows a socket, a worker or Python. A server hands out one [`Exchange`] a request; the
//! request's body and the responder share it.
//!
//! ```text
//!   Responder ── start, stream ──▶ BodyWriter ── finish ──▶ Responded
//!       └───────── text, send ──────────────────────────────▶
//! ```
//!
//! *Invariants*: a [`Responded`] exists only where exactly one complete response was given to the exchange.

mod body;
mod info;
mod responder;

use std::fs::File;
use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::fork_outcome::ForkOutcome;
use crate::h1::Head;
pub use body::{Body, OwnedBody};
pub use info::{Address, ConnectionInfo, Proxied, RequestInfo, Scheme};
pub use responder::{BodyWriter, Responded, Responder};

/// Something that answers requests.
///
/// Neither `Send` nor `Sync`: a worker that needs either asks for it. Every
/// `Fn(Request<'_>, Responder<'_>) -> Result<Responded>` is one.
pub trait Service {
    /// Answers one request. `Err` before the response was started is a 500; afterwards the connection is
    /// cut, so that the client cannot take what it got for the whole.
    ///
    /// # Errors
    ///
    /// Any error that the service has. It is logged, unless the client has gone.
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded>;

    /// The worker leaves, and no call will follow: the place to flush what waits. Called once, on the main
    /// thread; not where the worker is killed.
    fn retire(&self) {}

    /// The worker leaves at once: breaks off the calls that run in other threads, as far as that can be
    /// done; by default nothing. Waits for nothing but the [turn](Self::runtime).
    fn interrupt(&self) {}

    /// What breaks off the call that runs on the main thread, for a worker to call with the signal's number
    /// from within its handlers of INT and QUIT: so it must be async-signal-safe (`signal-safety(7)`), and do
    /// nothing where no call runs. A system call in which that thread waits is ended, also if it began right after the
    /// signal (EINTR, again and again for about twenty seconds). None by default.
    fn interrupter(&self) -> Option<fn(i32)> {
        None
    }

    /// The worker's process ends now, within calls that run in other threads and cannot be broken off: saves what
    /// can be saved, within a second. By default nothing.
    fn abandon(&self) {}

    /// What this service's runtime wants of the threads that call it; nothing by default.
    fn runtime(&self) -> &dyn ServiceRuntime {
        &NoRuntime
    }
}

impl<F: Fn(Request<'_>, Responder<'_>) -> Result<Responded>> Service for F {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        self(request, reply)
    }
}

/// Gives a closure the signature of a [`Service`], which type inference cannot find by itself.
pub fn service_fn<F: Fn(Request<'_>, Responder<'_>) -> Result<Responded>>(service: F) -> F {
    service
}

/// A recipe for a [`Service`], followed in each worker process.
///
/// A `Service` that is `Clone` is its own recipe.
pub trait MakeService {
    /// What is made.
    type Service: Service;

    /// Makes the service: in the worker, after the fork, on its main thread.
    ///
    /// # Errors
    ///
    /// Where the service cannot be made; the worker then never becomes ready.
    fn make(&self, context: &ServiceContext<'_>) -> Result<Self::Service>;

    /// Takes over from the recipe of the settings before: keeps what that one has loaded in this process and what no
    /// reload can change there. Called in the arbiter on a reload, before [`preload`](Self::preload). Does nothing by
    /// default.
    fn succeed(&mut self, former: &Self)
    where
        Self: Sized,
    {
        let _ = former;
    }

    /// Loads in the arbiter, before the first fork, what workers are to share.
    ///
    /// # Errors
    ///
    /// What cannot be loaded: it ends the start, or refuses the new settings of a reload.
    fn preload(&mut self) -> Result<()> {
        Ok(())
    }

    /// What breaks [`preload`](Self::preload) off, for an arbiter to call with the signal's number from within its
    /// handlers of TERM, INT and QUIT: so it must be async-signal-safe (`signal-safety(7)`). It is asked for right before
    /// `preload`, and before [`unload`](Self::unload). None by default.
    fn interrupter(&self) -> Option<fn(i32)> {
        None
    }

    /// Whether there is something that was loaded so: a worker that is made from it later has no newer one.
    fn is_preloaded(&self) -> bool {
        false
    }

    /// Forks a worker: must call `fork` exactly once, and may do what must be done around it.
    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        fork();
    }

    /// The arbiter ends, and no worker is left: ends what [`preload`](Self::preload) has begun, also where that has
    /// failed. The process goes on. What breaks `preload` off breaks this off, too.
    fn unload(&mut self) {}

    /// The last thing that is called in a worker's own process, after the service: ends what was begun for it. The
    /// process's status is fixed by then, its log is written, and it ends within two seconds, wherever it is.
    fn end(&self) {}

    /// What lets go of that which a service's threads need and the calling thread may hold ([`ServiceRuntime`]): a server
    /// waits within it, for threads or for signals. None by default.
    fn releaser(&self) -> Option<Releaser> {
        None
    }
}

/// Runs a block on this thread, without what others wait for: see [`MakeService::releaser`].
pub type Releaser = fn(&mut (dyn FnMut() + Send));

/// Runs `wait` as `releaser` says.
pub(crate) fn released<T: Send>(releaser: Option<Releaser>, wait: impl FnOnce() -> T + Send) -> T {
    let Some(releaser) = releaser else {
        return wait();
    };
    let (mut wait, mut outcome) = (Some(wait), None);
    releaser(&mut || outcome = wait.take().map(|wait| wait()));
    match (outcome, wait) {
        (Some(outcome), _) => outcome,
        (None, Some(wait)) => wait(),
        (None, None) => unreachable!("a block that was begun has ended"),
    }
}

impl<S: Service + Clone> MakeService for S {
    type Service = S;

    fn make(&self, _: &ServiceContext<'_>) -> Result<S> {
        Ok(self.clone())
    }
}

/// Makes a service with a closure, in each worker. Made by [`per_worker`].
#[derive(Clone, Copy, Debug)]
pub struct PerWorker<F>(F);

/// A recipe from a closure, for services that are not `Clone` or need to know their [`ServiceContext`].
pub fn per_worker<S: Service, F: Fn(&ServiceContext<'_>) -> Result<S>>(make: F) -> PerWorker<F> {
    PerWorker(make)
}

impl<S: Service, F: Fn(&ServiceContext<'_>) -> Result<S>> MakeService for PerWorker<F> {
    type Service = S;

    fn make(&self, context: &ServiceContext<'_>) -> Result<S> {
        (self.0)(context)
    }
}

/// The place where a service will run: [`ServiceContext::new`], and then what is different there.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServiceContext<'a> {
    /// Which of the server's workers this is; a replacement has a number of its own.
    pub worker: u64,
    /// How many worker processes the server is set to run.
    pub workers: usize,
    /// How many threads of one worker may call the service at once.
    pub threads: usize,
    /// The addresses that the server listens on; [`ConnectionInfo::listener`] is an index into them.
    pub listeners: &'a [Address],
    /// Whether this process is a worker's own, and ends with the service. Otherwise it is a program that goes on
    /// after the service.
    pub own_process: bool,
    /// How this process is asked what its threads are doing, if it is.
    pub stacks: Option<Stacks<'a>>,
}

impl<'a> ServiceContext<'a> {
    /// Worker 1 of 1, with one thread, in a program's process, without [`stacks`](Self::stacks).
    #[must_use]
    pub fn new(listeners: &'a [Address]) -> Self {
        Self {
            worker: 1,
            workers: 1,
            threads: 1,
            listeners,
            own_process: false,
            stacks: None,
        }
    }
}

/// A service in a language with stacks of its own writes those of all its threads when this process gets a
/// signal, also while a hung thread holds the [turn](Service::runtime).
#[derive(Clone, Copy, Debug)]
pub struct Stacks<'a> {
    /// The descriptor to write to. A service that writes later duplicates it.
    pub to: BorrowedFd<'a>,
    /// The signal's number.
    pub on: i32,
}

/// What a service's runtime is to the threads that call it: Python knows each of its threads, and runs the handlers
/// of signals on one of them alone.
///
/// The turn is what a thread must hold while it is in the service: Python's interpreter lock, or nothing. The
/// service takes it by itself, for as long as it needs it: its caller holds nothing, and may wait.
pub trait ServiceRuntime: Sync {
    /// Runs `life`, which spans the part of a thread's life in which it calls the service. To call it elsewhere is
    /// right, and slow where the runtime has to come to know the thread each time.
    fn enter(&self, life: &mut dyn FnMut()) {
        life();
    }

    /// Runs `life` on each of `count` threads that the runtime starts, as it starts its own; returns when all have
    /// ended. `begun` runs on this thread when all are there, and before `life` runs on any; `woken` runs on this
    /// thread whenever a signal may have come, which [`check_signals`](Self::check_signals) is to be told of.
    ///
    /// `None`, by default: the service does not mind which threads call it, and none was started.
    ///
    /// # Errors
    ///
    /// Where a thread cannot be started: `life` has not run then.
    fn run_threads(
        &self,
        count: usize,
        life: &(dyn Fn() + Sync),
        begun: &mut dyn FnMut(),
        woken: &mut dyn FnMut(),
    ) -> Option<Result<()>> {
        let _ = (count, life, begun, woken);
        None
    }

    /// Takes the turn for a moment, which shows that it can be had, and runs the handlers of signals that are due
    /// on this thread. To be called between waits: a signal may have come just before one, and not have ended it.
    ///
    /// # Errors
    ///
    /// What a signal handler of the application raised.
    fn check_signals(&self) -> Result<()> {
        Ok(())
    }
}

/// The [`ServiceRuntime`] of a service that needs none.
#[derive(Clone, Copy, Debug)]
pub struct NoRuntime;

impl ServiceRuntime for NoRuntime {}

/// One connection's current request and response, as a server offers it to a service.
///
/// The methods take `&self`, so that the body and the responder can be used side by side. An application of Python's
/// calls them without the interpreter's lock: they may wait, and what they want of Python they attach for.
pub trait Exchange {
    /// Starts the response. `headers` are the service's own; framing, `Server` and `Date` are the
    /// server's. `len` is the body's length where it is known and `headers` do not say it.
    ///
    /// Nothing needs to be sent before the first [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// A response that has begun already, a status or a header that cannot be sent, or a client that has gone.
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()>;

    /// Sends an interim response (RFC 9110 §15.2) at once, where the client understands it and the response
    /// has not begun; otherwise, and by default, does nothing.
    ///
    /// # Errors
    ///
    /// A status not within 102 to 199, or a header that cannot be sent.
    fn send_informational<'h>(
        &self,
        status: u16,
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let _ = (status, headers);
        Ok(())
    }

    /// Looks whether the client is still there: for a service that has nothing to write for now, and would not notice
    /// otherwise. By default it is.
    ///
    /// # Errors
    ///
    /// Where it has gone. One that has ended its output, and would still read, counts as gone here.
    fn look(&self) -> Result<()> {
        Ok(())
    }

    /// Sends a block of the body, or has it on its way when it returns.
    ///
    /// # Errors
    ///
    /// A client that has gone, or more bytes than the response's length.
    fn write(&self, bytes: &[u8]) -> Result<()>;

    /// Sends the last block, which may be empty, and ends the response.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write), or fewer bytes than the response's length.
    fn write_last(&self, bytes: &[u8]) -> Result<()>;

    /// Sends `len` bytes of `file` from `offset` on, and ends the response.
    ///
    /// # Errors
    ///
    /// Those of [`write_last`](Self::write_last), or a file that cannot be read so far.
    fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()>;

    /// Reads from a request body that is still arriving; 0 is its end.
    ///
    /// # Errors
    ///
    /// A client that has gone, is too slow, or sends what is no body.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;
}

/// A request: its head, its connection and its body.
#[derive(Debug)]
pub struct Request<'a> {
    head: &'a Head,
    connection: &'a ConnectionInfo,
    info: &'a RequestInfo,
    body: Body<'a>,
}

impl<'a> Request<'a> {
    /// Puts a request together, without a forwarder's facts; for servers and for tests.
    #[must_use]
    pub fn new(head: &'a Head, connection: &'a ConnectionInfo, body: Body<'a>) -> Self {
        Self {
            head,
            connection,
            info: RequestInfo::NONE,
            body,
        }
    }

    /// The same request, with a forwarder's facts.
    #[must_use]
    pub fn with_info(self, info: &'a RequestInfo) -> Self {
        Self { info, ..self }
    }

    /// The method as it was sent: `GET`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.head.method()
    }

    /// The path of the target as it was sent, not decoded, without the query: `/a%20b`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// The query of the target as it was sent, without the question mark; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &'a str {
        self.head.query()
    }

    /// The value of the first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.get(name)
    }

    /// The whole head.
    #[must_use]
    pub fn head(&self) -> &'a Head {
        self.head
    }

    /// The connection that it came on.
    #[must_use]
    pub fn connection(&self) -> &'a ConnectionInfo {
        self.connection
    }

    /// What is known of this request beside its connection.
    #[must_use]
    pub fn info(&self) -> &'a RequestInfo {
        self.info
    }

    /// The client: the one that a trusted forwarder names, else the connection's
    /// [peer](ConnectionInfo::peer).
    #[must_use]
    pub fn client(&self) -> &'a Address {
        self.info.client(self.connection)
    }

    /// The scheme that the client uses.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.info.scheme
    }

    /// The body, to read from.
    #[must_use]
    pub fn into_body(self) -> Body<'a> {
        self.body
    }

    /// All three parts.
    #[must_use]
    pub fn into_parts(self) -> (&'a Head, &'a ConnectionInfo, Body<'a>) {
        (self.head, self.connection, self.body)
    }
}
