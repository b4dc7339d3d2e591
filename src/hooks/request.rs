//! [`HookedMake`]: a recipe of services that is shared, with hooks around each of their requests.
//!
//! Requests and responses pass through unchanged.

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::catch::{call, call_logged};
use super::{Installed, SharedHooks, WorkerInfo};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::service::{
    Exchange, MakeService, Releaser, Request, Responded, Responder, Service, ServiceContext,
    Upgraded,
};

/// How a request was answered, for [`Hooks::post_request`](super::Hooks::post_request).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestOutcome<'a> {
    /// The status of the service's response; `None` where it gave none, which is answered with 500.
    pub status: Option<u16>,
    /// The number of bytes of the body that the service gave.
    pub sent: u64,
    /// The error of the service, or of [`pre_request`](super::Hooks::pre_request).
    pub error: Option<&'a Error>,
}

/// A recipe of services that several generations of workers share, with the hooks, if there are any, around the requests
/// of each service. It is preloaded at most once.
pub(crate) struct HookedMake<M> {
    shared: Arc<Mutex<Shared<M>>>,
    hooks: Option<SharedHooks>,
}

struct Shared<M> {
    make: M,
    preloaded: bool,
}

pub(crate) struct HookedService<S> {
    service: S,
    hooks: Option<SharedHooks>,
    worker: WorkerInfo,
}

impl<M> HookedMake<M> {
    pub(crate) fn new(make: M, hooks: Option<&Installed>) -> Self {
        let preloaded = false;
        Self {
            shared: Arc::new(Mutex::new(Shared { make, preloaded })),
            hooks: hooks.map(|installed| Arc::clone(&installed.hooks)),
        }
    }

    /// One thread at a time has anything to do with it.
    fn lock(&self) -> MutexGuard<'_, Shared<M>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Clone for HookedMake<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            hooks: self.hooks.clone(),
        }
    }
}

impl<M: MakeService> MakeService for HookedMake<M> {
    type Service = HookedService<M::Service>;

    fn make(&self, context: &ServiceContext<'_>) -> Result<Self::Service> {
        let service = self.lock().make.make(context)?;
        let worker = WorkerInfo::current(context.worker);
        if let Some(hooks) = &self.hooks {
            call("post_worker_init", || hooks.post_worker_init(&worker))?;
        }
        let hooks = self.hooks.clone();
        Ok(HookedService {
            service,
            hooks: hooks.filter(|hooks| hooks.wants_requests()),
            worker,
        })
    }

    fn succeed(&mut self, former: &Self) {
        self.lock().make.succeed(&former.lock().make);
    }

    fn preload(&mut self) -> Result<()> {
        let mut shared = self.lock();
        if !shared.preloaded {
            shared.make.preload()?;
            shared.preloaded = true;
        }
        Ok(())
    }

    fn interrupter(&self) -> Option<fn(i32)> {
        self.lock().make.interrupter()
    }

    fn is_preloaded(&self) -> bool {
        self.lock().make.is_preloaded()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.lock().make.around_fork(fork);
    }

    fn unload(&mut self) {
        self.lock().make.unload();
    }

    fn end(&self) {
        self.lock().make.end();
    }

    fn releaser(&self) -> Option<Releaser> {
        self.lock().make.releaser()
    }
}

impl<S: Service> Service for HookedService<S> {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        let Some(hooks) = &self.hooks else {
            return self.service.call(request, reply);
        };
        let (head, exchange) = (request.head(), reply.into_exchange());
        let recording = RecordingExchange::new(&exchange);
        let outcome =
            call("pre_request", || hooks.pre_request(&self.worker, &request)).and_then(|()| {
                let reply = Responder::new(&recording);
                catch_unwind(AssertUnwindSafe(|| self.service.call(request, reply)))
                    .unwrap_or_else(|panic| Err(Error::panicked("the service", &*panic)))
            });
        let summary = RequestOutcome {
            status: recording.status.get(),
            sent: recording.sent.get(),
            error: outcome.as_ref().err(),
        };
        call_logged("post_request", || {
            hooks.post_request(&self.worker, head, &summary);
        });
        outcome
    }

    fn inner(&self) -> Option<&dyn Service> {
        Some(&self.service)
    }
}

/// An exchange that records the status and the size of the response that passes through it.
struct RecordingExchange<'a> {
    exchange: &'a dyn Exchange,
    status: Cell<Option<u16>>,
    sent: Cell<u64>,
}

impl<'a> RecordingExchange<'a> {
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

impl Exchange for RecordingExchange<'_> {
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

    fn record_variable(&self, name: &str, value: &[u8]) {
        self.exchange.record_variable(name, value);
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

    fn may_take_over(&self) -> Result<(), &'static str> {
        self.exchange.may_take_over()
    }

    fn take_over<'h>(
        &self,
        switching: Option<&mut dyn Iterator<Item = (&'h [u8], &'h [u8])>>,
    ) -> Result<Upgraded> {
        self.exchange.take_over(switching)
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
        let recording = RecordingExchange::new(&recorder);
        let reply = Responder::new(&recording);
        reply
            .send_informational(103, [(&b"Link"[..], &b"</a>"[..])])
            .unwrap();
        assert_eq!(recorder.interim().len(), 1);
        assert!(reply.look().unwrap_err().is_disconnected());
    }
}
