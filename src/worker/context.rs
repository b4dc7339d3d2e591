//! [`WorkerContext`]: through which a worker and its arbiter know of each other. What a worker is asked is in [`Orders`].

use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::Pid;

use super::orders::{Lines, Orders, WorkerEvent};
use super::shutdown::{Shutdown, ShutdownHandle};
use crate::error::Result;
use crate::ipc::link::Message;
use crate::ipc::profile::ProfileChannel;
use crate::ipc::scoreboard::{OwnSlot, Scoreboard, WorkerState};
use crate::ipc::totals::{Counted, Counters};
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::{Listeners, QueuePolicy};
use crate::sys::{fork, memory, signal};
use crate::time::MonoTime;

/// The numbers that a worker is given when it is forked.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) slot: usize,
    pub(crate) group: Arc<str>,
    pub(crate) workers: usize,
    pub(crate) beat_every: Option<Duration>,
    /// After how many requests it tells the arbiter that it is due for recycling.
    pub(crate) max_requests: Option<u64>,
    /// How long its last requests may take when the arbiter has died.
    pub(crate) graceful_timeout: Duration,
}

/// A worker's view of its arbiter, its listeners and itself.
///
/// All threads of a worker may use it.
#[derive(Debug)]
pub struct WorkerContext {
    pub(super) place: Place,
    listeners: Mutex<Listeners>,
    /// Whether connections wait for this worker alone (`SO_REUSEPORT`).
    pub(super) own_queue: bool,
    pub(super) scoreboard: Arc<Scoreboard>,
    pub(super) orders: Orders,
    pub(super) ready: AtomicBool,
    recycle_due: AtomicBool,
}

impl WorkerContext {
    /// A context without an arbiter and without signals, for a worker that runs in a process of yours:
    /// only its [`shutdown_handle`](Self::shutdown_handle) asks it to stop. It is worker 1 of 1.
    ///
    /// # Errors
    ///
    /// Where the system gives no memory or no descriptor.
    pub fn detached(listeners: impl Into<Listeners>) -> Result<Self> {
        Self::within(listeners.into(), 1)
    }

    /// The same, for a worker that answers `calls` requests at once.
    pub(super) fn within(listeners: Listeners, calls: usize) -> Result<Self> {
        let place = Place {
            id: 1,
            slot: 0,
            group: "main".into(),
            workers: 1,
            beat_every: None,
            max_requests: None,
            graceful_timeout: Duration::ZERO,
        };
        let (counters, _) = Counters::new()?;
        let scoreboard = Scoreboard::new(1, calls, counters)?;
        scoreboard.assign(place.slot, place.id, 0, calls, MonoTime::now());
        Self::new(place, listeners, Arc::new(scoreboard), None)
    }

    pub(crate) fn new(
        place: Place,
        listeners: Listeners,
        scoreboard: Arc<Scoreboard>,
        arbiter: Option<Lines>,
    ) -> Result<Self> {
        // From now on a child that the service forks is told from this worker.
        fork::notice_children()?;
        let own_queue = listeners.iter().any(|listener| listener.is_own());
        let orders = Orders::new(arbiter)?;
        scoreboard
            .own_slot(place.slot)
            .set_pid(Pid::this().as_raw());
        Ok(Self {
            place,
            listeners: Mutex::new(listeners),
            own_queue,
            scoreboard,
            orders,
            ready: AtomicBool::new(false),
            recycle_due: AtomicBool::new(false),
        })
    }

    /// Has `observer` called with what the worker comes to, on the thread that finds out. Only the first one is called.
    pub(crate) fn observe(&self, observer: impl Fn(WorkerEvent) + Send + Sync + 'static) {
        self.orders.observe(observer);
    }

