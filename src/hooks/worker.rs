//! [`HookedWorker`]: a worker with the hooks of its process around it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::catch::{call, call_logged};
use super::{Installed, WorkerInfo};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::worker::{Shutdown, Worker, WorkerContext, WorkerEvent, WorkerTemplate};

/// A worker, and the hooks.
pub(crate) struct HookedWorker {
    worker: Box<dyn WorkerTemplate>,
    installed: Installed,
}

impl HookedWorker {
    pub(crate) fn new(worker: Box<dyn WorkerTemplate>, installed: Installed) -> Self {
        Self { worker, installed }
    }
}

impl Worker for HookedWorker {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        let hooks = Arc::clone(&self.installed.hooks);
        let info = WorkerInfo::current(context.id());
        let observing = Arc::clone(&hooks);
        context.observe(move |event| match event {
            WorkerEvent::Asked(Shutdown::Quick) => {
                call_logged("worker_int", || observing.worker_int(&info));
            }
            WorkerEvent::Aborted => call_logged("worker_abort", || observing.worker_abort(&info)),
            WorkerEvent::Abandoned => call_logged("worker_exit", || observing.worker_exit(&info)),
            WorkerEvent::Ready | WorkerEvent::Asked(_) => {}
        });
        let end = call("post_fork", || hooks.post_fork(&info)).and_then(|()| {
            catch_unwind(AssertUnwindSafe(|| self.worker.worker().run(context)))
                .unwrap_or_else(|panic| Err(Error::panicked("the worker", &*panic)))
        });
        call_logged("worker_exit", || hooks.worker_exit(&info));
        end
    }

    fn end(&mut self) {
        self.worker.worker().end();
    }
}

impl WorkerTemplate for HookedWorker {
    fn worker(&mut self) -> &mut dyn Worker {
        self
    }

    fn preload(&mut self) -> Result<()> {
        // The failure of `on_starting`.
        self.installed.take_failure()?;
        self.worker.preload()
    }

    fn is_preloaded(&self) -> bool {
        self.worker.is_preloaded()
    }

    fn calls(&self) -> usize {
        self.worker.calls()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.worker.around_fork(fork);
    }

    fn unload(&mut self) {
        self.worker.unload();
    }
}
