//! A [`Service`] as a [`tower_service::Service`]: a WSGI application within axum, called by threads of its own, off the
//! asynchronous runtime.
//!
//! ```text
//!   runtime: PooledService ── call ──▶ a free thread: Service::call
//!               │   ▲                        │     ▲
//!       pieces of   └── head, blocks ────────┘     │ one piece, when it reads
//!       the request's body ────────────────────────┘
//! ```
//!
//! It knows no runtime: threads and tasks wake each other. Both directions are bounded: a thread that reads waits for the
//! client, and the runtime is asked for the next piece only then; a thread that writes waits while
//! [`BUFFERED`] bytes have not been taken.
//!
//! *Invariants*: no more calls run than there are threads, and a request whose call has no thread yet waits in
//! `poll_ready`; no thread holds Python's lock while it waits; when the client goes, each read and write of the call fails.

mod body;
mod call;
mod places;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Buf;
use crossbeam_channel::{Receiver as Jobs, Sender};
use http::{HeaderValue, StatusCode, header};

pub use self::body::{PooledBody, PooledFuture};
use self::call::{Call, Channel};
use self::places::{Place, PlaceRequest, Places};
use crate::error::{Error, Result};
use crate::h1::{Head, ParseError};
use crate::service::{
    Address, ConnectionInfo, MakeService, NoRuntime, Releaser, RequestInfo, Scheme, Service,
    ServiceContext, released,
};
use crate::sys::fork;
use crate::trace;
use crate::worker::threads;

/// How many bytes of a response wait for the client before the thread that writes them waits, too.
pub const BUFFERED: usize = 64 * 1024;

/// Threads that call a service for an asynchronous program.
///
/// Dropping it asks it to stop, and waits for nothing.
///
/// ```no_run
/// use std::time::Duration;
///
/// use oxicorn::interop::tower::ServicePool;
/// use oxicorn::wsgi::App;
///
/// let pool = ServicePool::start(App::new("shop.wsgi:application"), 8)?;
/// let legacy = pool.service().nested_at("/legacy");
/// // axum::Router::new().nest_service("/legacy", legacy), and when axum has ended:
/// # drop(legacy);
/// pool.stop(Duration::from_secs(30))?;
/// # Ok::<(), oxicorn::Error>(())
/// ```
#[must_use = "it stops when it is dropped"]
pub struct ServicePool {
    shared: Arc<Shared>,
    service: Arc<dyn Service + Send + Sync>,
    /// Says no more once the threads have ended.
    signs: Receiver<Arc<dyn Service + Send + Sync>>,
    thread: Option<JoinHandle<Result<()>>>,
    releaser: Option<Releaser>,
}

/// What the pool and its services share.
struct Shared {
    places: Places,
    /// Where calls go; `None` once the pool stops.
    calls: Mutex<Option<Sender<(Call, Place)>>>,
    running: Mutex<RunningCalls>,
}

/// The calls that run.
#[derive(Default)]
struct RunningCalls {
    /// By their addresses.
    calls: HashMap<usize, Arc<Channel>>,
    /// Whether they were cut off from their clients, as is each one that comes now.
    cut: bool,
}

