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
//! *Invariants*: one call at a time; requests are answered in the order of their arrival, and between two turns no more are called than
//! there were when the first of them ended; the heart beats with each turn, each pump, and each block that a call
//! writes or reads; what the worker is asked during a call it does afterwards.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::call_time::CallTimeAverage;
use super::hosts::WorkerHost;
use super::service::{addresses, answer, check_signals, make, preload, runtime, unload};
use crate::access::{Access, AccessSink};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::h1::Head;
use crate::ipc::worker_signal::WorkerSignal;
use crate::reactor::{Admit, BlockedCall, Host};
use crate::reactor::{CallTimeout, Config, Reactor};
use crate::service::{MakeService, Service, ServiceRuntime};
use crate::sys::{cork, signal};
use crate::time::MonoTime;
use crate::worker::{Worker, WorkerContext, WorkerTemplate};

/// A worker that calls its service on its main thread, one request at a time.
///
/// ```no_run
/// use oxicorn::service::service_fn;
/// use oxicorn::{Arbiter, SyncWorker, net::Listener};
///
/// fn main() -> oxicorn::Result<()> {
///     let hello = service_fn(|_, reply| reply.text(200, "hello\n"));
///     let listeners = Listener::inherited()?.or_bind(["127.0.0.1:8000"])?;
///     Arbiter::builder(SyncWorker::new(hello)).listeners(listeners).workers(2).build()?.run()
/// }
/// ```
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
            keepalive_busy: Settings::default().keepalive_busy,
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
        let host = WorkerHost::new(context, self.access_sink.take());
        let mut outcome = Ok(());
        if let Some(interrupter) = service.interrupter() {
            signal::set_interrupter(interrupter, WorkerSignal::Repeat.number());
        }
        context.orders.take_abort()?;
        runtime(&service).enter(&mut || {
            let call_time = CallTimeAverage::new(self.keepalive_busy, context.workers());
            outcome = serve(&service, &self.config, call_time, &host, context);
            service.retire();
        });
        signal::clear_interrupter();
        outcome
    }

    fn end(&mut self) {
        self.make.end();
    }
}

impl<M: MakeService> WorkerTemplate for SyncWorker<M> {
    fn worker(&mut self) -> &mut dyn Worker {
        self
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
}

/// How long a worker that makes calls without a pause leaves it to these to run handlers of signals.
const CHECK_SIGNALS: Duration = Duration::from_millis(50);

/// The timeout on the running call, for the handler of the arbiter's signal.
static CALL_TIMEOUT: OnceLock<Arc<CallTimeout>> = OnceLock::new();

/// Whether that handler has given a call up.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Gives the running call up, if it is overdue. No other code could: its thread would have to turn the reactor.
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
    worker: &WorkerHost<'_>,
    context: &WorkerContext,
) -> Result<()> {
    let mut reactor = Reactor::new(&context.listeners(), config.clone())?;
    // Without a timer each response leaves at once. A program's own process gets no timer.
    if context.has_arbiter()
        && config.settings.batch_responses
        && cork::set_up(WorkerSignal::Uncork.number()).is_ok()
    {
        reactor.batch_responses();
    }
    if let Some(timeout) = reactor.single_call_timeout() {
        // Of several workers in one process the signal can mean only one.
        if CALL_TIMEOUT.set(timeout).is_ok() {
            signal::set_on_expire(Some(give_up));
        }
    }
    let host = SyncHost {
        context,
        worker,
        runtime: runtime(service),
        reactor: RefCell::new(reactor),
        woken: Cell::new(false),
        call_time,
        place: Cell::new(None),
        counted: Cell::new(false),
    };
    host.reactor.borrow_mut().watch(context.wake())?;
    context.ready();
    let mut checked = MonoTime::now();
    loop {
        let mut reactor = host.reactor.borrow_mut();
        // What it was asked during a call is seen to below: the descriptor that tells of it does so once.
        let poll_timeout = if reactor.has_pending() || host.woken.get() {
            Duration::ZERO
        } else {
            host.worker.poll_timeout()
        };
        let turned = reactor.poll(&host, Some(poll_timeout))?;
        let now = turned.now;
        context.beat(now);
        if let Some(times) = host.runtime.take_turn_times() {
            context.count_lock_wait(times.waited);
        }
        if turned.rested {
            context.rest();
        }
        // A call runs the handlers as well, and asking costs a twentieth of a short one.
        let is_asked = turned.woken || turned.interrupted || context.orders.is_broken_off();
        if is_asked || !reactor.has_pending() || now.since(checked) >= CHECK_SIGNALS {
            checked = now;
            check_signals(runtime(service), context);
        }
        if turned.woken || host.woken.take() {
            host.worker.obey(&mut reactor, |_| {});
        }
        while let Some(mut ready) = reactor.next_request(&host) {
            // The reactor is free during a call: it may have to be polled.
            drop(reactor);
            answer(service, &mut ready, &host, context);
            reactor = host.reactor.borrow_mut();
            reactor.give_back(ready, &host);
            if GIVEN_UP.load(Ordering::Relaxed) {
                GIVEN_UP.store(false, Ordering::Relaxed);
                // What was to break that call off, and came too late, is not for the next one.
                let _ = runtime(service).check_signals();
            }
            if context.orders.is_broken_off() {
                // The next turn finds the order to leave, and takes in what was to break this call off, and came too
                // late: the calls that are left are to be made in peace.
                break;
            }
        }
        host.worker.flush();
        if reactor.is_done(now) {
            return Ok(());
        }
    }
}

