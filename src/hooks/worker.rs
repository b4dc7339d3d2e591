//! [`HookedWorker`]: a worker with the hooks of its process around it.
//!
//! It does no work of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Installed, WorkerInfo, guard, tell};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::worker::{Shutdown, Worker, WorkerContext, WorkerEvent, WorkerTemplate};

/// A worker that is hooked.
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
        let here = WorkerInfo::here(context.id());
        let watcher = Arc::clone(&hooks);
        context.observe(move |event| match event {
            WorkerEvent::Asked(Shutdown::Quick) => tell("worker_int", || watcher.worker_int(&here)),
            WorkerEvent::Aborted => tell("worker_abort", || watcher.worker_abort(&here)),
            WorkerEvent::Abandoned => tell("worker_exit", || watcher.worker_exit(&here)),
            WorkerEvent::Ready | WorkerEvent::Asked(_) => {}
        });
        let end = guard("post_fork", || hooks.post_fork(&here)).and_then(|()| {
            catch_unwind(AssertUnwindSafe(|| self.worker.worker().run(context)))
                .unwrap_or_else(|panic| Err(Error::panicked("the worker", &*panic)))
        });
        tell("worker_exit", || hooks.worker_exit(&here));
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
        // What `on_starting` has failed with.
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
