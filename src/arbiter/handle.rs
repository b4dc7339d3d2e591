//! [`Handle`]: gives an arbiter commands from the program that it runs in, and tells its status.
//!
//! It does what signals do, and needs none. What is asked is done by the arbiter in its own time: nothing here
//! waits, but a [`Completion`] can be waited for.

use std::collections::VecDeque;
use std::mem::take;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use nix::unistd::Pid;

use super::command::Command;
use super::completion::{self, Completion, Ticket};
use super::policy::GroupId;
use super::worker_order::WorkerOrder;
use crate::atomic_enum::{AtomicEnum, numbered};
use crate::error::Result;
use crate::ipc::link::{LinkEnd, Message};
use crate::ipc::scoreboard::{Scoreboard, WorkerState};
use crate::ipc::totals::Totals;
use crate::sys::eventfd::Notifier;
use crate::sys::mapping::{Mapping, Region, shared};
use crate::time::MonoTime;
use crate::worker::WorkerContext;

/// Tells an arbiter things from other threads, or from its observer. Made by
/// [`Arbiter::handle`](super::Arbiter::handle).
///
/// In a worker it reads the same: status, workers and totals. A worker and a service are given it by
/// [`WorkerContext::handle`] and [`ServiceContext::handle`](crate::service::ServiceContext::handle). Where
/// [`worker_commands`](super::ArbiterBuilder::worker_commands) allows it, a worker can have the arbiter stop, reload and
/// scale. Such a command is [handed over](super::Progress::HandedOver), and the worker is not told how it ends: its end may be
/// that of the worker. Other commands of a worker fail.
///
/// ```no_run
/// use oxicorn::{Arbiter, Result, WorkerContext};
///
/// # fn work(_: &WorkerContext) -> Result<()> { Ok(()) }
/// fn main() -> Result<()> {
///     let arbiter = Arbiter::builder(work).signals(false).allow_threads(true).build()?;
///     let handle = arbiter.handle();
///     std::thread::spawn(move || {
///         std::thread::sleep(std::time::Duration::from_secs(60));
///         handle.stop();
///     });
///     arbiter.run()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

/// What an arbiter is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArbiterState {
    /// It does not run, or its first workers are not yet all ready.
    Starting,
    /// All workers that are to be there have been; one that goes is replaced.
    Serving,
    /// It reads new settings, or puts new workers in the place of the old ones.
    Reloading,
    /// There are to be no workers, until one is asked for or it reloads (SIGWINCH).
    Quiesced,
    /// It has closed its listeners, and its workers leave.
    Stopping,
    /// It has ended.
    Ended,
}

numbered!(ArbiterState: Starting, Serving, Reloading, Quiesced, Stopping, Ended);

/// What an arbiter and its workers are doing. The numbers are read one by one: together they are no snapshot
/// of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What the arbiter does.
    pub state: ArbiterState,
    /// How many workers there are to be.
    pub target: usize,
    /// How many workers can take a request now.
    pub ready: usize,
    /// How many workers are there, those that start and that leave included.
    pub workers: usize,
    /// Open connections of all workers.
    pub connections: u64,
    /// Requests that the workers which are there have answered.
    pub requests: u64,
    /// The arbiter's process id; 0 before it runs.
    pub pid: i32,
    /// The number of the newest generation of settings; each reload whose settings can be read begins one for each group.
    pub generation: u64,
    /// For how long the arbiter has run.
    pub uptime: Duration,
    /// For how long the arbiter has been in the step that it is in now: reading settings, loading an application, calling a
    /// hook or an observer. Zero while it waits.
    pub busy: Duration,
}

shared! {
    /// What a handle tells of the arbiter: also in the workers.
    struct ArbiterCell {
        state: AtomicEnum<ArbiterState>,
        target: AtomicU64,
        pid: AtomicI32,
        generation: AtomicU64,
        started: AtomicU64,
        /// 0 while it waits.
        busy_since: AtomicU64,
        /// 1 where another arbiter has started this one as its successor.
        follows: AtomicU64,
    }
}

const ARBITER_CELL: NonZeroUsize = NonZeroUsize::new(size_of::<ArbiterCell>()).unwrap();