/// The worker as its reactor sees it.
struct SyncHost<'a> {
    context: &'a WorkerContext,
    worker: &'a WorkerHost<'a>,
    runtime: &'a dyn ServiceRuntime,
    /// Borrowed except during a call.
    reactor: RefCell<Reactor>,
    /// Whether the worker was asked for something during a call: it sees to it afterwards.
    woken: Cell<bool>,
    call_time: CallTimeAverage,
    /// Where the scoreboard has the running request.
    place: Cell<Option<usize>>,
    /// Whether the response of the running call is counted.
    counted: Cell<bool>,
}

impl Host for SyncHost<'_> {
    fn admit(&self, now: MonoTime, open: usize) -> Admit {
        self.worker.admit(now, open)
    }

    fn share(&self, waiting: usize) -> usize {
        self.worker.share(waiting)
    }

    fn connections(&self, open: usize) {
        self.worker.connections(open);
    }

    fn started(&self, now: MonoTime, head: &Head) {
        self.call_time.begin(now);
        self.place.set(self.worker.begin_call(now, head));
    }

    fn completing(&self, status: u16) {
        self.worker.completing(&self.counted, status);
    }

    fn finished(&self, access: &Access<'_>) {
        let place = self.place.take();
        if place.is_some() {
            self.call_time.end(access.finished);
        }
        self.worker.record(place, self.counted.take(), access);
    }

    fn returned(&self, now: MonoTime) {
        self.call_time.end(now);
        self.counted.set(false);
        self.worker.end_call(self.place.take(), now);
    }

    fn is_own_process(&self) -> bool {
        self.context.is_own_process()
    }

    fn keeps(&self) -> bool {
        !self.context.orders.is_broken_off() && !self.call_time.is_long(|| self.now())
    }

    fn progress(&self) {
        self.context.beat(self.now());
    }

    /// The reactor is pumped: the client of this call is slow, and the others are not to suffer for it.
    fn block_on_client(&self, call: &BlockedCall<'_>) -> Result<()> {
        let turned = match self.reactor.try_borrow_mut() {
            Ok(reactor) if reactor.is_done(MonoTime::now()) => {
                return Err(Error::new("the worker leaves, and its client is slow"));
            }
            Ok(mut reactor) => {
                reactor.poll_others(self.worker, call, self.worker.poll_timeout())?
            }
            Err(_) => return Err(Error::new("a call waits for its client already")),
        };
        self.progress();
        self.worker.flush();
        self.woken.set(self.woken.get() | turned.woken);
        // A signal may have come before the wait.
        self.runtime.check_signals()
    }
}
