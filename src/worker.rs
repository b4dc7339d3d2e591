//! A process that works: the [`Worker`] trait, and the [`WorkerContext`] through which a worker and its
//! arbiter know of each other.
//!
//! There is no HTTP here, no service and no Python: a worker may do anything that it can stop doing when
//! it is asked to.
//!
//! ```text
//!          fork            ready()            TERM, the arbiter's end
//!   arbiter ──▶ starting ──────▶ working ─────────────────────────────▶ Graceful ──▶ run returns
//!                  │                │            INT, QUIT
//!                  │                └────────────────────────────────▶ Quick ─────▶ run returns
//!                  ├─ Err: last words, exit status 3 or 4
//!                  └─ TERM, INT, QUIT, the arbiter's end: SIGTERM's own, with nothing to finish
//! ```
//!
//! In a process of a program's own there is no arbiter and there are no signals: a [`ShutdownHandle`] asks.
//!
//! *Invariants*: what a worker is asked only grows (Running, Graceful, Quick); a worker process never
//! returns into the frames of the program that started the arbiter.

mod call_time;
mod credentials;
pub(crate) mod in_process;
mod leadership;
mod process;
mod serving;
mod shutdown;
mod sync;
mod threaded;
mod threads;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::atomic_enum::AtomicEnum;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::ipc::link::{LATE, Message, WorkerEnd};
use crate::ipc::scoreboard::{OwnSlot, Scoreboard, WorkerState};
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::{Listeners, QueuePolicy};
use crate::sys::exit_deadline;
use crate::sys::fork;
use crate::sys::memory;
use crate::sys::parent_death;
use crate::sys::poll_set::PollSet;
use crate::sys::signal::{self, Disposition, Signals};
use crate::time::MonoTime;
use crate::trace::{error, info, warning};

pub(crate) use credentials::WithCredentials;
pub use in_process::{Running, RunningHandle, RunningStatus};
pub(crate) use process::run_process;
pub use shutdown::{Shutdown, ShutdownHandle};
pub use sync::SyncWorker;
pub use threaded::ThreadedWorker;

/// How long a worker that is told to leave at once goes on with what it has.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The same for one that is aborted.
const WORDS_OF_THE_ABORTED: Duration = Duration::from_millis(500);

/// What a worker process does. Every `FnMut(&WorkerContext) -> Result<()>` is one.
pub trait Worker {
    /// Works until it is asked to stop, in a process of its own.
    ///
    /// It says [`ready`](WorkerContext::ready) when it can work, [`beat`](WorkerContext::beat)s while it
    /// does, and leaves when [`shutdown`](WorkerContext::shutdown) asks for it. Returning `Ok` is exit
    /// status 0, whether asked or not; the arbiter replaces a worker that was not asked.
    ///
    /// # Errors
    ///
    /// Before the worker was ready it has failed to boot: exit status 4 for [`Error::is_app`], else 3, and
    /// the sentence becomes the arbiter's. Afterwards it is exit status 255.
    ///
    /// [`Error::is_app`]: crate::Error::is_app
    fn run(&mut self, context: &WorkerContext) -> Result<()>;

    /// Loads in the arbiter, before the first fork, what the workers are to share.
    ///
    /// # Errors
    ///
    /// End the start.
    fn preload(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether something was loaded so: the workers of a reload have it as well, and nothing newer.
    fn is_preloaded(&self) -> bool {
        false
    }

    /// How many requests it answers at once: the scoreboard has a place for each.
    fn calls(&self) -> usize {
        1
    }

    /// Forks: must call `fork` once, in the arbiter, and may do what must be done around it.
    ///
    /// It returns in both processes; what `fork` gave says in which one it is.
    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        fork();
    }

    /// The arbiter ends, and no worker is left: ends what [`preload`](Self::preload) has begun, also where that has
    /// failed. The process goes on.
    fn unload(&mut self) {}

    /// The last thing that is called in a worker's process, after [`run`](Self::run): the status is fixed, the log is
    /// written, and the process ends within two seconds, wherever it is.
    fn end(&mut self) {}
}

