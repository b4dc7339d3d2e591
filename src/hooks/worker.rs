//! [`HookedWorker`]: a worker with the hooks of its process around it, and with the rights of another user.
//!
//! What is called around the change of the user, a hook say, has the arbiter's rights still, as in Gunicorn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::catch::{call, call_logged};
use super::{Installed, WorkerInfo};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::sys::user::Credentials;
use crate::worker::{Shutdown, Worker, WorkerContext, WorkerEvent, WorkerTemplate};

/// A worker, the hooks if there are any, and the user that it becomes if that is another one.
pub(crate) struct HookedWorker {
    pub(crate) worker: Box<dyn WorkerTemplate>,
    pub(crate) hooks: Option<Installed>,
    pub(crate) credentials: Option<Credentials>,
}

impl HookedWorker {
    /// Nothing of the worker's own runs before the change of the user.
    fn work(&mut self, context: &WorkerContext) -> Result<()> {
        if let Some(credentials) = &self.credentials {
            credentials.assume()?;
        }
        self.worker.worker().run(context)
    }
}

impl Worker for HookedWorker {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        let Some(installed) = &self.hooks else {
            return self.work(context);
        };
        let hooks = Arc::clone(&installed.hooks);
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
            catch_unwind(AssertUnwindSafe(|| self.work(context)))
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
        self.hooks
            .as_ref()
            .map_or(Ok(()), Installed::take_failure)?;
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
