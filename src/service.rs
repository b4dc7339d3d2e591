//! The interface between a server and a program: [`Service`], with the [`Request`] it gets and the [`Responder`] it
//! answers with.
//!
//! Nothing here knows a socket, a worker or Python. A server hands out one [`Exchange`] a request; the
//! request's body and the responder share it.
//!
//! ```text
//!   Responder ── start, stream ──▶ BodyWriter ── finish ──▶ Responded
//!       └───────── text, send ──────────────────────────────▶
//! ```
//!
//! A [`Layer`] stands between a server and a service: its service names the one behind it ([`Service::inner`]), and so
//! keeps what that one needs of its worker. [`MakeService::wrap`] makes one of a closure, [`Router`] has several
//! services behind it.
//!
//! *Invariants*: a [`Responded`] exists only where exactly one complete response was given to the exchange.

mod body;
mod context;
mod files;
mod info;
mod layer;
mod request;
mod responder;
mod router;
mod runtime;
pub(crate) mod trace_parent;
mod upgraded;

use std::fs::File;

use crate::error::{BoxError, Error, Kind, Result};
use crate::fork_outcome::ForkOutcome;
pub use body::{Body, OwnedBody};
/// The crate whose types hold bodies and blocks, in the version that this crate uses.
pub use bytes;
pub use context::{SampleOrders, ServiceContext, Stacks};
pub use files::Files;
pub use info::{Address, ClientCertificate, ConnectionInfo, Proxied, RequestInfo, Scheme, TlsInfo};
pub use layer::{Layer, Layered, Next, Wrap, Wrapped};
pub use request::Request;
pub use responder::{BodyWriter, Responded, Responder};
pub use router::{Routed, Router};
pub(crate) use runtime::NoRuntime;
pub use runtime::{ServiceRuntime, TurnTimes};
pub use upgraded::Upgraded;

/// Something that answers requests.
///
/// Neither `Send` nor `Sync`: a worker that needs either asks for it. Every
/// `Fn(Request<'_>, Responder<'_>) -> Result<Responded, E>` is one, with any error that becomes a boxed
/// [`std::error::Error`], as those of `anyhow` do: [`Error::from_boxed`].
///
/// ```
/// use oxicorn::{Request, Responded, Responder};
///
/// fn double(request: Request<'_>, reply: Responder<'_>) -> Result<Responded, Box<dyn std::error::Error + Send + Sync>> {
///     let number: u32 = request.query().parse()?;
///     Ok(reply.text(200, format!("{}\n", 2 * number))?)
/// }
/// # oxicorn::testing::Recorder::new(); let _: &dyn oxicorn::Service = &double;
/// ```
///
/// A service of your own around another one has two methods: [`call`](Self::call), and [`inner`](Self::inner), which all
/// others ask by default.
pub trait Service {
    /// Answers one request. `Err` before the response was started is a 500; afterwards the connection is
    /// cut, so that the client cannot take what it got for the whole.
    ///
    /// # Errors
    ///
    /// Any error that the service has. It is logged, unless the client has gone.
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded>;

    /// The service that this one stands in front of, to which all methods below go by default; none by default.
    fn inner(&self) -> Option<&dyn Service> {
        None
    }

    /// The worker leaves, and no call will follow: the place to flush what waits. Called once, on the main
    /// thread; not where the worker is killed.
    fn retire(&self) {
        if let Some(inner) = self.inner() {
            inner.retire();
        }
    }

    /// The worker leaves at once: breaks off the calls that run in other threads, as far as that can be
    /// done. Waits for nothing but the [turn](Self::runtime).
    fn interrupt(&self) {
        if let Some(inner) = self.inner() {
            inner.interrupt();
        }
    }

    /// Returns the function that breaks off the call on the main thread. A worker calls it with the signal's number
    /// from within its handlers of INT and QUIT: so it must be async-signal-safe (`signal-safety(7)`), and do nothing
    /// where no call runs. A system call in which that thread waits is ended, also if it began right after the signal
    /// (EINTR, again and again for about twenty seconds).
    fn interrupter(&self) -> Option<fn(i32)> {
        self.inner()?.interrupter()
    }

    /// The worker's process ends now, within calls that run in other threads and cannot be broken off: saves what
    /// can be saved, within a second.
    fn abandon(&self) {
        if let Some(inner) = self.inner() {
            inner.abandon();
        }
    }

    /// Returns the runtime of this service, if its runtime wants something of the threads that call it.
    fn runtime(&self) -> Option<&dyn ServiceRuntime> {
        self.inner()?.runtime()
    }
}

impl<F, E> Service for F
where
    F: Fn(Request<'_>, Responder<'_>) -> Result<Responded, E>,
    E: Into<BoxError>,
{
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        self(request, reply).map_err(Error::from_boxed)
    }
}

/// Gives a closure the signature of a [`Service`], which type inference cannot find by itself.
pub fn service_fn<F, E>(service: F) -> F
where
    F: Fn(Request<'_>, Responder<'_>) -> Result<Responded, E>,
{
    service
}

