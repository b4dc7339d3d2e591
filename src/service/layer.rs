//! [`Layer`]: what stands between a server and a service, and [`Layered`], the recipe of both together.
//!
//! A recipe goes through unchanged but for the service that it makes.

use std::fmt;

use super::{MakeService, Releaser, Request, Responded, Responder, Service, ServiceContext};
use crate::error::{BoxError, Error, Result};
use crate::fork_outcome::ForkOutcome;

/// Makes a service of another one: middleware with a state of its own for each worker. [`MakeService::layer`] takes it.
///
/// For one that has no such state, [`MakeService::wrap`] and a closure are enough.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use oxicorn::service::{Layer, ServiceContext};
/// use oxicorn::{MakeService, Request, Responded, Responder, Result, Service};
///
/// struct CountCalls;
///
/// struct Counted<S> {
///     service: S,
///     calls: AtomicU64,
/// }
///
/// impl<S: Service> Layer<S> for CountCalls {
///     type Service = Counted<S>;
///
///     fn layer(&self, service: S, _: &ServiceContext<'_>) -> Result<Counted<S>> {
///         Ok(Counted { service, calls: AtomicU64::new(0) })
///     }
/// }
///
/// impl<S: Service> Service for Counted<S> {
///     fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
///         let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
///         self.service.call(request, reply.header("x-call", number.to_string()))
///     }
///
///     fn inner(&self) -> Option<&dyn Service> {
///         Some(&self.service)
///     }
/// }
///
/// let hello = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello\n");
/// let counted = hello.layer(CountCalls);
/// ```
pub trait Layer<S> {
    /// The service that is made. Its [`Service::inner`] is the other one.
    type Service: Service;

    /// Makes it: in the worker, on its main thread, after `inner`.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be made; the worker then never becomes ready.
    fn layer(&self, inner: S, context: &ServiceContext<'_>) -> Result<Self::Service>;
}

/// A recipe with a [`Layer`] on each service that it makes. Made by [`MakeService::layer`].
#[derive(Clone, Debug)]
pub struct Layered<M, L> {
    make: M,
    layer: L,
}

impl<M, L> Layered<M, L> {
    pub(super) fn new(make: M, layer: L) -> Self {
        Self { make, layer }
    }
}

impl<M: MakeService, L: Layer<M::Service>> MakeService for Layered<M, L> {
    type Service = L::Service;

    fn make(&self, context: &ServiceContext<'_>) -> Result<Self::Service> {
        self.layer.layer(self.make.make(context)?, context)
    }

    fn succeed(&mut self, former: &Self) {
        self.make.succeed(&former.make);
    }

    fn preload(&mut self) -> Result<()> {
        self.make.preload()
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        self.make.interrupter()
    }

    fn is_preloaded(&self) -> bool {
        self.make.is_preloaded()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.make.around_fork(fork);
    }

    fn unload(&mut self) {
        self.make.unload();
    }

    fn end(&self) {
        self.make.end();
    }

    fn releaser(&self) -> Option<Releaser> {
        self.make.releaser()
    }
}

/// The [`Layer`] of a closure. Made by [`MakeService::wrap`].
#[derive(Clone, Copy)]
pub struct Wrap<F>(pub(super) F);

/// A service with a closure in front of it. Made by [`MakeService::wrap`].
pub struct Wrapped<S, F> {
    service: S,
    middleware: F,
}

impl<S, F, E> Layer<S> for Wrap<F>
where
    S: Service,
    F: Fn(Request<'_>, Responder<'_>, Next<'_>) -> Result<Responded, E> + Clone,
    E: Into<BoxError>,
{
    type Service = Wrapped<S, F>;

    fn layer(&self, service: S, _: &ServiceContext<'_>) -> Result<Wrapped<S, F>> {
        Ok(Wrapped {
            service,
            middleware: self.0.clone(),
        })
    }
}

impl<S, F, E> Service for Wrapped<S, F>
where
    S: Service,
    F: Fn(Request<'_>, Responder<'_>, Next<'_>) -> Result<Responded, E>,
    E: Into<BoxError>,
{
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        (self.middleware)(request, reply, Next(&self.service)).map_err(Error::from_boxed)
    }

    fn inner(&self) -> Option<&dyn Service> {
        Some(&self.service)
    }
}

/// The service behind a middleware: it answers where the middleware does not.
#[derive(Clone, Copy)]
pub struct Next<'a>(&'a dyn Service);

impl Next<'_> {
    /// Has the request answered.
    ///
    /// # Errors
    ///
    /// Those of the service.
    pub fn call(self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        self.0.call(request, reply)
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

impl<F> fmt::Debug for Wrap<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrap")
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Wrapped<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wrapped").field(&self.service).finish()
    }
}
