//! [`ThreadedWorker`]: several threads that take turns to lead; the leader polls, and calls the service itself.
//!
//! There is no queue between them: a short request is read, answered and done with on one thread.
//!
//! ```text
//!   stand by ──▶ turn the reactor ──▶ take a request ──▶ lay the lead down ──▶ call the service
//!      ▲               ▲                                                         │         │
//!      │               └──────────────── the lead was not taken ─────────────────┘         │
//!      └───────────── another leads: leave the connection in `returned` for it ────────────┘
//! ```
//!
//! There is one thread more than may be in calls, so that one always leads: reads, sends, expires, and
//! shows that the turn (Python's interpreter lock) can still be had. The main thread is none of them: it has made
//! the service, runs what the application does when a signal comes, and calls nothing else.
//!
//! *Invariants*: the service is never called on the main thread; no thread holds the turn but within the service;
//! the heart beats only where the turn was had since it last did; `threads` bounds the calls; requests that no thread
//! can answer yet stay in the reactor, where the next leader finds them, first come, first served, and meanwhile nothing
//! is accepted; the leader turns the reactor at least as often as it has taken out what there was; what the threads
//! share lies on the heap, since a signal's handler may take the main thread's stack away (`wsgi::strand`).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::hosts::WorkerHost;
use super::leadership::Leadership;
use super::service::{
    addresses, answer, check_signals, make, preload, runtime, unload, would_queue,
};
use super::threads;
use crate::access::{Access, AccessSink};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::h1::Head;
use crate::reactor::{Admit, Config, Host, PendingRequest, PollOutcome, Reactor, Waker};
use crate::service::{MakeService, Service, ServiceRuntime};
use crate::sys::cork;
use crate::sys::thread_state::ThreadState;
use crate::time::MonoTime;
use crate::worker::{Worker, WorkerContext, WorkerTemplate};

/// A worker that calls its service on several threads.
///
/// ```no_run
/// use oxicorn::service::service_fn;
/// use oxicorn::{Arbiter, ThreadedWorker, net::Listener};
///
/// fn main() -> oxicorn::Result<()> {
///     let hello = service_fn(|_, reply| reply.text(200, "hello\n"));
///     let listeners = Listener::inherited()?.or_bind(["127.0.0.1:8000"])?;
///     Arbiter::builder(ThreadedWorker::new(hello, 8)).listeners(listeners).build()?.run()
/// }
/// ```
#[derive(Debug)]
pub struct ThreadedWorker<M> {
    make: M,
    threads: usize,
    config: Config,
    access_sink: Option<Box<dyn AccessSink>>,
}

impl<M: MakeService<Service: Sync>> ThreadedWorker<M> {
    /// A worker that makes its service with `make`, in its own process, and answers `threads` requests at
    /// once; at least one.
    pub fn new(make: M, threads: usize) -> Self {
        Self {
            make,
            threads: threads.max(1),
            config: Config::default(),
            access_sink: None,
        }
    }

    /// The bounds of its reactor.
    #[must_use]
    pub fn reactor(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Has `sink` take note of each answer: an [`AccessLog`](crate::log::AccessLog), for one.
    #[must_use]
    pub fn access_sink(mut self, sink: Option<Box<dyn AccessSink>>) -> Self {
        self.access_sink = sink;
        self
    }
}

impl<M: MakeService<Service: Sync>> Worker for ThreadedWorker<M> {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        let listeners = addresses(context);
        context.keep_memory();
        let service = Box::new(make(&self.make, context, &listeners, self.threads)?);
        context.orders.take_abort()?;
        let reactor = Reactor::new(&context.listeners(), self.config.clone())?;
        let pool = ThreadPool::new(
            &*service,
            context,
            self.threads,
            reactor,
            self.config.settings.batch_responses,
            self.access_sink.take(),
        )?;
        let pool = Box::new(pool);
        pool.serve()?;
        service.retire();
        Ok(())
    }

    fn end(&mut self) {
        self.make.end();
    }
}

impl<M: MakeService<Service: Sync>> WorkerTemplate for ThreadedWorker<M> {
    fn worker(&mut self) -> &mut dyn Worker {
        self
    }

    fn preload(&mut self) -> Result<()> {
        preload(&mut self.make)
    }

    fn is_preloaded(&self) -> bool {
        self.make.is_preloaded()
    }

    fn calls(&self) -> usize {
        self.threads
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        self.make.around_fork(fork);
    }

    fn unload(&mut self) {
        unload(&mut self.make);
    }
}