#[derive(Debug)]
struct Shared {
    /// What has been asked and not yet looked at; `None` when the arbiter is gone.
    commands: Mutex<Option<VecDeque<(Command, Ticket)>>>,
    /// The same of what is asked of single workers.
    orders: Mutex<Option<Vec<(WorkerOrder, Ticket)>>>,
    notifier: Notifier,
    cell: Region<ArbiterCell>,
    scoreboard: OnceLock<Arc<Scoreboard>>,
    /// The names of the groups, in their order.
    groups: OnceLock<Vec<Arc<str>>>,
    /// The arbiter's process: a forked child has only a copy of all this.
    process: u32,
    thread: Arc<OnceLock<ThreadId>>,
    /// How commands go to the arbiter from a worker; set in the worker's own copy of all this.
    worker: OnceLock<FromWorker>,
}

/// The way from a worker to its arbiter.
#[derive(Debug)]
struct FromWorker {
    link: LinkEnd,
    /// The worker's process: a child of it is no worker.
    process: u32,
    /// Whether the arbiter does what it asks for.
    may_command: bool,
}

#[expect(
    clippy::must_use_candidate,
    reason = "a command is done whether its end is waited for or not"
)]
impl Handle {
    /// Lets the workers finish what they have, then ends: what SIGTERM does. It is done when no worker is left.
    pub fn stop(&self) -> Completion {
        self.tell(Command::Stop)
    }

    /// Ends at once, giving up requests that are being answered: what SIGINT does.
    pub fn stop_now(&self) -> Completion {
        self.tell(Command::StopNow)
    }

    /// Puts new workers in the place of all: what SIGHUP does. It is taken when the new settings can be used, and done
    /// when a worker of each group serves by them. The others are replaced one by one after that. It has failed where
    /// there are to be no workers by then (SIGWINCH). A command to scale that has not ended when it is taken has failed:
    /// the settings say how many workers there are to be.
    pub fn reload(&self) -> Completion {
        self.tell(Command::Reload)
    }

    /// Starts the program anew, as it is now on disk, with the listeners that are open: what SIGUSR2 does.
    /// Both serve until one of them is told to stop. It is done when the new arbiter serves.
    pub fn upgrade(&self) -> Completion {
        self.tell(Command::Upgrade)
    }

    /// Sets the number of workers of the first group, at least one. It is done when that number serves, and no others.
    pub fn scale(&self, workers: usize) -> Completion {
        self.tell(Command::Scale(GroupId::FIRST, workers))
    }

    /// The same for the group of that name. Where there is none, the command has failed.
    pub fn scale_group(&self, group: &str, workers: usize) -> Completion {
        let mut names = self.group_names().iter();
        match names.position(|name| **name == *group) {
            Some(id) => self.tell(Command::Scale(GroupId(id), workers)),
            None => self.refuse(format!("there is no group {group:?} of workers")),
        }
    }

    /// Has the logs opened again, also in the workers: what SIGUSR1 does. It is done when the workers are told.
    pub fn reopen_logs(&self) -> Completion {
        self.tell(Command::ReopenLogs)
    }

