//! What a server is made of once more when it reloads: a worker from a recipe, and listeners of which those
//! that stay are kept.
//!
//! Nothing is put in force here: the arbiter tries what this describes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::{Builder, Plan, Source};
use crate::arbiter::{self, Arbiter};
use crate::error::Result;
use crate::forked::Forked;
use crate::hooks::{HookedWorker, Installed, Watched};
use crate::net::{BindAddress, Listener, Listeners};
use crate::reactor::ErrorPage;
use crate::service::{MakeService, Site};
use crate::worker::{Worker, WorkerContext};

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

    fn make(&self, site: &Site<'_>) -> Result<M::Service> {
        self.0.borrow().make.make(site)
    }

    fn preload(&mut self) -> Result<()> {
        let inner = &mut *self.0.borrow_mut();
        if !inner.preloaded {
            inner.make.preload()?;
            inner.preloaded = true;
        }
        Ok(())
    }

    fn is_preloaded(&self) -> bool {
        self.0.borrow().make.is_preloaded()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> Forked) {
        self.0.borrow_mut().make.around_fork(fork);
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

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> Forked) {
        self.0.around_fork(fork);
    }
}

/// The arbiter that follows a plan.
pub(super) fn describe(worker: Box<dyn Worker>, plan: &Plan) -> arbiter::Builder<AnyWorker> {
    let jitter = plan.max_requests_jitter as u64;
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
    arbiter
}

/// Listeners, with the addresses by which a reload knows them again.
#[derive(Debug)]
pub(super) struct Bound {
    /// None where the listeners were open when they were given: those always stay.
    addresses: Vec<BindAddress>,
    listeners: Listeners,
}

impl Bound {
    pub(super) fn given(listeners: Listeners) -> Self {
        Self {
            addresses: Vec::new(),
            listeners,
        }
    }

    pub(super) fn open(addresses: Vec<BindAddress>, backlog: u32) -> Result<Self> {
        let listeners = Listeners::bind(&addresses, backlog)?;
        Ok(Self {
            addresses,
            listeners,
        })
    }

    pub(super) fn listeners(&self) -> &Listeners {
        &self.listeners
    }
}

/// Listeners that may be in force still: a socket is its holders', and closed when they have gone.
struct Known(Vec<(BindAddress, Weak<Listener>)>);

impl Known {
    fn new(bound: &Bound) -> Self {
        let listeners = bound.listeners.iter().map(Arc::downgrade);
        Self(bound.addresses.iter().cloned().zip(listeners).collect())
    }

    /// Opens those that are not open yet. Where one cannot be had, the new ones are closed again.
    fn open(&mut self, addresses: &[String], backlog: u32) -> Result<Listeners> {
        self.0.retain(|(_, listener)| listener.strong_count() > 0);
        let parsed: Result<Vec<BindAddress>, _> =
            addresses.iter().map(|text| text.parse()).collect();
        let mut all: Vec<Arc<Listener>> = Vec::new();
        let mut opened = Vec::new();
        for address in parsed? {
            let known = self.0.iter().find(|(known, _)| *known == address);
            let listener = match known.and_then(|(_, listener)| listener.upgrade()) {
                Some(listener) => listener,
                None => match Listener::bind(&address, backlog) {
                    Ok(listener) => {
                        let listener = Arc::new(listener);
                        opened.push((address, Arc::clone(&listener)));
                        listener
                    }
                    Err(error) => {
                        let opened = opened.into_iter().map(|(_, listener)| listener);
                        opened.collect::<Listeners>().unlink();
                        return Err(error.into());
                    }
                },
            };
            all.push(listener);
        }
        let opened = opened.iter();
        self.0
            .extend(opened.map(|(address, listener)| (address.clone(), Arc::downgrade(listener))));
        Ok(all.into_iter().collect())
    }
}

/// What the program itself gave, and no settings say.
pub(super) struct Kept {
    pub(super) hooks: Option<Installed>,
    pub(super) error_page: ErrorPage,
}

/// Describes the arbiter anew, from settings that are read again.
pub(super) fn renew<M: MakeService + 'static>(
    source: Source,
    kept: Kept,
    bound: &Bound,
    make: Shared<Watched<M>>,
    recipe: Recipe<M>,
) -> impl FnMut() -> Result<arbiter::Builder<AnyWorker>> + 'static {
    let Source(mut source) = source;
    let mut known = Known::new(bound);
    let were_given = bound.addresses.is_empty();
    move || {
        let settings = source()?;
        let mut plan = Builder::following(&settings)?.plan;
        plan.hooks.clone_from(&kept.hooks);
        plan.reactor.error_page = kept.error_page.clone();
        plan.reactor.check()?;
        let (_, worker) = recipe(make.clone(), &mut plan)?;
        let arbiter = describe(worker, &plan);
        if were_given {
            return Ok(arbiter);
        }
        let listeners = known.open(&settings.bind, settings.backlog)?;
        Ok(arbiter.listeners(listeners))
    }
}