impl ServicePool {
    /// Makes the service on a thread of its own, and starts `threads` threads that call it; at least one. Returns when
    /// they are there: call it before the runtime is started, or where blocking is allowed.
    ///
    /// For Python the program's interpreter serves. Without one, an interpreter is started on the pool's own thread, which
    /// becomes Python's main thread, as in [`Server::in_process`](crate::Server::in_process).
    ///
    /// # Errors
    ///
    /// A service that cannot be made, and threads that cannot be started.
    pub fn start<M>(make: M, threads: usize) -> Result<Self>
    where
        M: MakeService<Service: Send + Sync + 'static> + Send + 'static,
    {
        let threads = threads.max(1);
        fork::notice_children()?;
        let releaser = make.releaser();
        let (calls, jobs) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared {
            places: Places::new(threads),
            calls: Mutex::new(Some(calls)),
            running: Mutex::default(),
        });
        let (sender, mut signs) = mpsc::channel();
        let life = {
            let shared = Arc::clone(&shared);
            move || serve(&make, threads, &shared, &jobs, &sender)
        };
        let thread = thread::Builder::new().name("oxicorn".into()).spawn(life);
        let thread = thread.map_err(|error| Error::io("cannot start a thread", error))?;
        let ready = {
            let signs = &mut signs;
            released(releaser, move || signs.recv())
        };
        let Ok(service) = ready else {
            released(releaser, || join(thread))?;
            return Err(Error::boot("the pool has ended before it was ready"));
        };
        Ok(Self {
            shared,
            service,
            signs,
            thread: Some(thread),
            releaser,
        })
    }

    /// The service for the asynchronous side, of which there can be any number.
    #[must_use]
    pub fn service(&self) -> PooledService {
        PooledService {
            shared: Arc::clone(&self.shared),
            prefix: Arc::from(""),
            place_request: self.shared.places.request(),
            place: None,
        }
    }

    /// Takes no further call, which gets a 503, and waits until those that run have ended, `within` that time. Then clients
    /// are cut off, and calls are interrupted as far as that can be done; a call that cannot is waited for. Lets the service
    /// retire at last: `atexit` functions of an application run.
    ///
    /// To be called where blocking is allowed, when the asynchronous server has ended.
    ///
    /// # Errors
    ///
    /// What the threads failed with.
    pub fn stop(mut self, within: Duration) -> Result<()> {
        self.shared.close();
        let signs = &mut self.signs;
        let ended = released(self.releaser, move || signs.recv_timeout(within).map(drop));
        if ended == Err(RecvTimeoutError::Timeout) {
            let mut running = lock(&self.shared.running);
            running.cut = true;
            for call in running.calls.values() {
                call.leave();
            }
            drop(running);
            let service = Arc::clone(&self.service);
            released(self.releaser, move || service.interrupt());
        }
        let thread = self.thread.take();
        thread.map_or(Ok(()), |thread| released(self.releaser, || join(thread)))
    }
}

/// The life of the thread that makes the service, and waits for those that call it.
fn serve<M>(
    make: &M,
    threads: usize,
    shared: &Shared,
    jobs: &Jobs<(Call, Place)>,
    ready: &mpsc::Sender<Arc<dyn Service + Send + Sync>>,
) -> Result<()>
where
    M: MakeService<Service: Send + Sync + 'static>,
{
    let context = ServiceContext {
        threads,
        ..ServiceContext::new(&[])
    };
    let service = Arc::new(make.make(&context)?);
    let life = || {
        while let Ok((call, place)) = jobs.recv() {
            let (channel, mut running) = (call.channel(), lock(&shared.running));
            if running.cut {
                channel.leave();
            }
            let number = Arc::as_ptr(channel).addr();
            running.calls.insert(number, Arc::clone(channel));
            drop(running);
            call.run(&*service);
            lock(&shared.running).calls.remove(&number);
            drop(place);
        }
    };
    let begun = &mut || drop(ready.send(Arc::clone(&service) as _));
    let runtime = service.runtime().unwrap_or(&NoRuntime);
    let woken = &mut || {
        if let Err(error) = runtime.check_signals() {
            trace::error!("a signal handler of the application failed: {error}");
        }
    };
    match runtime.run_threads(threads, &life, begun, woken) {
        Some(outcome) => outcome?,
        None => threads::run(threads, &life, begun)?,
    }
    service.retire();
    Ok(())
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread
        .join()
        .unwrap_or_else(|panic| Err(Error::panicked("the pool", &*panic)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Has the threads end when they have no call left.
    fn close(&self) {
        drop(lock(&self.calls).take());
        self.places.open_for_all();
    }

    /// Hands a call to the threads, unless they end.
    fn send(&self, call: Call, place: Place) -> bool {
        let calls = lock(&self.calls);
        calls
            .as_ref()
            .is_some_and(|calls| calls.send((call, place)).is_ok())
    }
}

impl Drop for ServicePool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for ServicePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServicePool").finish_non_exhaustive()
    }
}

