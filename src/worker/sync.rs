//! [`SyncWorker`]: one thread that polls, and answers one request at a time.
//!
//! It reads no request and writes no response itself: the reactor collects the one and sends the other, so
//! that no client can hold it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::forked::Forked;
use crate::h1::Head;
use crate::log::AccessLog;
use crate::observe::{Access, Admit, Host};
use crate::reactor::{Config, Reactor, Ready};
use crate::service::{Address, MakeService, Service, Site, Turn};
use crate::sys::scoreboard::WorkerState;
use crate::trace;
use crate::worker::{Shutdown, Worker, WorkerContext};

/// How long an idle worker sleeps at the most: its heart beats once a turn.
const NAP: Duration = Duration::from_secs(1);
/// How often a worker with more connections than the others looks whether they have caught up.
const YIELD: Duration = Duration::from_millis(1);
/// For how long it leaves new connections to them.
const YIELD_LIMIT: Duration = Duration::from_millis(5);

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
        let listeners: Vec<Address> = context
            .listeners()
            .iter()
            .map(|listener| Address::from(&**listener))
            .collect();
        let site = Site {
            worker: context.id(),
            workers: context.workers(),
            threads: 1,
            listeners: &listeners,
        };
        let service = self.make.make(&site)?;
        let access_log = self.access_log.take().map(RefCell::new);
        let mut outcome = Ok(());
        service.turn().enter(&mut || {
            outcome = serve(&service, &self.config, access_log.as_ref(), context);
            service.retire();
        });
        outcome
    }

    fn preload(&mut self) -> Result<()> {
        self.make.preload()
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
        yielding: Cell::new(None),
        told_of_drops: Cell::new(false),
    };
    let mut reactor = Reactor::new(&context.listeners(), config.clone())?;
    reactor.watch(context.wake())?;
    let nap = context.beat_every().map_or(NAP, |every| every.min(NAP));
    context.ready();
    loop {
        let turned = reactor.turn(&host, Some(nap))?;
        context.beat(Tick::now());
        if turned.interrupted {
            if let Err(error) = service.turn().interrupted() {
                trace::error!("a signal handler of the application failed: {error}");
            }
        }
        if turned.woken {
            match context.shutdown() {
                Shutdown::Running => {}
                Shutdown::Graceful => {
                    context.slot().set_state(WorkerState::Draining);
                    context.release_listeners();
                    reactor.drain(Tick::now());
                }
                Shutdown::Quick => return Ok(()),
            }
        }
        while let Some(mut ready) = reactor.next_ready(&host) {
            answer(service, &mut ready, &host);
            reactor.give_back(ready, &host);
        }
        host.flush();
        if reactor.is_done() {
            return Ok(());
        }
    }
}

/// Calls the service; whatever becomes of the call, the worker lives.
fn answer<S: Service>(service: &S, ready: &mut Ready, host: &SyncHost<'_>) {
    let outcome = ready.answer(host, |request, reply| {
        catch_unwind(AssertUnwindSafe(|| service.call(request, reply))).unwrap_or_else(|panic| {
            Err(Error::new(format!(
                "the service panicked: {}",
                text_of(&*panic)
            )))
        })
    });
    let Err(error) = outcome else { return };
    let (method, target) = ready
        .head()
        .map_or(("?", "?"), |head| (head.method(), head.target()));
    if error.is_disconnected() {
        trace::debug!("{method} {target}: {error}");
    } else {
        trace::error!(
            "Error handling request {method} {target}: {}",
            error.report()
        );
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}

/// The worker as its reactor sees it.
struct SyncHost<'a> {
    context: &'a WorkerContext,
    turn: &'a dyn Turn,
    access_log: Option<&'a RefCell<AccessLog>>,
    /// Since when new connections are left to other workers.
    yielding: Cell<Option<Tick>>,
    /// Whether a dropped header field was logged.
    told_of_drops: Cell<bool>,
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
        let least = self.context.least_loaded_other();
        if least.is_none_or(|least| open as u64 <= u64::from(least)) {
            self.yielding.set(None);
            return Admit::Accept;
        }
        let since = self.yielding.get().unwrap_or(now);
        if now.since(since) >= YIELD_LIMIT {
            self.yielding.set(None);
            return Admit::Accept;
        }
        self.yielding.set(Some(since));
        Admit::Later(YIELD)
    }

    fn connections(&self, open: usize) {
        self.context
            .slot()
            .set_connections(u32::try_from(open).unwrap_or(u32::MAX));
    }

    fn started(&self, now: Tick, head: &Head) {
        self.context
            .slot()
            .begin_request(now, head.method(), head.target());
        if head.dropped() > 0 && !self.told_of_drops.replace(true) {
            trace::warning!(
                "a header field was dropped for the underscore in its name, since header_map is drop; \
                 later ones are not logged"
            );
        }
    }

    fn finished(&self, access: &Access<'_>) {
        self.context
            .slot()
            .end_request(access.finished, access.sent);
        if let Some(log) = self.access_log {
            log.borrow_mut().record(access);
        }
    }

    fn wait(&self, block: &mut (dyn FnMut() + Send)) {
        self.turn.wait(block);
    }
}