    /// What the arbiter and its workers are doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let (shared, now) = (&self.0, MonoTime::now());
        let cell = &shared.cell[0];
        let since = |moment: &AtomicU64| match moment.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            nanos => now.since(MonoTime::from_nanos(nanos)),
        };
        let mut status = Status {
            state: cell.state.load(Ordering::Acquire),
            target: cell.target.load(Ordering::Relaxed) as usize,
            pid: cell.pid.load(Ordering::Relaxed),
            generation: cell.generation.load(Ordering::Relaxed),
            uptime: since(&cell.started),
            busy: since(&cell.busy_since),
            ready: 0,
            workers: 0,
            connections: 0,
            requests: 0,
        };
        if let Some(scoreboard) = self.scoreboard() {
            for slot in scoreboard.workers() {
                status.workers += 1;
                let serves = matches!(slot.state(), WorkerState::Ready | WorkerState::Busy);
                status.ready += usize::from(serves);
                status.connections += u64::from(slot.connections());
                status.requests += slot.requests();
            }
        }
        status
    }

    /// What all workers of the server have done since its start, with those that have ended and those of the arbiters
    /// before this one. No number of it is ever smaller later.
    ///
    /// `None` before the arbiter runs, and while the arbiter that it is to follow lives: of two exactly one tells, for
    /// both.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        self.scoreboard()?.totals()
    }

    /// The same, whichever arbiter tells them to others.
    pub(crate) fn shared_totals(&self) -> Option<Totals> {
        Some(self.scoreboard()?.counters().read())
    }

    /// Whether this arbiter, of all that share the totals, answers for the server.
    pub(crate) fn is_speaker(&self) -> bool {
        let own = self.0.cell[0].pid.load(Ordering::Relaxed);
        self.scoreboard()
            .is_some_and(|it| it.counters().speaker() == own)
    }

    /// Whether another arbiter has started this one as its successor, also when that has gone.
    pub(crate) fn follows(&self) -> bool {
        self.0.cell[0].follows.load(Ordering::Relaxed) != 0
    }

    /// From now on this process only reads the memory that it shares with the arbiter and the workers.
    pub(super) fn read_only(&self) -> Result<()> {
        self.0.cell.read_only()?;
        self.scoreboard().map_or(Ok(()), |it| it.read_only())
    }

    /// What the workers do; `None` before the arbiter runs.
    pub(super) fn scoreboard(&self) -> Option<&Arc<Scoreboard>> {
        self.0.scoreboard.get()
    }

    /// The names of the groups, in their order.
    pub(super) fn group_names(&self) -> &[Arc<str>] {
        self.0.groups.get().map_or(&[], Vec::as_slice)
    }

    fn tell(&self, command: Command) -> Completion {
        let shared = &self.0;
        if shared.process != process::id() {
            return self.tell_from_worker(command);
        }
        let (ticket, completion) = completion::pair(&shared.thread);
        let mut commands = lock(&shared.commands);
        if let Some(queue) = &mut *commands {
            queue.push_back((command, ticket));
            drop(commands);
            shared.notifier.notify();
        }
        completion
    }

    pub(super) fn order(&self, order: WorkerOrder) -> Completion {
        let shared = &self.0;
        if shared.process != process::id() {
            return self.refuse("only the arbiter's own process can ask that of workers".into());
        }
        let (ticket, completion) = completion::pair(&shared.thread);
        if let Some(orders) = &mut *lock(&shared.orders) {
            orders.push((order, ticket));
            shared.notifier.notify();
        }
        completion
    }

    fn tell_from_worker(&self, command: Command) -> Completion {
        let worker = self.0.worker.get();
        let Some(worker) = worker.filter(|worker| worker.process == process::id()) else {
            return self.refuse("this is a forked process: its arbiter hears nothing of it".into());
        };
        let Some(command) = command.by_worker() else {
            return self.refuse("a worker cannot have its arbiter do that".into());
        };
        if !worker.may_command {
            return self.refuse(
                "a worker cannot have its arbiter stop, reload or scale, unless `worker_commands` allows it".into(),
            );
        }
        if worker.link.is_closed() {
            return self.refuse("the arbiter has ended before".into());
        }
        if !worker.link.send(&Message::Command(command)) {
            return self
                .refuse("the arbiter has not yet looked at what it was asked before".into());
        }
        let (ticket, completion) = completion::pair(&self.0.thread);
        ticket.hand_over();
        completion
    }

    fn refuse(&self, reason: String) -> Completion {
        let (ticket, completion) = completion::pair(&self.0.thread);
        ticket.fail(reason);
        completion
    }
}

impl WorkerContext {
    /// The handle of this worker's arbiter, which tells status, workers and totals. Of its commands the arbiter does those
    /// that [`worker_commands`](super::ArbiterBuilder::worker_commands) allows. `None` without an arbiter.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.opaque_handle()?.downcast_ref().cloned()
    }
}

#[derive(Debug)]
pub(crate) struct CommandQueue(Arc<Shared>);