/// A [`tower_service::Service`] that a [`ServicePool`] answers.
///
/// It is ready when a thread is free, so what limits, sheds or times out in front of it works. Its error never comes: a call
/// that fails before its response has begun is a 500, and later its body ends with an error, so that the server cuts the
/// connection. Both are logged.
///
/// A request may have among its extensions a [`ConnectionInfo`], or else the [`SocketAddr`] of its client, and a
/// [`RequestInfo`]. Without them the client is [hidden](Address::Hidden), and the scheme is that of the URI, or `http`.
pub struct PooledService {
    shared: Arc<Shared>,
    prefix: Arc<str>,
    place_request: PlaceRequest,
    place: Option<Place>,
}

impl PooledService {
    /// Serves below `prefix` (`/legacy`), which a router has taken away from the target, as axum's `nest_service` does: the
    /// service has it as its [mount](crate::Request::mount), and a WSGI application in `SCRIPT_NAME`. It is written as in a
    /// target, with `%` where needed; a slash at its end does not count.
    ///
    /// With a router that hands on the target as it was sent, as axum's `route_service` and `fallback_service`, a WSGI
    /// application has [`App::script_name`](crate::wsgi::App::script_name) instead.
    #[must_use]
    pub fn nested_at(mut self, prefix: &str) -> Self {
        self.prefix = prefix.trim_end_matches('/').into();
        self
    }

    fn head(&self, parts: &http::request::Parts, chunked: bool) -> Result<Head, ParseError> {
        let mut fields = parts.headers.clone();
        if chunked {
            fields.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
        if parts.version > http::Version::HTTP_10
            && parts.uri.authority().is_none()
            && !fields.contains_key(header::HOST)
        {
            fields.insert(header::HOST, HeaderValue::from_static(""));
        }
        Head::try_from_fields(parts, &self.prefix, &fields)
    }
}

impl Clone for PooledService {
    /// Another one, which has to become ready by itself.
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            prefix: Arc::clone(&self.prefix),
            place_request: self.shared.places.request(),
            place: None,
        }
    }
}

impl<B> tower_service::Service<http::Request<B>> for PooledService
where
    B: http_body::Body<Data: Buf, Error: fmt::Display> + Send + 'static,
{
    type Response = http::Response<PooledBody>;
    type Error = Infallible;
    type Future = PooledFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.place.is_none() {
            let Poll::Ready(place) = self.place_request.poll(context) else {
                return Poll::Pending;
            };
            self.place = Some(place);
        }
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// Where it was not ready.
    fn call(&mut self, request: http::Request<B>) -> PooledFuture {
        let place = self.place.take();
        let place = place.expect("a service is called when poll_ready has returned Ready");
        let (parts, body) = request.into_parts();
        let known = parts.headers.contains_key(header::CONTENT_LENGTH)
            || parts.headers.contains_key(header::TRANSFER_ENCODING);
        let empty = body.is_end_stream() || body.size_hint().exact() == Some(0);
        let head = match self.head(&parts, !known && !empty) {
            Ok(head) => head,
            Err(error) => {
                return PooledFuture::answer(StatusCode::BAD_REQUEST, &format!("{error}\n"));
            }
        };
        let connection = parts.extensions.get::<ConnectionInfo>().cloned();
        let connection = connection.unwrap_or_else(|| {
            let peer = parts.extensions.get::<SocketAddr>().copied();
            ConnectionInfo::new(
                peer.map_or(Address::Hidden, Address::Ip),
                0,
                Address::Hidden,
            )
        });
        let info = parts.extensions.get::<RequestInfo>().cloned();
        let info = info.unwrap_or_else(|| {
            let scheme = match parts.uri.scheme_str() {
                Some("https") => Scheme::Https,
                _ => Scheme::Http,
            };
            RequestInfo::new(scheme, None)
        });
        let channel = Arc::new(Channel::default());
        let mounted = self.prefix.len();
        let call = Call::new(head, connection, info, mounted, empty, Arc::clone(&channel));
        if !self.shared.send(call, place) {
            return PooledFuture::answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "The application is stopping\n",
            );
        }
        PooledFuture::new(channel, (!empty).then(|| Box::pin(body) as _))
    }
}

impl fmt::Debug for PooledService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledService")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