impl<F: FnMut(&WorkerContext) -> Result<()>> Worker for F {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        self(context)
    }
}

/// What a worker comes to, for who runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEvent {
    /// It can do its work.
    Ready,
    /// It is asked for more than it was before.
    Asked(Shutdown),
    /// It was aborted from outside, and leaves at once.
    Aborted,
    /// Its process ends now, within calls of its service: nothing will return.
    Abandoned,
}

/// A callback, which has no text of its own.
struct EventCallback(Box<dyn Fn(WorkerEvent) + Send + Sync>);

impl fmt::Debug for EventCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventCallback")
    }
}

/// What a worker does with signals, and the same in words; the arbiter's own table has the same ones.
pub(crate) const SIGNALS: &[(Signal, Disposition, &str)] = &[
    (
        Signal::SIGTERM,
        Disposition::Queue,
        "Take nothing new, finish what is there, and leave with status 0; another worker follows. One that is not \
         ready yet has nothing to finish, and ends by the signal at once.",
    ),
    (
        Signal::SIGINT,
        Disposition::Queue,
        "Leave at once, with status 0: calls that run are broken off where they can be (a Python call gets \
         `SystemExit`), no connection is accepted any more, and the complete requests of accepted ones are answered \
         within a second; another worker follows. One that is not ready yet ends as by TERM.",
    ),
    (Signal::SIGQUIT, Disposition::Queue, "As INT."),
    (
        Signal::SIGHUP,
        Disposition::Drop,
        "Without effect: it is for the arbiter, and a worker that is sent it by mistake (`pkill -HUP`) lives on.",
    ),
    (Signal::SIGTTIN, Disposition::Drop, "Without effect."),
    (Signal::SIGTTOU, Disposition::Drop, "Without effect."),
    (
        Signal::SIGUSR1,
        Disposition::Queue,
        "Open the log files again.",
    ),
    (Signal::SIGUSR2, Disposition::Drop, "Without effect."),
    (Signal::SIGWINCH, Disposition::Drop, "Without effect."),
    (
        Signal::SIGCHLD,
        Disposition::Default,
        "The application's own.",
    ),
    (Signal::SIGPIPE, Disposition::Ignore, "Ignored."),
    (Signal::SIGXFSZ, Disposition::Ignore, "Ignored."),
    (
        Signal::SIGABRT,
        Disposition::Default,
        "Leave at once, with status 1: so the arbiter ends a worker that makes no progress. A running request is \
         broken off as by INT, and complete requests are answered within half a second. A worker that is not ready \
         yet, and one that aborts itself, end by the signal.",
    ),
];

/// How long the last step of a worker may take that was not told to hurry.
const GRACEFUL_END: Duration = Duration::from_secs(2);
/// The same for one that was: its arbiter kills it two seconds after that.
const QUICK_END: Duration = Duration::from_secs(1);
/// The same for one that leaves calls behind, to whose end it has waited for a second.
const ABANDONED_END: Duration = Duration::from_millis(500);

/// The numbers that a worker is given when it is forked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) slot: usize,
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
    place: Place,
    listeners: Mutex<Listeners>,
    /// Whether connections wait for this worker alone (`SO_REUSEPORT`).
    own_queue: bool,
    scoreboard: Arc<Scoreboard>,
    arbiter: Option<Lines>,
    shutdown_handle: ShutdownHandle,
    wake: PollSet,
    asked: AtomicEnum<Shutdown>,
    ready: AtomicBool,
    recycle_due: AtomicBool,
    reopen: AtomicBool,
    orphaned: AtomicBool,
    aborted: AtomicBool,
    observer: OnceLock<EventCallback>,
}