/// The threads of one worker, and what they share.
struct ThreadPool<'a, S> {
    service: &'a S,
    runtime: &'a dyn ServiceRuntime,
    context: &'a WorkerContext,
    threads: usize,
    host: WorkerHost<'a>,
    lead: Leadership<Reactor>,
    /// Answered connections on their way back to the reactor.
    returned: (Sender<PendingRequest>, Receiver<PendingRequest>),
    /// Whether the leader waits in a poll, or is about to: then it has to be woken.
    polling: AtomicBool,
    /// Whether a call has ended, and so has had the turn, since the heart last beat.
    seen: AtomicBool,
    waker: Waker,
    failure: Mutex<Option<Error>>,
}

impl<'a, S: Service + Sync> ThreadPool<'a, S> {
    fn new(
        service: &'a S,
        context: &'a WorkerContext,
        threads: usize,
        mut reactor: Reactor,
        batches: bool,
        access_sink: Option<Box<dyn AccessSink>>,
    ) -> Result<Self> {
        reactor.watch(context.wake())?;
        // A process of a program's own may have other servers, each with responses of its own.
        if context.has_arbiter() && batches {
            cork::share();
            reactor.batch_responses();
        }
        Ok(Self {
            service,
            runtime: runtime(service),
            context,
            threads,
            host: WorkerHost::new(context, access_sink),
            waker: reactor.waker()?,
            lead: Leadership::new(reactor),
            returned: crossbeam_channel::unbounded(),
            polling: AtomicBool::new(false),
            seen: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    /// The worker's life: on this thread it is a wait for the end, and for signals.
    fn serve(&self) -> Result<()> {
        let count = self.threads + 1;
        let work: Box<dyn Fn() + Sync + '_> = Box::new(|| self.run_thread());
        // No connection is taken before the worker is ready, and it is not while a thread may be missing.
        let begun = &mut || self.context.ready();
        let woken = &mut || {
            check_signals(self.runtime, self.context);
            self.count_turns();
        };
        match self.runtime.run_threads(count, &*work, begun, woken) {
            Some(outcome) => outcome?,
            None => threads::run(count, &*work, begun)?,
        }
        lock(&self.failure).take().map_or(Ok(()), Err)
    }

    fn run_thread(&self) {
        let _end = EndOnPanic(&self.lead);
        if let Err(error) = self.work() {
            lock(&self.failure).get_or_insert(error);
            self.lead.end();
        }
    }

    fn work(&self) -> Result<()> {
        let host = CallHost {
            pool: self,
            place: Cell::new(None),
            counted: Cell::new(false),
        };
        let caller = ThreadState::of_this_thread();
        let mut leading = None;
        while let Some(mut reactor) = self.lead(leading.take(), &host)? {
            let ready = self.has_room().then(|| reactor.next_request(&host));
            let Some(mut ready) = ready.flatten() else {
                leading = Some(reactor);
                continue;
            };
            let call = self.lead.release(reactor, caller);
            answer(self.service, &mut ready, &host, self.context);
            self.seen.store(true, Ordering::Relaxed);
            let took = self.count_turns();
            leading = self.lead.resume(call, took, || self.runtime.is_awaited());
            if let Some(reactor) = &mut leading {
                reactor.give_back(ready, &host);
            } else {
                // The leader may be in its poll already.
                cork::release();
                self.hand_in(ready);
            }
        }
        Ok(())
    }

    /// Waits for the lead unless this thread has it, and for something to do. `None` at the end.
    fn lead(
        &self,
        mut leading: Option<Box<Reactor>>,
        host: &CallHost<'_, S>,
    ) -> Result<Option<Box<Reactor>>> {
        loop {
            // Only a reactor in haste may be done with requests left; for another one no clock is read.
            let is_late = |it: &Reactor| it.is_hasty() && it.is_done(MonoTime::now());
            let is_ready = |it: &Box<_>| self.can_call(it) && !is_late(it);
            if leading.as_ref().is_some_and(is_ready) {
                return Ok(leading);
            }
            if leading.is_none() {
                let would_queue = |caller| would_queue(self.runtime, caller);
                leading = self.lead.wait_to_lead(would_queue);
                // The call of the thread that led lasts. What it has held back waits for no call of this one.
                cork::release();
            }
            let Some(reactor) = &mut leading else {
                return Ok(None);
            };
            let turned = self.turn(reactor)?;
            // A thread that has ended a call since then has had the turn.
            if !self.seen.swap(false, Ordering::Relaxed) {
                // Handlers run on the main thread: this one is told of no failure.
                let _ = self.runtime.check_signals();
            }
            self.context.beat(host.now());
            self.count_turns();
            if turned.woken {
                self.host.obey(reactor, |reactor| {
                    // Calls that begin later answer the clients that are left.
                    if !reactor.is_hasty() {
                        self.service.interrupt();
                    }
                });
            }
            if reactor.is_done(MonoTime::now()) {
                if reactor.in_flight() > 0 {
                    // Their calls do not end.
                    self.host.flush();
                    reactor.part();
                    self.context.abandon(|| self.service.abandon());
                }
                self.lead.end();
                return Ok(None);
            }
        }
    }

    fn turn(&self, reactor: &mut Reactor) -> Result<PollOutcome> {
        let host = LeaderHost { pool: self };
        for ready in self.returned.1.try_iter() {
            reactor.give_back(ready, &host);
        }
        self.host.flush();
        // The last connection of a worker that leaves may just have come back: nothing would end a poll.
        if reactor.is_done(MonoTime::now()) || self.can_call(reactor) {
            return Ok(PollOutcome::default());
        }
        // Where there is no room no request was asked for, which would have done it.
        cork::release();
        let turned = reactor.poll(&host, Some(self.host.poll_timeout()))?;
        if turned.rested {
            self.context.rest();
        }
        Ok(turned)
    }

    /// Counts the times of this thread's turns since it last called this; tells how long it had the turn.
    fn count_turns(&self) -> Option<Duration> {
        let times = self.runtime.take_turn_times()?;
        self.context.count_lock_wait(times.waited);
        Some(Duration::from_nanos(times.had))
    }

    /// Leaves an answered connection for the leader.
    fn hand_in(&self, ready: PendingRequest) {
        // The receiver lives as long as the sender.
        let _ = self.returned.0.send(ready);
        fence(Ordering::SeqCst);
        if self.polling.load(Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    fn can_call(&self, reactor: &Reactor) -> bool {
        reactor.has_pending() && self.has_room()
    }

    fn has_room(&self) -> bool {
        self.lead.calls() < self.threads
    }

    fn admit(&self, now: MonoTime, open: usize) -> Admit {
        if self.has_room() {
            self.host.admit(now, open)
        } else {
            Admit::Full
        }
    }
}

/// Sends the other threads home where one panics: the worker is replaced.
struct EndOnPanic<'a>(&'a Leadership<Reactor>);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

/// The worker as a thread that answers sees it.
struct CallHost<'a, S> {
    pool: &'a ThreadPool<'a, S>,
    /// Where the scoreboard has this thread's request.
    place: Cell<Option<usize>>,
    /// Whether the response of its call is counted.
    counted: Cell<bool>,
}

impl<S: Service + Sync> Host for CallHost<'_, S> {
    fn admit(&self, now: MonoTime, open: usize) -> Admit {
        self.pool.admit(now, open)
    }

    fn connections(&self, open: usize) {
        self.pool.host.connections(open);
    }

    fn started(&self, now: MonoTime, head: &Head) {
        self.place.set(self.pool.host.begin_call(now, head));
    }

    fn completing(&self, status: u16) {
        self.pool.host.completing(&self.counted, status);
    }

    fn finished(&self, access: &Access<'_>) {
        let counted = self.counted.take();
        self.pool.host.record(self.place.take(), counted, access);
    }

    fn returned(&self, now: MonoTime) {
        self.counted.set(false);
        self.pool.host.end_call(self.place.take(), now);
    }

    fn is_own_process(&self) -> bool {
        self.pool.context.is_own_process()
    }

    fn spares_threads(&self) -> bool {
        true
    }

    fn upgraded(&self) {
        self.pool.context.slot().upgrade_request(self.place.get());
    }
}

/// The worker as its reactor sees it while it turns.
struct LeaderHost<'a, S> {
    pool: &'a ThreadPool<'a, S>,
}

impl<S: Service + Sync> Host for LeaderHost<'_, S> {
    fn admit(&self, now: MonoTime, open: usize) -> Admit {
        self.pool.admit(now, open)
    }

    fn share(&self, waiting: usize) -> usize {
        self.pool.host.share(waiting)
    }

    fn connections(&self, open: usize) {
        self.pool.host.connections(open);
    }

    fn finished(&self, access: &Access<'_>) {
        self.pool.host.finished(access);
    }

    fn wait(&self, block: &mut (dyn FnMut() + Send)) {
        let pool = self.pool;
        pool.polling.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Either this sees what was handed in before, or a thread that hands in later sees `polling`.
        if !pool.returned.1.is_empty() {
            pool.waker.wake();
        }
        block();
        pool.polling.store(false, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