    /// What asks this worker to leave from other threads of its process.
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.orders.shutdown_handle.clone()
    }

    /// Which worker this is, from 1 on; a replacement has a number of its own.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.place.id
    }

    /// The name of the group of workers that this one is of: `main`, unless it was given to
    /// [`ArbiterBuilder::group`](crate::arbiter::ArbiterBuilder::group).
    #[must_use]
    pub fn group(&self) -> &str {
        &self.place.group
    }

    /// How many workers there were to be in its group when this one was forked.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.place.workers
    }

    /// The listeners that the workers share; none once they have been
    /// [released](Self::release_listeners). A clone keeps the sockets open.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        self.lock().clone()
    }

    /// Gives the context's own listeners up, so that they are closed in this process as soon as the
    /// clones are dropped.
    pub fn release_listeners(&self) {
        *self.lock() = Vec::new().into();
    }

    /// The worker can do its work, and listens on its own queues from now on, if it has any. Only the first call
    /// counts. Before it, TERM, INT and QUIT end a worker's process at once, since it has nothing to finish.
    pub fn ready(&self) {
        if self.ready.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.orders.arbiter.is_some() {
            signal::boot_is_over();
        }
        for listener in &self.listeners() {
            listener.open_queue();
        }
        let slot = self.slot();
        slot.beat(MonoTime::now());
        slot.set_state(WorkerState::Ready);
        if let Some(lines) = &self.orders.arbiter {
            lines.link.send(&Message::Ready);
        }
        self.orders.tell(WorkerEvent::Ready);
    }

    /// The worker makes progress. One store in shared memory: to be called in each turn of a loop.
    ///
    /// The arbiter is told, once, when the worker's [slot](Self::slot) has counted as many requests as the
    /// worker is to answer: it serves on until it is asked to leave, when another one has taken its place.
    pub fn beat(&self, now: MonoTime) {
        let slot = self.slot();
        slot.beat(now);
        let (Some(most), Some(lines)) = (self.place.max_requests, &self.orders.arbiter) else {
            return;
        };
        let requests = slot.requests();
        if requests >= most && !self.recycle_due.swap(true, Ordering::Relaxed) {
            lines.link.send(&Message::RecycleDue(requests));
        }
    }

    /// How long a worker may wait for work before it must [`beat`](Self::beat) again: half of the
    /// arbiter's `timeout`. `None` without a `timeout`.
    #[must_use]
    pub fn beat_every(&self) -> Option<Duration> {
        self.place.beat_every
    }

    /// How long the arbiter gives the worker to leave, once it is asked to; `None` where no arbiter kills it then.
    pub(super) fn grace(&self) -> Option<Duration> {
        let has_arbiter = self.orders.arbiter.is_some();
        has_arbiter.then_some(self.place.graceful_timeout)
    }

    /// What the worker is asked to do; takes in what has made [`wake`](Self::wake) readable.
    ///
    /// At most a few system calls: to be asked when `wake` is readable, not with each turn of a hot loop.
    pub fn shutdown(&self) -> Shutdown {
        self.orders.take()
    }

    /// Whether the worker was asked to open its logs again since the last time: to be looked at after
    /// [`shutdown`](Self::shutdown), which takes the signal in.
    pub fn take_reopen(&self) -> bool {
        self.orders.take_reopen()
    }

    /// Where this process is to write the stacks of all its threads when it gets the signal of that number,
    /// even if it hangs; `None` without an arbiter.
    #[must_use]
    pub fn stacks(&self) -> Option<(BorrowedFd<'_>, i32)> {
        let lines = self.orders.arbiter.as_ref()?;
        Some((lines.stacks.as_fd(), WorkerSignal::Stacks.number()))
    }

    /// How this process is told to sample the stacks of its threads, if it can be.
    pub(super) fn profile(&self) -> Option<&Arc<ProfileChannel>> {
        self.orders.arbiter.as_ref()?.profile.as_ref()
    }

    /// The arbiter's handle, for the layer that knows its type.
    pub(crate) fn opaque_handle(&self) -> Option<&(dyn Any + Send + Sync)> {
        let lines = self.orders.arbiter.as_ref()?;
        Some(&*lines.handle)
    }

    /// How a worker that is asked to leave is to leave the listeners behind.
    #[must_use]
    pub fn queue_policy(&self) -> QueuePolicy {
        match self.scoreboard.queue_policy() {
            // Without an arbiter no worker follows the present ones.
            QueuePolicy::Keep if self.orders.is_orphaned() => QueuePolicy::Drain,
            // Perhaps no other worker can answer the clients that wait.
            QueuePolicy::Keep if self.own_queue => QueuePolicy::Drain,
            leaving => leaving,
        }
    }

    /// Has memory that is freed kept for the next request, until the worker [rests](Self::rest). Not in a process of
    /// a program's own, whose allocator is that of the whole program.
    pub(crate) fn keep_memory(&self) {
        if self.orders.arbiter.is_some() {
            memory::keep_freed();
        }
    }

    /// Gives memory back that is free: to be called when the worker has been idle for a while.
    pub(crate) fn rest(&self) {
        if self.orders.arbiter.is_some() {
            memory::give_back();
        }
    }

    pub(super) fn count(&self, exchange: Counted) {
        self.scoreboard.counters().count(self.place.slot, exchange);
    }

    /// Counts a response with this status, of which the rest is [counted](Self::count) later.
    pub(super) fn count_response(&self, status: u16) {
        let counters = self.scoreboard.counters();
        counters.count_response(self.place.slot, status);
    }

    /// Counts nanoseconds that the worker's threads have waited for the interpreter's lock.
    pub(super) fn count_lock_wait(&self, nanos: u64) {
        let counters = self.scoreboard.counters();
        counters.count_lock_wait(self.place.slot, nanos);
    }

    /// Whether this process is the worker's own, and ends with it.
    pub(crate) fn has_arbiter(&self) -> bool {
        self.orders.arbiter.is_some()
    }

    /// Whether this is the worker's own process, and not a child that its service has forked.
    #[expect(clippy::unused_self, reason = "it is about this worker's process")]
    pub(crate) fn is_own_process(&self) -> bool {
        !fork::is_child()
    }

    /// Waits for `duration`, beating, or until the worker is asked for something new. For workers that
    /// have no poll of their own.
    pub fn pause(&self, duration: Duration) -> Shutdown {
        let before = self.orders.asked();
        let mut now = MonoTime::now();
        let end = now + duration;
        loop {
            self.beat(now);
            let asked = self.shutdown();
            let left = end.since(now);
            if asked != before || left.is_zero() {
                return asked;
            }
            self.orders
                .wake
                .wait(self.place.beat_every.map_or(left, |every| every.min(left)));
            now = MonoTime::now();
        }
    }

    /// A descriptor to register in the worker's own poll: readable when a signal has come, a handle was used
    /// or the arbiter has gone, until [`shutdown`](Self::shutdown) is called.
    #[must_use]
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.orders.wake.as_fd()
    }

    /// What all the workers are doing.
    #[must_use]
    pub fn scoreboard(&self) -> &Scoreboard {
        &self.scoreboard
    }

    /// This worker's own place on the scoreboard.
    #[must_use]
    pub fn slot(&self) -> OwnSlot<'_> {
        self.scoreboard.own_slot(self.place.slot)
    }

    /// The fewest connections that another worker has which could take one more now; `None` where no
    /// other could, or where connections wait for this worker alone.
    #[must_use]
    pub fn least_loaded_other(&self) -> Option<u32> {
        if self.own_queue {
            return None;
        }
        self.scoreboard.least_loaded_other(self.place.slot)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Listener;

    fn detached() -> WorkerContext {
        WorkerContext::detached(Vec::<Listener>::new()).unwrap()
    }

    #[test]
    fn a_detached_worker_is_asked_by_its_shutdown_handle_alone() {
        let context = detached();
        assert_eq!((context.id(), context.workers()), (1, 1));
        assert_eq!(context.shutdown(), Shutdown::Running);
        assert_eq!(context.pause(Duration::from_millis(1)), Shutdown::Running);
        assert_eq!(context.least_loaded_other(), None);
        assert_eq!(context.queue_policy(), QueuePolicy::Drain);
        context.shutdown_handle().ask(Shutdown::Graceful);
        assert_eq!(context.pause(Duration::from_secs(60)), Shutdown::Graceful);
    }

    #[test]
    fn what_a_shutdown_handle_asks_only_grows_and_is_told_once() {
        let context = detached();
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        context.observe(move |event| sink.lock().unwrap().push(event));
        context.ready();
        context.ready();
        let handle = context.shutdown_handle();
        for (ask, asked) in [
            (Shutdown::Graceful, Shutdown::Graceful),
            (Shutdown::Running, Shutdown::Graceful),
            (Shutdown::Quick, Shutdown::Quick),
            (Shutdown::Graceful, Shutdown::Quick),
        ] {
            handle.ask(ask);
            assert_eq!(context.shutdown(), asked);
        }
        assert_eq!(
            *told.lock().unwrap(),
            [
                WorkerEvent::Ready,
                WorkerEvent::Asked(Shutdown::Graceful),
                WorkerEvent::Asked(Shutdown::Quick)
            ]
        );
    }

    // Gunicorn: G47
    #[test]
    fn ready_shows_on_the_scoreboard() {
        let context = detached();
        assert_eq!(context.slot().state(), WorkerState::Starting);
        context.ready();
        assert_eq!(context.slot().state(), WorkerState::Ready);
        context.slot().set_state(WorkerState::Draining);
        context.ready();
        assert_eq!(context.slot().state(), WorkerState::Draining);
    }

    #[test]
    fn released_listeners_are_closed_with_their_last_clone() {
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&address, 1).unwrap();
        let at = listener.socket_addr().unwrap();
        let context = WorkerContext::detached(listener).unwrap();
        let clone = context.listeners();
        context.release_listeners();
        assert!(context.listeners().is_empty());
        assert!(std::net::TcpStream::connect(at).is_ok());
        drop(clone);
        assert!(std::net::TcpStream::connect(at).is_err());
    }
}