/// What connects a worker with its arbiter.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) link: WorkerEnd,
    pub(crate) signals: Signals,
    /// Where the stacks of its threads go when they are asked for.
    pub(crate) stacks: OwnedFd,
    /// The arbiter's process id.
    pub(crate) arbiter: i32,
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

    /// The same, for a worker that answers so many requests at once.
    fn within(listeners: Listeners, calls: usize) -> Result<Self> {
        let place = Place {
            id: 1,
            slot: 0,
            workers: 1,
            beat_every: None,
            max_requests: None,
            graceful_timeout: Duration::ZERO,
        };
        let scoreboard = Scoreboard::new(1, calls)?;
        scoreboard.assign(place.slot, place.id, calls, MonoTime::now());
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
        let orphaned = AtomicBool::new(arbiter.is_none());
        let own_queue = listeners.iter().any(|listener| listener.is_own());
        let shutdown_handle = ShutdownHandle::new()?;
        let wake = PollSet::new()?;
        wake.watch(&shutdown_handle)?;
        if let Some(lines) = &arbiter {
            wake.watch(&lines.link)?;
            wake.watch(&lines.signals)?;
        }
        scoreboard
            .own_slot(place.slot)
            .set_pid(Pid::this().as_raw());
        Ok(Self {
            place,
            listeners: Mutex::new(listeners),
            own_queue,
            scoreboard,
            arbiter,
            shutdown_handle,
            wake,
            asked: AtomicEnum::new(Shutdown::Running),
            ready: AtomicBool::new(false),
            recycle_due: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            orphaned,
            aborted: AtomicBool::new(false),
            observer: OnceLock::new(),
        })
    }

    /// Tells `observer` what the worker comes to, on the thread that finds out. Only the first one is told.
    pub(crate) fn observe(&self, observer: impl Fn(WorkerEvent) + Send + Sync + 'static) {
        let _ = self.observer.set(EventCallback(Box::new(observer)));
    }

    fn tell(&self, event: WorkerEvent) {
        if let Some(EventCallback(observe)) = self.observer.get() {
            observe(event);
        }
    }

    /// What asks this worker to leave from other threads of its process.
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown_handle.clone()
    }

    /// Which worker this is, from 1 on; a replacement has a number of its own.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.place.id
    }

    /// How many workers there were to be when this one was forked.
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
        if self.arbiter.is_some() {
            signal::boot_is_over();
        }
        for listener in &self.listeners() {
            listener.open_queue();
        }
        let slot = self.slot();
        slot.beat(MonoTime::now());
        slot.set_state(WorkerState::Ready);
        if let Some(lines) = &self.arbiter {
            lines.link.send(&Message::Ready);
        }
        self.tell(WorkerEvent::Ready);
    }

    /// The worker makes progress. One store in shared memory: to be called in each turn of a loop.
    ///
    /// The arbiter is told, once, when the worker's [slot](Self::slot) has counted as many requests as the
    /// worker is to answer: it serves on until it is asked to leave, when another one has taken its place.
    pub fn beat(&self, now: MonoTime) {
        let slot = self.slot();
        slot.beat(now);
        let (Some(most), Some(lines)) = (self.place.max_requests, &self.arbiter) else {
            return;
        };
        let requests = slot.requests();
        if requests >= most && !self.recycle_due.swap(true, Ordering::Relaxed) {
            lines.link.send(&Message::RecycleDue(requests));
        }
    }

    /// How long a worker may wait for work before it must [`beat`](Self::beat) again: half of the
    /// arbiter's `timeout`. `None` where nobody watches.
    #[must_use]
    pub fn beat_every(&self) -> Option<Duration> {
        self.place.beat_every
    }

    /// What the worker is asked to do; takes in what has made [`wake`](Self::wake) readable.
    ///
    /// At most a few system calls: to be asked when `wake` is readable, not with each turn of a hot loop.
    pub fn shutdown(&self) -> Shutdown {
        let mut asked = self.shutdown_handle.take();
        let mut aborted = false;
        if let Some(lines) = &self.arbiter {
            for signal in lines.signals.drain() {
                asked = asked.max(match signal {
                    Signal::SIGTERM => Shutdown::Graceful,
                    Signal::SIGINT | Signal::SIGQUIT => Shutdown::Quick,
                    Signal::SIGABRT => {
                        aborted = true;
                        Shutdown::Quick
                    }
                    Signal::SIGUSR1 => {
                        self.reopen.store(true, Ordering::Relaxed);
                        Shutdown::Running
                    }
                    _ => Shutdown::Running,
                });
            }
            if lines.link.is_closed() {
                asked = asked.max(Shutdown::Graceful);
                // It would be readable for ever.
                self.wake.forget(&lines.link);
                self.orphaned.store(true, Ordering::Relaxed);
            }
        }
        let before = self.asked.raise(asked, Ordering::Relaxed);
        if aborted && !self.aborted.swap(true, Ordering::Relaxed) {
            self.tell(WorkerEvent::Aborted);
        } else if before < asked {
            self.tell(WorkerEvent::Asked(asked));
        }
        self.asked()
    }

    /// Whether this worker is to leave at once: true from the moment of the signal, or of the handle's call,
    /// before [`shutdown`](Self::shutdown) has taken it in. No system call.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.arbiter.is_some() && signal::is_interrupted()
            || self.shutdown_handle.was_asked(Shutdown::Quick)
    }

    /// How long a worker that leaves at once may take for those whom it has accepted: half of what the arbiter gives
    /// it, which has to retire in the other half.
    pub(crate) fn last_words(&self) -> Duration {
        if self.aborted.load(Ordering::Relaxed) {
            WORDS_OF_THE_ABORTED
        } else {
            LAST_WORDS
        }
    }

    /// The status of a worker that leaves because it was asked to.
    fn status(&self) -> i32 {
        i32::from(self.aborted.load(Ordering::Relaxed))
    }

    /// Takes SIGABRT: to be called when the service is made, which may have had it before.
    pub(crate) fn take_abort(&self) -> Result<()> {
        self.arbiter
            .as_ref()
            .map_or(Ok(()), |_| signal::take_abort())
    }

    /// Whether the worker was asked to open its logs again since the last time: to be looked at after
    /// [`shutdown`](Self::shutdown), which takes the signal in.
    pub fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::Relaxed)
    }

    /// Where this process is to write the stacks of all its threads when it gets the signal of that number,
    /// even if it hangs; `None` without an arbiter.
    #[must_use]
    pub fn stacks(&self) -> Option<(BorrowedFd<'_>, i32)> {
        let lines = self.arbiter.as_ref()?;
        Some((lines.stacks.as_fd(), WorkerSignal::Stacks.number()))
    }

    /// How a worker that is asked to leave is to leave the listeners behind.
    #[must_use]
    pub fn queue_policy(&self) -> QueuePolicy {
        match self.scoreboard.queue_policy() {
            // Without an arbiter nobody comes after those who are here.
            QueuePolicy::Keep if self.orphaned.load(Ordering::Relaxed) => QueuePolicy::Drain,
            // Perhaps nobody else can answer those who wait.
            QueuePolicy::Keep if self.own_queue => QueuePolicy::Drain,
            leaving => leaving,
        }
    }

    /// Sees to it that this worker does not outlive its arbiter by more than the grace of its last requests, as far as
    /// the system lets it: one worker says where it does not.
    fn prepare_for_the_arbiters_end(&self) {
        let Some(lines) = &self.arbiter else { return };
        let Place {
            id,
            slot,
            graceful_timeout,
            ..
        } = self.place;
        let listeners = self.listeners();
        let sockets = listeners.iter().map(|listener| listener.as_fd());
        let scoreboard = Arc::clone(&self.scoreboard);
        let prepared = parent_death::prepare(
            lines.arbiter,
            WorkerSignal::ParentDeath.number(),
            sockets,
            graceful_timeout,
            move || scoreboard.slot(slot).state() == WorkerState::Busy,
        );
        if let (Err(error), 1) = (prepared, id) {
            warning!("If the arbiter is killed, workers in a call may outlive it: {error}");
        }
    }

    /// Has memory that is freed kept for the next request, until the worker [rests](Self::rest). Not in a process of
    /// somebody's own, whose allocator is that of the whole program.
    pub(crate) fn keep_memory(&self) {
        if self.arbiter.is_some() {
            memory::keep_freed();
        }
    }

    /// Gives memory back that is free: to be called when the worker has been idle for a while.
    pub(crate) fn rest(&self) {
        if self.arbiter.is_some() {
            memory::give_back();
        }
    }

    /// Whether this process is the worker's own, and ends with it.
    pub(crate) fn has_arbiter(&self) -> bool {
        self.arbiter.is_some()
    }

    /// Whether this is the worker's own process, and not a child that its service has forked.
    #[expect(clippy::unused_self, reason = "it is about this worker's process")]
    pub(crate) fn is_own_process(&self) -> bool {
        !fork::is_child()
    }

    /// Ends this process where it is not the worker's own: it would be a second one of the same place and the same
    /// connections, whom no arbiter knows. `outcome` is what `what`, in which it was forked, came to.
    pub(crate) fn exit_if_forked_child<T>(&self, what: &str, outcome: &Result<T>) {
        if self.is_own_process() {
            return;
        }
        let worker = self.slot().pid();
        exit_forked_child(
            &format!("{what} of worker {worker}"),
            outcome.as_ref().err(),
        );
    }

    /// Ends this worker's process at once, with calls of its service running in other threads: nothing
    /// could make them return. What `save` saves is saved. Returns only where there is no arbiter, and the process
    /// is somebody's.
    pub(crate) fn abandon(&self, save: impl FnOnce()) {
        if self.arbiter.is_some() {
            self.tell(WorkerEvent::Abandoned);
            info!("Worker exiting (pid: {})", Pid::this());
            self.end_within(ABANDONED_END, self.status(), save);
            fork::exit_now(self.status());
        }
    }

    /// Takes the last step in this process, if it is the worker's own: its status is fixed, and its log written.
    fn take_last_step(&self, status: i32, step: impl FnOnce()) {
        let bound = match self.asked() {
            Shutdown::Quick => QUICK_END,
            Shutdown::Running | Shutdown::Graceful => GRACEFUL_END,
        };
        self.end_within(bound, status, step);
    }

    /// Takes a step after which the process is to end, or in the middle of which it ends with this status.
    fn end_within(&self, bound: Duration, status: i32, step: impl FnOnce()) {
        let Some(lines) = &self.arbiter else { return };
        match exit_deadline::set(
            status,
            bound,
            (lines.link.as_fd(), LATE),
            WorkerSignal::ExitDeadline.number(),
            WorkerSignal::Stacks.number(),
        ) {
            Ok(()) => {
                lines.link.send(&Message::Ending(status));
                if catch_unwind(AssertUnwindSafe(step)).is_err() {
                    error!("the worker has panicked at its end");
                }
            }
            Err(error) => error!("{error}: it is left out"),
        }
    }

    /// Waits for `duration`, beating, or until the worker is asked for something new. For workers that
    /// have no poll of their own.
    pub fn pause(&self, duration: Duration) -> Shutdown {
        let before = self.asked();
        let mut now = MonoTime::now();
        let end = now + duration;
        loop {
            self.beat(now);
            let asked = self.shutdown();
            let left = end.since(now);
            if asked != before || left.is_zero() {
                return asked;
            }
            self.wake
                .wait(self.place.beat_every.map_or(left, |every| every.min(left)));
            now = MonoTime::now();
        }
    }

    /// A descriptor to register in the worker's own poll: readable when a signal has come, a handle was used
    /// or the arbiter has gone, until [`shutdown`](Self::shutdown) is called.
    #[must_use]
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
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

    fn asked(&self) -> Shutdown {
        self.asked.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends this process, which was forked in `what` and came back from it, perhaps by an error: with the status that a
/// program ends with by itself.
pub(crate) fn exit_forked_child(what: &str, error: Option<&Error>) -> ! {
    error!(
        "Process {}, which {what} has forked, came back from it, and ends: a child is to end by itself, or to become \
         another program",
        Pid::this(),
    );
    if let Some(error) = error {
        error!("It came back with: {}", error.report());
    }
    fork::vanish(error.and_then(Error::exit_status).unwrap_or(1));
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
