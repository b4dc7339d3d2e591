//! [`WithCredentials`]: a worker with the rights of another user.
//!
//! Nothing of the worker's own runs before the change; what is called around it, a hook say, has the
//! arbiter's rights still.

use super::{Worker, WorkerContext, WorkerTemplate};
use crate::error::Result;
use crate::fork_outcome::ForkOutcome;
use crate::sys::user::Credentials;

/// Assumes credentials, and then works.
pub(crate) struct WithCredentials {
    worker: Box<dyn WorkerTemplate>,
    credentials: Credentials,
}

impl WithCredentials {
    pub(crate) fn new(worker: Box<dyn WorkerTemplate>, credentials: Credentials) -> Self {
        Self {
            worker,
            credentials,
        }
    }
}

impl Worker for WithCredentials {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        self.credentials.assume()?;
        self.worker.worker().run(context)
    }

    fn end(&mut self) {
        self.worker.worker().end();
    }
}

impl WorkerTemplate for WithCredentials {
    fn worker(&mut self) -> &mut dyn Worker {
        self
    }

    fn preload(&mut self) -> Result<()> {
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