/// A recipe for a [`Service`], followed in each worker process.
///
/// A `Service` that is `Clone` is its own recipe.
///
/// ```
/// use oxicorn::service::ServiceContext;
/// use oxicorn::{MakeService, Request, Responded, Responder, Result, Service};
///
/// /// A service with a table that each worker reads for itself.
/// struct Words;
///
/// struct Dictionary(Vec<&'static str>);
///
/// impl MakeService for Words {
///     type Service = Dictionary;
///
///     fn make(&self, _: &ServiceContext<'_>) -> Result<Dictionary> {
///         Ok(Dictionary(vec!["arbiter", "worker"]))
///     }
/// }
///
/// impl Service for Dictionary {
///     fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
///         let word = request.path().trim_start_matches('/');
///         reply.status(if self.0.contains(&word) { 204 } else { 404 })
///     }
/// }
///
/// let client = oxicorn::testing::Client::new(Words)?;
/// assert_eq!(client.get("/worker").send().status(), 204);
/// # Ok::<(), oxicorn::Error>(())
/// ```
pub trait MakeService {
    /// The service that is made.
    type Service: Service;

    /// Makes the service: in the worker, after the fork, on its main thread.
    ///
    /// # Errors
    ///
    /// Fails if the service cannot be made; the worker then never becomes ready.
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
    /// Fails if it cannot be loaded. The error ends the start, or refuses the new settings of a reload.
    fn preload(&mut self) -> Result<()> {
        Ok(())
    }

    /// Returns the function that breaks [`preload`](Self::preload) off. An arbiter calls it with the signal's number
    /// from within its handlers of TERM, INT and QUIT: so it must be async-signal-safe (`signal-safety(7)`). The
    /// arbiter asks for it right before `preload`, and before [`unload`](Self::unload). None by default.
    fn interrupter(&self) -> Option<fn(i32)> {
        None
    }

    /// Tells whether there is something that was loaded so: a worker that is made from it later has no newer one.
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

    /// Returns the function that releases what a service's threads need and the calling thread may hold
    /// ([`ServiceRuntime`]): a server waits within it, for threads or for signals. None by default.
    fn releaser(&self) -> Option<Releaser> {
        None
    }

    /// Has `middleware` stand in front of each service that is made. It decides whether the request goes on
    /// ([`Next::call`]), and with what; the service keeps its runtime, its interrupts, its preloading and its end.
    ///
    /// ```
    /// use oxicorn::MakeService;
    /// use oxicorn::service::Router;
    ///
    /// let site = Router::new().wrap(|request, reply, next| match request.header("authorization") {
    ///     Some(b"Bearer s3cr3t") => next.call(request, reply.header("cache-control", "private")),
    ///     _ => reply.header("www-authenticate", "Bearer").status(401),
    /// });
    /// ```
    fn wrap<F, E>(self, middleware: F) -> Layered<Self, Wrap<F>>
    where
        Self: Sized,
        F: Fn(Request<'_>, Responder<'_>, Next<'_>) -> Result<Responded, E> + Clone,
        E: Into<BoxError>,
    {
        self.layer(Wrap(middleware))
    }

    /// Has `layer` make another service of each one that is made.
    fn layer<L: Layer<Self::Service>>(self, layer: L) -> Layered<Self, L>
    where
        Self: Sized,
    {
        Layered::new(self, layer)
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
///
/// ```
/// use oxicorn::service::{per_worker, service_fn};
///
/// let make = per_worker(|context| {
///     let worker = context.worker;
///     Ok(service_fn(move |_, reply| reply.text(200, format!("worker {worker}"))))
/// });
/// let client = oxicorn::testing::Client::new(make)?;
/// assert_eq!(client.get("/").send().text(), "worker 1");
/// # Ok::<(), oxicorn::Error>(())
/// ```
pub fn per_worker<S: Service, F: Fn(&ServiceContext<'_>) -> Result<S>>(make: F) -> PerWorker<F> {
    PerWorker(make)
}

impl<S: Service, F: Fn(&ServiceContext<'_>) -> Result<S>> MakeService for PerWorker<F> {
    type Service = S;

    fn make(&self, context: &ServiceContext<'_>) -> Result<S> {
        (self.0)(context)
    }
}

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

    /// Keeps a variable of the request for its record, such as a value of a WSGI environ. By default it is dropped.
    fn record_variable(&self, _name: &str, _value: &[u8]) {}

    /// Looks whether the client is still there: for a service that has nothing to write for now, and would not notice
    /// otherwise. By default it is.
    ///
    /// # Errors
    ///
    /// Fails if the client has gone. A client that has ended its output, and would still read, counts as gone here.
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

    /// Whether [`take_over`](Self::take_over) can give the connection, or why it never can. By default there is none.
    ///
    /// # Errors
    ///
    /// The reason, for a log line.
    fn may_take_over(&self) -> Result<(), &'static str> {
        Err("there is no socket")
    }

    /// Takes the connection over, to go on in another protocol (RFC 9110 §7.8): the socket is the call's, and its server
    /// reads, writes and ends nothing of it while the call runs, except where the worker leaves. The call gives no other
    /// response. With `switching`, a 101 with these fields is sent before.
    ///
    /// # Errors
    ///
    /// Where it [may not be](Self::may_take_over) taken over, the response has begun, or some of the request's body was
    /// not read; a field that cannot be sent, a client that has gone, and a lack of descriptors.
    fn take_over<'h>(
        &self,
        switching: Option<&mut dyn Iterator<Item = (&'h [u8], &'h [u8])>>,
    ) -> Result<Upgraded> {
        let _ = switching;
        let reason = self.may_take_over().err().unwrap_or_default();
        Err(Error::of(
            Kind::Response,
            format!("the connection cannot be taken over: {reason}"),
        ))
    }
}
