//! [`SyncWorker`]: one thread that polls, and answers one request at a time.
//!
//! It reads no request and writes no response itself: the reactor collects the one and sends the other, so
//! that no client can hold it.
//!
//! ```text
//!   turn ──▶ next_request ──▶ call ──▶ give_back ──▶ turn
//!                           │  ▲
//!      the response outgrew │  │ the client has taken some of it
//!          its bounds       ▼  │
//!                           pump: what turn does, without accepting and without a call
//! ```
//!
//! *Invariants*: one call at a time; who comes first is called first, and between two turns no more are called than
//! there were when the first of them ended; the heart beats with each turn, each pump, and each block that a call
//! writes or reads; what the worker is asked during a call it does afterwards.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::call_time::CallTimeAverage;
use super::serving::{
    AcceptDelay, DroppedHeaderNotice, addresses, answer, heed, leave_in_haste, make, poll_timeout,
    preload, share, unload,
};
use crate::access::{Access, AccessSink};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::h1::Head;
use crate::ipc::scoreboard::WorkerState;
use crate::ipc::worker_signal::WorkerSignal;
use crate::log;
use crate::reactor::{Admit, BlockedCall, Host};
use crate::reactor::{CallTimeout, Config, Reactor};
use crate::service::{MakeService, Service, ServiceRuntime};
use crate::sys::signal;
use crate::time::MonoTime;
use crate::worker::{Shutdown, Worker, WorkerContext};

/// A worker that calls its service on its main thread, one request at a time.
#[derive(Debug)]
pub struct SyncWorker<M> {
    make: M,
    config: Config,
    keepalive_busy: Duration,
    access_sink: Option<Box<dyn AccessSink>>,
}

impl<M: MakeService> SyncWorker<M> {
    /// A worker that makes its service with `make`, in its own process.
    pub fn new(make: M) -> Self {
        Self {
            make,
            config: Config::default(),
            keepalive_busy: Duration::from_millis(50),
            access_sink: None,
        }
    }

    /// The bounds of its reactor.
    #[must_use]
    pub fn reactor(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How long calls may take, in a moving average, for connections to be kept; 50 ms by default, zero for
    /// any time. Past it, and where there are other workers, each response closes its connection: a request
    /// that comes on a kept one waits for this worker, though another may be idle.
    #[must_use]
    pub fn keepalive_busy(mut self, limit: Duration) -> Self {
        self.keepalive_busy = limit;
        self
    }

    /// Has `sink` take note of each answer: an [`AccessLog`](crate::log::AccessLog), for one.
    #[must_use]
    pub fn access_sink(mut self, sink: Option<Box<dyn AccessSink>>) -> Self {
        self.access_sink = sink;
        self
    }
}

impl<M: MakeService> Worker for SyncWorker<M> {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        let listeners = addresses(context);
        context.keep_memory();
        let service = make(&self.make, context, &listeners, 1)?;
        let access_sink = self.access_sink.take().map(RefCell::new);
        let mut outcome = Ok(());
        if let Some(interrupter) = service.interrupter() {
            signal::set_interrupter(interrupter, WorkerSignal::Repeat.number());
        }
        context.take_abort()?;
        service.runtime().enter(&mut || {
            let call_time = CallTimeAverage::new(self.keepalive_busy, context.workers());
            outcome = serve(
                &service,
                &self.config,
                call_time,
                access_sink.as_ref(),
                context,
            );
            service.retire();
        });
        signal::clear_interrupter();
        outcome
    }

    fn preload(&mut self) -> Result<()> {
        preload(&mut self.make)
    }

    fn is_preloaded(&self) -> bool {
        self.make.is_preloaded()
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.make.around_fork(fork);
    }

    fn unload(&mut self) {
        unload(&mut self.make);
    }

    fn end(&mut self) {
        self.make.end();
    }
}

/// The timeout on the running call, for the handler of the arbiter's signal.
static CALL_TIMEOUT: OnceLock<Arc<CallTimeout>> = OnceLock::new();

/// Whether that handler has given a call up.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Gives the running call up, if it is overdue. Nobody else could: its thread would have to turn the reactor.
/// Async-signal-safe: atomics, the clock, and two system calls.
fn give_up() -> bool {
    // What is sent is recorded when the call ends, if it does.
    let verdict = CALL_TIMEOUT
        .get()
        .and_then(|timeout| timeout.expire(MonoTime::now(), false));
    GIVEN_UP.fetch_or(verdict.is_some(), Ordering::Relaxed);
    verdict.is_some()
}

