//! A service in a worker: how it is made, called, and ended.
//!
//! No loop and no thread is here.

mod sampling;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::WorkerContext;
use crate::error::{Error, Result};
use crate::ipc::worker_signal::WorkerSignal;
use crate::reactor::{Host, PendingRequest};
use crate::service::{
    Address, MakeService, NoRuntime, SampleOrders, Service, ServiceContext, ServiceRuntime, Stacks,
};
use crate::sys::signal;
use crate::sys::thread_state::ThreadState;
use crate::trace;
use sampling::Sampling;

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
    sampling: Option<&'a Arc<dyn SampleOrders>>,
) -> ServiceContext<'a> {
    ServiceContext {
        worker: context.id(),
        workers: context.workers(),
        threads,
        own_process: context.has_arbiter(),
        stacks: context.stacks().map(|(to, on)| Stacks { to, on }),
        sampling,
        opaque_handle: context.opaque_handle(),
        ..ServiceContext::new(listeners)
    }
}

/// Makes the service, in the worker's own process only.
pub(super) fn make<M: MakeService>(
    make: &M,
    context: &WorkerContext,
    listeners: &[Address],
    threads: usize,
) -> Result<M::Service> {
    let sampling = context
        .profile()
        .map(|channel| -> Arc<dyn SampleOrders> { Arc::new(Sampling::new(Arc::clone(channel))) });
    let context_of_service = service_context(context, listeners, threads, sampling.as_ref());
    let service = make.make(&context_of_service);
    context.exit_if_forked_child("the start", &service);
    service
}

/// The runtime of the service.
pub(super) fn runtime(service: &impl Service) -> &dyn ServiceRuntime {
    service.runtime().unwrap_or(&NoRuntime)
}

/// Whether one more call would only wait for the turn: for a call that waits for it already, or for that of the `caller`,
/// which computes.
pub(super) fn would_queue(runtime: &dyn ServiceRuntime, caller: Option<ThreadState>) -> bool {
    let computes = |caller: ThreadState| !caller.is_asleep();
    runtime.is_exclusive() && (runtime.is_awaited() || caller.is_some_and(computes))
}

/// Has the service run the handlers of signals that came. A child that it forks there and that comes back ends, before it
/// accepts or reads anything.
pub(super) fn check_signals(runtime: &dyn ServiceRuntime, context: &WorkerContext) {
    let outcome = runtime.check_signals();
    context.exit_if_forked_child("a signal handler", &outcome);
    if let Err(error) = outcome {
        trace::error!("a signal handler of the application failed: {error}");
    }
}

/// Has the recipe load what workers are to share. A process that is asked to leave needs none of it.
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

/// Calls the service. The worker survives an error and a panic of the call; a child that was forked in it ends.
pub(super) fn answer<S: Service>(
    service: &S,
    ready: &mut PendingRequest,
    host: &dyn Host,
    context: &WorkerContext,
) {
    let _id = trace::of_request(ready.info().id.as_ref());
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
    if error.is_disconnected() || error.is_body() || error.is_bad_request() {
        trace::debug!("{method} {target}: {error}");
    } else {
        trace::error!(
            "Error handling request {method} {target}: {}",
            error.report()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exclusive {
        awaited: bool,
    }

    impl ServiceRuntime for Exclusive {
        fn is_exclusive(&self) -> bool {
            true
        }

        fn is_awaited(&self) -> bool {
            self.awaited
        }
    }

    #[test]
    fn calls_queue_where_one_at_a_time_computes() {
        let computing = ThreadState::of_this_thread();
        let [free, awaited] = [false, true].map(|awaited| Exclusive { awaited });
        assert!(would_queue(&free, Some(computing)));
        assert!(!would_queue(&free, None));
        assert!(would_queue(&awaited, None));
        assert!(!would_queue(&NoRuntime, Some(computing)));
    }
}
