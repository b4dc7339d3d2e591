//! What a server is made of once more when it reloads: a worker from a recipe, and listeners.
//!
//! Nothing is put in force here: the arbiter tries what this describes.

use std::cell::RefCell;
use std::rc::Rc;

use super::bound::Bound;
use super::plan::{Plan, Source};
use crate::arbiter::{self, Arbiter};
use crate::error::Result;
use crate::fork_outcome::ForkOutcome;
use crate::hooks::{HookedWorker, Installed, Watched};
use crate::reactor::ErrorPage;
use crate::service::{MakeService, Releaser, ServiceContext};
use crate::worker::{WithCredentials, Worker, WorkerContext};

/// How a worker is made of a service's recipe and the plan; with the name of its class.
pub(super) type Recipe<M> =
    fn(Shared<Watched<M>>, &mut Plan) -> Result<(&'static str, Box<dyn Worker>)>;

/// A service's recipe for several workers, one after the other: it is loaded beforehand once at most.
#[derive(Debug)]
pub(super) struct Shared<M>(Rc<RefCell<Inner<M>>>);

#[derive(Debug)]
struct Inner<M> {
    make: M,
    preloaded: bool,
}

impl<M> Shared<M> {
    pub(super) fn new(make: M) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            make,
            preloaded: false,
        })))
    }
}

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<M: MakeService> MakeService for Shared<M> {
    type Service = M::Service;

    fn make(&self, context: &ServiceContext<'_>) -> Result<M::Service> {
        self.0.borrow().make.make(context)
    }

    fn preload(&mut self) -> Result<()> {
        let inner = &mut *self.0.borrow_mut();
        if !inner.preloaded {
            inner.make.preload()?;
            inner.preloaded = true;
        }
        Ok(())
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        self.0.borrow().make.interrupter()
    }

    fn is_preloaded(&self) -> bool {
        self.0.borrow().make.is_preloaded()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.0.borrow_mut().make.around_fork(fork);
    }

    fn unload(&mut self) {
        self.0.borrow_mut().make.unload();
    }

    fn end(&self) {
        self.0.borrow().make.end();
    }

    fn releaser(&self) -> Option<Releaser> {
        self.0.borrow().make.releaser()
    }
}

/// A worker of either class: a reload may change it.
pub(super) struct AnyWorker(Box<dyn Worker>);

impl Worker for AnyWorker {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        self.0.run(context)
    }

    fn preload(&mut self) -> Result<()> {
        self.0.preload()
    }

    fn is_preloaded(&self) -> bool {
        self.0.is_preloaded()
    }

    fn calls(&self) -> usize {
        self.0.calls()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.0.around_fork(fork);
    }

    fn unload(&mut self) {
        self.0.unload();
    }

    fn end(&mut self) {
        self.0.end();
    }
}

/// The arbiter that follows a plan.
pub(super) fn describe(worker: Box<dyn Worker>, plan: &Plan) -> arbiter::ArbiterBuilder<AnyWorker> {
    let jitter = plan.max_requests_jitter as u64;
    let worker = match &plan.credentials {
        Some(credentials) => Box::new(WithCredentials::new(worker, credentials.clone())),
        None => worker,
    };
    // Around it: `post_fork` has the arbiter's rights, as in Gunicorn.
    let worker = match &plan.hooks {
        Some(hooks) => Box::new(HookedWorker::new(worker, hooks.clone())),
        None => worker,
    };
    let mut arbiter = Arbiter::builder(AnyWorker(worker))
        .workers(plan.workers)
        .timeout(plan.timeout)
        .request_timeout(plan.reactor.request_timeout.unwrap_or_default())
        .graceful_timeout(plan.graceful_timeout)
        .boot_timeout(plan.boot_timeout)
        .upgrade_retire(plan.upgrade_retire)
        .max_requests(plan.max_requests as u64, jitter)
        .max_worker_age(plan.max_worker_age)
        .max_worker_memory(plan.max_worker_memory as u64);
    if let Some(path) = &plan.pidfile {
        arbiter = arbiter.pidfile(path);
    }
    if let Some(name) = &plan.name {
        arbiter = arbiter.name(name);
    }
    arbiter
}

/// What the program itself gave, and no settings say.
pub(super) struct Kept {
    pub(super) hooks: Option<Installed>,
    pub(super) retires: Option<bool>,
    pub(super) error_page: ErrorPage,
}

/// Describes the arbiter anew, from settings that are read again.
pub(super) fn renew<M: MakeService + 'static>(
    source: Source,
    kept: Kept,
    bound: &Bound,
    make: Shared<Watched<M>>,
    recipe: Recipe<M>,
) -> impl FnMut() -> Result<arbiter::ArbiterBuilder<AnyWorker>> + 'static {
    let Source(mut source) = source;
    let mut known = bound.known();
    move || {
        let settings = source()?;
        let mut plan = Plan::following(&settings)?;
        plan.hooks.clone_from(&kept.hooks);
        plan.upgrade_retire = kept.retires.unwrap_or(plan.upgrade_retire);
        plan.reactor.error_page = kept.error_page.clone();
        plan.reactor.check()?;
        let (_, worker) = recipe(make.clone(), &mut plan)?;
        let listeners = known.open(&settings.bind, plan.opening())?;
        Ok(describe(worker, &plan).listeners(listeners))
    }
}