/// The worker's life from here to its end.
fn serve<S: Service>(
    service: &S,
    config: &Config,
    call_time: CallTimeAverage,
    access_sink: Option<&RefCell<Box<dyn AccessSink>>>,
    context: &WorkerContext,
) -> Result<()> {
    let mut reactor = Reactor::new(&context.listeners(), config.clone())?;
    if let Some(timeout) = reactor.single_call_timeout() {
        // Of several workers in one process the signal can mean only one.
        if CALL_TIMEOUT.set(timeout).is_ok() {
            signal::set_on_expire(Some(give_up));
        }
    }
    let host = SyncHost {
        context,
        runtime: service.runtime(),
        poll_timeout: poll_timeout(context),
        reactor: RefCell::new(reactor),
        woken: Cell::new(false),
        call_time,
        access_sink,
        dropped_headers: DroppedHeaderNotice::default(),
        accept_delay: AcceptDelay::default(),
        place: Cell::new(None),
    };
    host.reactor.borrow_mut().watch(context.wake())?;
    context.ready();
    loop {
        let mut reactor = host.reactor.borrow_mut();
        // What it was asked during a call is seen to below: the descriptor that tells of it does so once.
        let poll_timeout = if reactor.has_pending() || host.woken.get() {
            Duration::ZERO
        } else {
            host.poll_timeout
        };
        let turned = reactor.poll(&host, Some(poll_timeout))?;
        context.beat(MonoTime::now());
        if turned.rested {
            context.rest();
        }
        heed(service.runtime(), context);
        if turned.woken || host.woken.take() {
            let asked = context.shutdown();
            if context.take_reopen() {
                host.reopen_logs();
            }
            match asked {
                Shutdown::Running => {}
                Shutdown::Graceful => {
                    context.slot().set_state(WorkerState::Draining);
                    context.release_listeners();
                    reactor.drain(MonoTime::now(), context.queue_policy());
                }
                Shutdown::Quick => leave_in_haste(context, &mut reactor),
            }
        }
        while let Some(mut ready) = reactor.next_request(&host) {
            // Nobody has the reactor during a call: it may have to be pumped.
            drop(reactor);
            host.call_time.begin(MonoTime::now());
            answer(service, &mut ready, &host, context);
            host.call_time.end(MonoTime::now());
            reactor = host.reactor.borrow_mut();
            reactor.give_back(ready, &host);
            if GIVEN_UP.load(Ordering::Relaxed) {
                GIVEN_UP.store(false, Ordering::Relaxed);
                // What was to break that call off, and came too late, is not for the next one.
                let _ = service.runtime().check_signals();
            }
            if context.is_broken_off() {
                // The next turn finds the order to leave, and takes in what was to break this call off, and came too
                // late: the calls that are left are to be made in peace.
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
    runtime: &'a dyn ServiceRuntime,
    poll_timeout: Duration,
    /// Borrowed except during a call.
    reactor: RefCell<Reactor>,
    /// Whether the worker was asked for something during a call: it sees to it afterwards.
    woken: Cell<bool>,
    call_time: CallTimeAverage,
    access_sink: Option<&'a RefCell<Box<dyn AccessSink>>>,
    dropped_headers: DroppedHeaderNotice,
    accept_delay: AcceptDelay,
    /// Where the scoreboard has the running request.
    place: Cell<Option<usize>>,
}

impl SyncHost<'_> {
    /// Records an answer, with the place of its call if a call has given it.
    fn record(&self, place: Option<usize>, access: &Access<'_>) {
        let slot = self.context.slot();
        slot.end_request(place, access.finished, access.sent);
        if let Some(log) = self.access_sink {
            log.borrow_mut().record(access);
        }
    }

    /// Opens the logs again: what was recorded before goes to the old ones.
    fn reopen_logs(&self) {
        self.flush();
        log::reopen();
    }

    /// Writes the turn's access lines.
    fn flush(&self) {
        if let Some(log) = self.access_sink {
            log.borrow_mut().flush();
        }
    }
}

/// The worker as its reactor sees it while it is pumped: the running call is none of its affairs.
struct PollHost<'a>(&'a SyncHost<'a>);

impl Host for PollHost<'_> {
    fn connections(&self, open: usize) {
        self.0.connections(open);
    }

    fn finished(&self, access: &Access<'_>) {
        self.0.record(None, access);
    }
}

impl Host for SyncHost<'_> {
    fn admit(&self, now: MonoTime, open: usize) -> Admit {
        self.accept_delay.admit(self.context, now, open)
    }

    fn share(&self, waiting: usize) -> usize {
        share(self.context, waiting)
    }

    fn connections(&self, open: usize) {
        self.context
            .slot()
            .set_connections(u32::try_from(open).unwrap_or(u32::MAX));
    }

    fn started(&self, now: MonoTime, head: &Head) {
        let slot = self.context.slot();
        self.place
            .set(slot.begin_request(now, head.method(), head.target()));
        self.dropped_headers.notice(head);
    }

    fn finished(&self, access: &Access<'_>) {
        self.record(self.place.take(), access);
    }

    fn returned(&self, now: MonoTime) {
        self.context.slot().end_request(self.place.take(), now, 0);
    }

    fn is_own_process(&self) -> bool {
        self.context.is_own_process()
    }

    fn keeps(&self) -> bool {
        !self.context.is_broken_off() && !self.call_time.is_long(self.now())
    }

    fn progress(&self) {
        self.context.beat(self.now());
    }

    /// The reactor is pumped: the client of this call is slow, and the others are not to suffer for it.
    fn block_on_client(&self, call: &BlockedCall<'_>) -> Result<()> {
        let turned = match self.reactor.try_borrow_mut() {
            Ok(reactor) if reactor.is_done() => {
                return Err(Error::new("the worker leaves, and its client is slow"));
            }
            Ok(mut reactor) => reactor.poll_others(&PollHost(self), call, self.poll_timeout)?,
            Err(_) => return Err(Error::new("a call waits for its client already")),
        };
        self.progress();
        self.flush();
        self.woken.set(self.woken.get() | turned.woken);
        // A signal may have come before the wait.
        self.runtime.check_signals()
    }
}
