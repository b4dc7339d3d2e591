//! The parts of a server that a reload makes again: the service, its worker and the listeners.
//!
//! Nothing is put in force here. The arbiter tries the description that [`renew`] gives it.

use super::bound::Bound;
use super::prepared::Prepared;
use super::program::ReloadSource;
use super::sinks::Sinks;
use crate::arbiter::ArbiterBuilder;
use crate::config::{Setting, Settings};
use crate::control::Control;
use crate::error::Result;
use crate::hooks::{HookedMake, HookedWorker, Installed};
use crate::reactor::ErrorPage;
use crate::service::MakeService;
use crate::trace::warning;
use crate::worker::WorkerTemplate;

/// Makes a worker from a service's recipe and the settings.
pub(super) type Recipe<M> = fn(HookedMake<M>, &mut Prepared) -> Result<Box<dyn WorkerTemplate>>;

/// Gives the recipe of the service for each generation of workers.
pub(super) type Services<M> = Box<dyn FnMut(&Settings) -> Result<HookedMake<M>>>;

pub(super) fn fixed<M: MakeService + 'static>(make: M, hooks: Option<&Installed>) -> Services<M> {
    let make = HookedMake::new(make, hooks);
    Box::new(move |_| Ok(make.clone()))
}

/// A recipe for each generation, made from its settings.
pub(super) fn renewed<M: MakeService + 'static>(
    mut make: impl FnMut(&Settings) -> Result<M> + 'static,
    hooks: Option<&Installed>,
) -> Services<M> {
    let hooks = hooks.cloned();
    let mut last: Option<HookedMake<M>> = None;
    Box::new(move |settings| {
        let mut new = HookedMake::new(make(settings)?, hooks.as_ref());
        if let Some(former) = &last {
            new.succeed(former);
        }
        Ok(last.insert(new).clone())
    })
}

/// The arbiter that follows these settings.
pub(super) fn describe(
    worker: Box<dyn WorkerTemplate>,
    prepared: &Prepared,
    hooks: Option<&Installed>,
) -> ArbiterBuilder {
    let worker = HookedWorker {
        worker,
        hooks: hooks.cloned(),
        credentials: prepared.credentials.clone(),
    };
    ArbiterBuilder::following(Box::new(worker), &prepared.settings)
}

/// The settings of sockets beside the listeners, which are opened at the start alone.
const OF_THE_START: [&str; 4] = [
    "control_socket",
    "control_socket_mode",
    "control_socket_disable",
    "status_bind",
];

/// The values of the first settings and of the program that a reload keeps.
pub(super) struct Kept {
    pub(super) first: Settings,
    pub(super) hooks: Option<Installed>,
    pub(super) error_page: ErrorPage,
    pub(super) sinks: Sinks,
    /// Whether the program had the arbiter retire after an upgrade.
    pub(super) upgrade_retire: bool,
    pub(super) control: Option<Control>,
}

/// Warns of each setting that is another one than at the start, and will not be in force.
fn warn_of_what_stays(first: &Settings, new: &Settings) {
    let settings = OF_THE_START.into_iter().filter_map(Setting::named);
    for setting in settings.filter(|setting| setting.show(first) != setting.show(new)) {
        warning!(
            "{} has changed, and stays as it is until the next start",
            setting.name
        );
    }
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
        let mut prepared = Prepared::new(settings, &kept.error_page, &kept.sinks)?;
        let make = services(&prepared.settings)?;
        let worker = recipe(make, &mut prepared)?;
        if let Some(control) = &kept.control {
            control.read(&prepared.settings);
        }
        warn_of_what_stays(&kept.first, &prepared.settings);
        let listeners = known.open(&prepared.settings, prepared.opening())?;
        Ok(describe(worker, &prepared, kept.hooks.as_ref()).listeners(listeners))
    }
}
