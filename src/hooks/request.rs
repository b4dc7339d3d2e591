//! [`Watched`]: a recipe, and its service, with the hooks around each request.
//!
//! It changes nothing of what the service gets and gives.

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Shared, WorkerInfo, guard, tell};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::service::{
    Exchange, MakeService, Releaser, Request, Responded, Responder, Service, ServiceContext,
    ServiceRuntime,
};

/// What became of a request, for [`Hooks::post_request`](super::Hooks::post_request).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestOutcome<'a> {
    /// The status that the service gave; `None` where it gave none, and a failure is answered with 500.
    pub status: Option<u16>,
    /// How many bytes of the body the service gave.
    pub sent: u64,
    /// What the service, or [`pre_request`](super::Hooks::pre_request), failed with.
    pub error: Option<&'a Error>,
}

/// A recipe for services with hooks around their requests, if there are any.
pub(crate) struct Watched<M> {
    make: M,
    hooks: Option<Shared>,
}

/// What it makes.
pub(crate) struct WatchedService<S> {
    service: S,
    hooks: Option<Shared>,
    worker: WorkerInfo,
}

impl<M> Watched<M> {
    pub(crate) fn new(make: M, hooks: Option<Shared>) -> Self {
        Self { make, hooks }
    }
}

impl<M: MakeService> MakeService for Watched<M> {
    type Service = WatchedService<M::Service>;

    fn make(&self, context: &ServiceContext<'_>) -> Result<Self::Service> {
        let service = self.make.make(context)?;
        let worker = WorkerInfo::here(context.worker);
        if let Some(hooks) = &self.hooks {
            guard("post_worker_init", || hooks.post_worker_init(&worker))?;
        }
        Ok(WatchedService {
            service,
            hooks: self.hooks.clone(),
            worker,
        })
    }

    fn succeed(&mut self, former: &Self) {
        self.make.succeed(&former.make);
    }

    fn preload(&mut self) -> Result<()> {
        self.make.preload()
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        self.make.interrupter()
    }

    fn is_preloaded(&self) -> bool {
        self.make.is_preloaded()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.make.around_fork(fork);
    }

    fn unload(&mut self) {
        self.make.unload();
    }

    fn end(&self) {
        self.make.end();
    }

    fn releaser(&self) -> Option<Releaser> {
        self.make.releaser()
    }
}

impl<S: Service> Service for WatchedService<S> {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        let Some(hooks) = &self.hooks else {
            return self.service.call(request, reply);
        };
        let info = request.info();
        let (head, connection, body) = request.into_parts();
        let witness = Witness::new(reply.into_exchange());
        let request = Request::new(head, connection, body).with_info(info);
        let outcome =
            guard("pre_request", || hooks.pre_request(&self.worker, &request)).and_then(|()| {
                let reply = Responder::new(&witness);
                catch_unwind(AssertUnwindSafe(|| self.service.call(request, reply)))
                    .unwrap_or_else(|panic| Err(Error::panicked("the service", &*panic)))
            });
        let answer = RequestOutcome {
            status: witness.status.get(),
            sent: witness.sent.get(),
            error: outcome.as_ref().err(),
        };
        tell("post_request", || {
            hooks.post_request(&self.worker, head, &answer);
        });
        outcome
    }

    fn retire(&self) {
        self.service.retire();
    }

    fn interrupt(&self) {
        self.service.interrupt();
    }

    fn abandon(&self) {
        self.service.abandon();
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        self.service.interrupter()
    }

    fn runtime(&self) -> &dyn ServiceRuntime {
        self.service.runtime()
    }
}

/// An exchange that remembers what went through it.
struct Witness<'a> {
    exchange: &'a dyn Exchange,
    status: Cell<Option<u16>>,
    sent: Cell<u64>,
}

impl<'a> Witness<'a> {
    fn new(exchange: &'a dyn Exchange) -> Self {
        Self {
            exchange,
            status: Cell::new(None),
            sent: Cell::new(0),
        }
    }

    fn count(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }
}

impl Exchange for Witness<'_> {
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        self.exchange.begin(status, reason, headers, len)?;
        self.status.set(Some(status));
        Ok(())
    }

    fn send_informational<'h>(
        &self,
        status: u16,
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        self.exchange.send_informational(status, headers)
    }

    fn look(&self) -> Result<()> {
        self.exchange.look()
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        self.exchange.write(bytes)?;
        self.count(bytes.len() as u64);
        Ok(())
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        self.exchange.write_last(bytes)?;
        self.count(bytes.len() as u64);
        Ok(())
    }

    fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()> {
        self.exchange.send_file(file, offset, len)?;
        self.count(len);
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.exchange.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn calls_that_do_nothing_by_default_reach_the_real_exchange() {
        let recorder = Recorder::new();
        recorder.disconnect_after(0);
        let witness = Witness::new(&recorder);
        let reply = Responder::new(&witness);
        reply
            .send_informational(103, [(&b"Link"[..], &b"</a>"[..])])
            .unwrap();
        assert_eq!(recorder.interim().len(), 1);
        assert!(reply.look().unwrap_err().is_disconnected());
    }
}
