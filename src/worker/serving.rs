//! What the workers that serve requests have in common.
//!
//! No loop and no thread is here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::WorkerContext;
use crate::error::{Error, Result};
use crate::h1::Head;
use crate::ipc::scoreboard::WorkerState;
use crate::ipc::worker_signal::WorkerSignal;
use crate::reactor::{Admit, Host};
use crate::reactor::{PendingRequest, Reactor};
use crate::service::{Address, MakeService, Service, ServiceContext, ServiceRuntime, Stacks};
use crate::sys::signal;
use crate::time::MonoTime;
use crate::trace;

/// How long an idle worker sleeps at the most: its heart beats once a turn.
const LONGEST_POLL: Duration = Duration::from_secs(1);
/// How often a worker with more connections than the others looks whether they have caught up.
const YIELD: Duration = Duration::from_millis(1);
/// For how long it leaves new connections to them.
const YIELD_LIMIT: Duration = Duration::from_millis(5);

/// How long this worker may wait in a turn.
pub(super) fn poll_timeout(context: &WorkerContext) -> Duration {
    context
        .beat_every()
        .map_or(LONGEST_POLL, |every| every.min(LONGEST_POLL))
}

/// The addresses that the worker listens on.
pub(super) fn addresses(context: &WorkerContext) -> Vec<Address> {
    context
        .listeners()
        .iter()
        .map(|listener| Address::from(&**listener))
        .collect()
}

/// Where a service is made that answers on `threads` threads.
fn service_context<'a>(
    context: &'a WorkerContext,
    listeners: &'a [Address],
    threads: usize,
) -> ServiceContext<'a> {
    ServiceContext {
        worker: context.id(),
        workers: context.workers(),
        threads,
        own_process: context.has_arbiter(),
        stacks: context.stacks().map(|(to, on)| Stacks { to, on }),
        ..ServiceContext::new(listeners)
    }
}

/// Has this worker leave at once: nobody is accepted, and what was accepted has a moment. To be called as often as
/// one likes.
pub(super) fn leave_in_haste(context: &WorkerContext, reactor: &mut Reactor) {
    context.slot().set_state(WorkerState::Draining);
    context.release_listeners();
    reactor.hasten(MonoTime::now(), context.last_words());
}

/// Makes the service, in the worker's own process only.
pub(super) fn make<M: MakeService>(
    make: &M,
    context: &WorkerContext,
    listeners: &[Address],
    threads: usize,
) -> Result<M::Service> {
    let service = make.make(&service_context(context, listeners, threads));
    context.exit_if_forked_child("the start", &service);
    service
}

/// Has the service run what signals have left for it. A child that it forks there and that comes back ends, before it
/// accepts or reads anything.
pub(super) fn heed(runtime: &dyn ServiceRuntime, context: &WorkerContext) {
    let outcome = runtime.check_signals();
    context.exit_if_forked_child("a signal handler", &outcome);
    if let Err(error) = outcome {
        trace::error!("a signal handler of the application failed: {error}");
    }
}

/// Has the recipe load what workers are to share. Who asks the process to leave asks for none of it.
pub(super) fn preload(make: &mut impl MakeService) -> Result<()> {
    signal::interruptible(make.interrupter(), WorkerSignal::Repeat.number(), || {
        // What came before this breaks nothing off.
        if signal::was_asked_to_leave() {
            return Err(Error::new("the server was told to stop before it"));
        }
        make.preload()
    })
}

/// Has the recipe end what it has loaded so.
pub(super) fn unload(make: &mut impl MakeService) {
    let repeat = WorkerSignal::Repeat.number();
    signal::interruptible(make.interrupter(), repeat, || make.unload());
}

/// Calls the service; whatever becomes of the call, the worker lives. A child that was forked in it does not.
pub(super) fn answer<S: Service>(
    service: &S,
    ready: &mut PendingRequest,
    host: &dyn Host,
    context: &WorkerContext,
) {
    let outcome = ready.answer(host, |request, reply| {
        let outcome = catch_unwind(AssertUnwindSafe(|| service.call(request, reply)))
            .unwrap_or_else(|panic| Err(Error::panicked("the service", &*panic)));
        context.exit_if_forked_child("a request", &outcome);
        outcome
    });
    let Err(error) = outcome else { return };
    let (method, target) = ready
        .head()
        .map_or(("?", "?"), |head| (head.method(), head.target()));
    if error.is_disconnected() || error.is_body() {
        trace::debug!("{method} {target}: {error}");
    } else {
        trace::error!(
            "Error handling request {method} {target}: {}",
            error.report()
        );
    }
}

/// How many of those who wait to be accepted are this worker's, if all workers take as many.
pub(super) fn share(context: &WorkerContext, waiting: usize) -> usize {
    if context.own_queue {
        waiting
    } else {
        waiting.div_ceil(context.workers().max(1))
    }
}

/// Leaves new connections to workers that have fewer, for a moment.
#[derive(Debug, Default)]
pub(super) struct AcceptDelay {
    /// Since when, in nanoseconds; 0 while it does not.
    since: AtomicU64,
}

impl AcceptDelay {
    /// May one more connection be accepted, as far as the other workers are concerned?
    pub(super) fn admit(&self, context: &WorkerContext, now: MonoTime, open: usize) -> Admit {
        if context.is_broken_off() {
            return Admit::Closed;
        }
        let least = context.least_loaded_other();
        let since = match self.since.load(Ordering::Relaxed) {
            0 => now,
            nanos => MonoTime::from_nanos(nanos),
        };
        let lighter = least.is_some_and(|least| open as u64 > u64::from(least));
        if !lighter || now.since(since) >= YIELD_LIMIT {
            self.since.store(0, Ordering::Relaxed);
            return Admit::Accept;
        }
        self.since.store(since.as_nanos(), Ordering::Relaxed);
        Admit::Later(YIELD)
    }
}

/// Tells once of header fields that were dropped for their names (`header_map`).
#[derive(Debug, Default)]
pub(super) struct DroppedHeaderNotice(AtomicBool);

impl DroppedHeaderNotice {
    pub(super) fn notice(&self, head: &Head) {
        if head.dropped() > 0 && !self.0.swap(true, Ordering::Relaxed) {
            trace::warning!(
                "a header field was dropped for the underscore in its name, since header_map is drop; \
                 later ones are not logged"
            );
        }
    }
}
