//! [`SyncWorker`]: one thread that polls, and answers one request at a time.
//!
//! It reads no request and writes no response itself: the reactor collects the one and sends the other, so
//! that no client can hold it.

use std::cell::{Cell, RefCell};

use super::serving::{Courtesy, Drops, addresses, answer, nap, site};
use crate::clock::Tick;
use crate::error::Result;
use crate::forked::Forked;
use crate::h1::Head;
use crate::log::AccessLog;
use crate::observe::{Access, Admit, Host};
use crate::reactor::{Config, Reactor};
use crate::service::{MakeService, Service, Turn};
use crate::sys::scoreboard::WorkerState;
use crate::sys::signal;
use crate::trace;
use crate::worker::{Shutdown, Worker, WorkerContext};

/// A worker that calls its service on its main thread, one request at a time.
#[derive(Debug)]
pub struct SyncWorker<M> {
    make: M,
    config: Config,
    access_log: Option<AccessLog>,
}

impl<M: MakeService> SyncWorker<M> {
    /// A worker that makes its service with `make`, in its own process.
    pub fn new(make: M) -> Self {
        Self {
            make,
            config: Config::default(),
            access_log: None,
        }
    }

    /// The bounds of its reactor.
    #[must_use]
    pub fn reactor(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Writes a line for each answer.
    #[must_use]
    pub fn access_log(mut self, log: Option<AccessLog>) -> Self {
        self.access_log = log;
        self
    }
}

impl<M: MakeService> Worker for SyncWorker<M> {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        let listeners = addresses(context);
        let service = self.make.make(&site(context, &listeners, 1))?;
        let access_log = self.access_log.take().map(RefCell::new);
        let mut outcome = Ok(());
        signal::set_interrupter(service.interrupter());
        service.turn().enter(&mut || {
            outcome = serve(&service, &self.config, access_log.as_ref(), context);
            service.retire();
        });
        signal::set_interrupter(None);
        outcome
    }

    fn preload(&mut self) -> Result<()> {
        self.make.preload()
    }

    fn is_preloaded(&self) -> bool {
        self.make.is_preloaded()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> Forked) {
        self.make.around_fork(fork);
    }
}

/// The worker's life from here to its end.
fn serve<S: Service>(
    service: &S,
    config: &Config,
    access_log: Option<&RefCell<AccessLog>>,
    context: &WorkerContext,
) -> Result<()> {
    let host = SyncHost {
        context,
        turn: service.turn(),
        access_log,
        drops: Drops::default(),
        courtesy: Courtesy::default(),
        place: Cell::new(None),
    };
    let mut reactor = Reactor::new(&context.listeners(), config.clone())?;
    reactor.watch(context.wake())?;
    let nap = nap(context);
    context.ready();
    loop {
        let turned = reactor.turn(&host, Some(nap))?;
        context.beat(Tick::now());
        if let Err(error) = service.turn().interrupted() {
            trace::error!("a signal handler of the application failed: {error}");
        }
        if turned.woken {
            match context.shutdown() {
                Shutdown::Running => {}
                Shutdown::Graceful => {
                    context.slot().set_state(WorkerState::Draining);
                    context.release_listeners();
                    reactor.drain(Tick::now(), context.closes_for_all());
                }
                Shutdown::Quick => return Ok(()),
            }
        }
        while let Some(mut ready) = reactor.next_ready(&host) {
            answer(service, &mut ready, &host);
            reactor.give_back(ready, &host);
            if signal::is_interrupted() {
                // That call was the last: the next turn finds the order to leave.
                break;
            }
        }
        host.flush();
        if reactor.is_done() {
            return Ok(());
        }
    }
}

/// The worker as its reactor sees it.
struct SyncHost<'a> {
    context: &'a WorkerContext,
    turn: &'a dyn Turn,
    access_log: Option<&'a RefCell<AccessLog>>,
    drops: Drops,
    courtesy: Courtesy,
    /// Where the scoreboard has the running request.
    place: Cell<Option<usize>>,
}

impl SyncHost<'_> {
    /// Writes the turn's access lines.
    fn flush(&self) {
        if let Some(log) = self.access_log {
            log.borrow_mut().flush();
        }
    }
}

impl Host for SyncHost<'_> {
    fn admit(&self, now: Tick, open: usize) -> Admit {
        self.courtesy.admit(self.context, now, open)
    }

    fn connections(&self, open: usize) {
        self.context
            .slot()
            .set_connections(u32::try_from(open).unwrap_or(u32::MAX));
    }

    fn started(&self, now: Tick, head: &Head) {
        let slot = self.context.slot();
        self.place
            .set(slot.begin_request(now, head.method(), head.target()));
        self.drops.notice(head);
    }

    fn finished(&self, access: &Access<'_>) {
        self.context
            .slot()
            .end_request(self.place.take(), access.finished, access.sent);
        if let Some(log) = self.access_log {
            log.borrow_mut().record(access);
        }
    }

    fn wait(&self, block: &mut (dyn FnMut() + Send)) {
        self.turn.wait(block);
    }
}