impl CommandQueue {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Arc::new(Shared {
            commands: Mutex::new(Some(VecDeque::new())),
            orders: Mutex::new(Some(Vec::new())),
            notifier: Notifier::new()?,
            cell: Mapping::anonymous(ARBITER_CELL)?.region(0, 1),
            scoreboard: OnceLock::new(),
            groups: OnceLock::new(),
            process: process::id(),
            thread: Arc::default(),
            worker: OnceLock::new(),
        })))
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.0))
    }

    pub(super) fn take(&self) -> VecDeque<(Command, Ticket)> {
        // First the descriptor, then the queue: a command that comes between them makes it readable again.
        self.0.notifier.clear();
        let mut commands = lock(&self.0.commands);
        commands.as_mut().map(take).unwrap_or_default()
    }

    pub(super) fn take_orders(&self) -> Vec<(WorkerOrder, Ticket)> {
        let mut orders = lock(&self.0.orders);
        orders.as_mut().map(take).unwrap_or_default()
    }

    /// In a worker's process: its commands go over this link.
    pub(super) fn become_worker(&self, link: &LinkEnd, may_command: bool) {
        if let Ok(link) = link.try_clone() {
            let _ = self.0.worker.set(FromWorker {
                link,
                process: process::id(),
                may_command,
            });
        }
    }

    pub(super) fn begin(&self) {
        let _ = self.0.thread.set(thread::current().id());
        let (cell, now) = (&self.0.cell[0], MonoTime::now().as_nanos());
        cell.pid.store(Pid::this().as_raw(), Ordering::Relaxed);
        cell.started.store(now, Ordering::Relaxed);
        cell.busy_since.store(now, Ordering::Relaxed);
    }

    /// The arbiter waits from now on, or does so no more.
    pub(super) fn set_waiting(&self, waits: bool) {
        let since = if waits { 0 } else { MonoTime::now().as_nanos() };
        self.0.cell[0].busy_since.store(since, Ordering::Relaxed);
    }

    pub(super) fn set_groups(&self, names: impl Iterator<Item = Arc<str>>) {
        let _ = self.0.groups.set(names.collect());
    }

    pub(super) fn show(&self, scoreboard: &Arc<Scoreboard>) {
        let _ = self.0.scoreboard.set(Arc::clone(scoreboard));
    }

    pub(super) fn set_state(&self, state: ArbiterState) {
        self.0.cell[0].state.store(state, Ordering::Release);
    }

    pub(super) fn set_follows(&self) {
        self.0.cell[0].follows.store(1, Ordering::Relaxed);
    }

    pub(super) fn set_generation(&self, newest: u64) {
        self.0.cell[0].generation.store(newest, Ordering::Relaxed);
    }

    pub(super) fn set_target(&self, target: usize) {
        let cell = &self.0.cell[0];
        cell.target.store(target as u64, Ordering::Relaxed);
    }
}

impl Drop for CommandQueue {
    fn drop(&mut self) {
        // In a child the lock may be held by a thread that is not there.
        if self.0.process == process::id() {
            let unanswered = lock(&self.0.commands).take();
            drop(unanswered);
            drop(lock(&self.0.orders).take());
        }
    }
}

impl AsFd for CommandQueue {
    /// Readable while [`take`](Self::take) has something to give.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.notifier.as_fd()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::completion::Progress;
    use crate::ipc::link;

    #[test]
    fn a_workers_command_that_is_not_handed_over_has_failed() {
        let mut command_queue = CommandQueue::new().unwrap();
        // As in a worker: the arbiter is another process.
        Arc::get_mut(&mut command_queue.0).unwrap().process = 0;
        let (arbiter, link) = link::pair().unwrap();
        command_queue.become_worker(&link, true);
        let handle = command_queue.handle();
        let mut asked = 0;
        while handle.reload().progress() == Progress::HandedOver {
            asked += 1;
            assert!(asked < 100_000, "the arbiter reads nothing");
        }
        let heard = std::iter::from_fn(|| arbiter.receive()).count();
        assert_eq!(heard, asked);
        assert_eq!(handle.reload().progress(), Progress::HandedOver);
    }

    #[test]
    fn what_is_asked_arrives_in_order_and_once() {
        let command_queue = CommandQueue::new().unwrap();
        let handle = command_queue.handle();
        handle.scale(3);
        handle.clone().reload();
        let commands = command_queue.take();
        let commands: Vec<Command> = commands.iter().map(|(command, _)| *command).collect();
        assert_eq!(
            commands,
            [Command::Scale(GroupId::FIRST, 3), Command::Reload]
        );
        assert!(command_queue.take().is_empty());
    }

    #[test]
    fn an_arbiter_that_has_not_run_is_starting() {
        let command_queue = CommandQueue::new().unwrap();
        let status = command_queue.handle().status();
        assert_eq!((status.state, status.workers), (ArbiterState::Starting, 0));
        command_queue.set_state(ArbiterState::Ended);
        command_queue.set_target(4);
        let status = command_queue.handle().status();
        assert_eq!((status.state, status.target), (ArbiterState::Ended, 4));
    }
}
