//! The parts of a server that a reload makes again: the service, its worker and the listeners.
//!
//! Nothing is put in force here. The arbiter tries the description that [`renew`] gives it.

use std::cell::RefCell;
use std::rc::Rc;

use super::bound::Bound;
use super::prepared::Prepared;
use super::program::ReloadSource;
use crate::arbiter::ArbiterBuilder;
use crate::config::Settings;
use crate::error::Result;
use crate::fork_outcome::ForkOutcome;
use crate::hooks::{HookedMake, HookedWorker, Installed};
use crate::reactor::ErrorPage;
use crate::service::{MakeService, Releaser, ServiceContext};
use crate::worker::{WithCredentials, WorkerTemplate};

/// Makes a worker from a service's recipe and the settings.
pub(super) type Recipe<M> =
    fn(SharedRecipe<HookedMake<M>>, &mut Prepared) -> Result<Box<dyn WorkerTemplate>>;

/// Gives the recipe of the service for each generation of workers.
pub(super) type Services<M> = Box<dyn FnMut(&Settings) -> Result<SharedRecipe<HookedMake<M>>>>;

/// The same recipe for every generation.
pub(super) fn fixed<M: MakeService + 'static>(make: M, hooks: Option<&Installed>) -> Services<M> {
    let make = SharedRecipe::new(HookedMake::new(
        make,
        hooks.map(|hooks| hooks.hooks.clone()),
    ));
    Box::new(move |_| Ok(make.clone()))
}

/// A recipe for each generation, made from its settings.
pub(super) fn renewed<M: MakeService + 'static>(
    mut make: impl FnMut(&Settings) -> Result<M> + 'static,
    hooks: Option<&Installed>,
) -> Services<M> {
    let hooks = hooks.map(|hooks| hooks.hooks.clone());
    let mut last: Option<SharedRecipe<HookedMake<M>>> = None;
    Box::new(move |settings| {
        let mut new = HookedMake::new(make(settings)?, hooks.clone());
        if let Some(former) = &last {
            new.succeed(&former.0.borrow().make);
        }
        Ok(last.insert(SharedRecipe::new(new)).clone())
    })
}

/// A service's recipe that several generations of workers share. It is preloaded at most once.
#[derive(Debug)]
pub(super) struct SharedRecipe<M>(Rc<RefCell<Inner<M>>>);

#[derive(Debug)]
struct Inner<M> {
    make: M,
    preloaded: bool,
}

impl<M> SharedRecipe<M> {
    pub(super) fn new(make: M) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            make,
            preloaded: false,
        })))
    }
}

impl<M> Clone for SharedRecipe<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<M: MakeService> MakeService for SharedRecipe<M> {
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

/// The arbiter that follows these settings.
pub(super) fn describe(
    worker: Box<dyn WorkerTemplate>,
    prepared: &Prepared,
    hooks: Option<&Installed>,
) -> ArbiterBuilder {
    let worker = match &prepared.credentials {
        Some(credentials) => Box::new(WithCredentials::new(worker, credentials.clone())),
        None => worker,
    };
    // Around it: `post_fork` has the arbiter's rights, as in Gunicorn.
    let worker = match hooks {
        Some(hooks) => Box::new(HookedWorker::new(worker, hooks.clone())),
        None => worker,
    };
    prepared.arbiter(worker)
}

/// The values of the first settings and of the program that a reload keeps.
pub(super) struct Kept {
    pub(super) hooks: Option<Installed>,
    pub(super) error_page: ErrorPage,
    /// Whether the program had the arbiter retire after an upgrade.
    pub(super) upgrade_retire: bool,
}

/// Describes the arbiter anew, from settings that are read again.
pub(super) fn renew<M: MakeService + 'static>(
    mut source: ReloadSource,
    kept: Kept,
    bound: &Bound,
    mut services: Services<M>,
    recipe: Recipe<M>,
) -> impl FnMut() -> Result<ArbiterBuilder> + 'static {
    let mut known = bound.known();
    move || {
        let mut settings = source()?;
        if settings.is_default("upgrade_retire") {
            settings.upgrade_retire = kept.upgrade_retire;
        }
        let mut prepared = Prepared::new(settings, &kept.error_page)?;
        let make = services(&prepared.settings)?;
        let worker = recipe(make, &mut prepared)?;
        let listeners = known.open(&prepared.settings, prepared.opening())?;
        Ok(describe(worker, &prepared, kept.hooks.as_ref()).listeners(listeners))
    }
}
