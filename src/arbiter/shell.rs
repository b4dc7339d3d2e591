//! The arbiter's hands: forks, sends signals, waits, and tells the [`Supervisor`] what has happened.
//!
//! It decides nothing. It waits for its own children only, each by its process id, unless it answers for all
//! of them; and it never blocks but in its poll.
//!
//! *Invariants*: no signal is sent to a process that has been waited for; in a child, everything of the
//! arbiter's is closed before the worker's first line, and no frame of the arbiter or its host is returned
//! into.

mod report;
mod spawn;
mod succession;
mod titles;
mod trial;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::action::{Action, ExitReport, Failure, Input, Limits, RecycleReason};
use super::command::{self, Command, SIGNALS};
use super::handle::{ArbiterState, CommandQueue};
use super::listeners::{ArbiterListeners, DeferredUnlinks};
use super::reexec::{Predecessor, ReexecCommand};
use super::supervisor::Supervisor;
use super::{ArbiterEvent, Observer, Source};
use crate::error::{Error, Result};
use crate::ipc::link::{ArbiterEnd, LastWords, Message};
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::{Listeners, QueuePolicy, handover};
use crate::sys::foreign_fork;
use crate::sys::fork::{self, Exit};
use crate::sys::memory::{self, OomKills};
use crate::sys::pidfile::PidFile;
use crate::sys::signal::{self, Pipe, Signals};
use crate::sys::stacks::Stacks;
use crate::sys::title::Title;
use crate::time::MonoTime;
use crate::trace::{debug, error, info};
use crate::worker::{self, Worker};
use spawn::ChildSetup;
use succession::Successor;
use trial::Former;

/// All descriptors have one token: whichever is readable, everything is looked at.
const ANY: Token = Token(0);
/// How often the workers' calls and their memory are looked at, where those have bounds.
const LOOK: Duration = Duration::from_millis(500);
/// How soon it looks again at what was about to be complete: an exit, a text.
const SOON: Duration = Duration::from_millis(5);

/// A worker process that exists.
#[derive(Debug)]
struct Child {
    id: u64,
    slot: usize,
    link: ArbiterEnd,
    stacks: Stacks,
    /// Its own queues, for the one that takes its place; given up when it is asked to leave.
    queues: Listeners,
    /// Whether its stacks have been logged: it shows them once more when it is aborted.
    examined: bool,
    heard: MonoTime,
    ready: bool,
    words: Option<LastWords>,
    /// What it exits with, whatever becomes of its last step: once its work is done.
    ending: Option<i32>,
    /// It has been waited for: its process id may be another's by now.
    reaped: bool,
}

/// Where a turn of the loop leads.
enum Flow {
    /// To the next one, by this moment at the latest.
    Next(Option<MonoTime>),
    /// Out of the loop.
    End(Result<(), Failure>),
    /// Out of the arbiter: this is a worker's process.
    Child(Box<ChildSetup>),
}

/// What an arbiter is given for its whole life.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArbiterOptions {
    /// How many processes there can be at once.
    pub(super) slots: usize,
    /// Whether it takes the process's signals.
    pub(super) signals: bool,
    /// Whether it waits for children that are not its workers.
    pub(super) reap_orphans: bool,
    /// How often its observer is told that it is alive.
    pub(super) pulse: Option<Duration>,
}

/// The arbiters before and after this one.
#[derive(Debug)]
pub(super) struct Lineage {
    pub(super) exec: ReexecCommand,
    pub(super) predecessor: Option<Predecessor>,
}

/// One run of an arbiter.
pub(super) struct Shell<W> {
    worker: W,
    listeners: ArbiterListeners,
    /// What is left of those that are closed.
    unlinks: DeferredUnlinks,
    limits: Limits,
    /// Which pid file the settings in force name.
    pidfile: Option<PathBuf>,
    /// The pid files that are there: also that of what was in force before the settings on trial.
    pidfiles: Vec<PidFile>,
    options: ArbiterOptions,
    command_queue: CommandQueue,
    /// Where new settings come from.
    pub(super) reload: Option<Source<W>>,
    /// What lists of processes call it, if they are to.
    pub(super) name: Option<String>,
    title: Option<Title>,
    /// What was in force before the settings on trial.
    former: Option<Former<W>>,
    /// What an upgrade executes.
    exec: ReexecCommand,
    /// The arbiter that has started this one, while it lives.
    predecessor: Option<Predecessor>,
    /// The same when it has gone. It may only have begun to end: a link that closed now would say that this one has gone.
    followed: Option<Predecessor>,
    /// The one that this one has started, while it lives.
    successor: Option<Successor>,
    supervisor: Supervisor,
    scoreboard: Arc<Scoreboard>,
    children: BTreeMap<i32, Child>,
    poll: Poll,
    signals: Signals,
    oom_kills: OomKills,
    /// Whether something that was found is about to be complete.
    look_soon: bool,
    /// When the observer is to be told again that the arbiter is alive.
    pulse_at: Option<MonoTime>,
}

/// Makes the pid file, if there is to be one. The arbiter before this one hears of a failure.
fn claim(path: Option<PathBuf>, predecessor: Option<&Predecessor>) -> Result<Option<PidFile>> {
    let claimed = match predecessor {
        Some(before) => path.map(|path| PidFile::claim_beside(path, before.pid)),
        None => path.map(PidFile::claim),
    };
    claimed.transpose().inspect_err(|error| {
        if let Some(predecessor) = predecessor {
            predecessor.tell_failure(error.to_string());
        }
    })
}

impl<W: Worker> Shell<W> {
    /// Takes the process's signals, and then the pid file: a signal that ends the arbiter finds it able to remove that.
    pub(super) fn new(
        worker: W,
        listeners: ArbiterListeners,
        limits: Limits,
        pidfile: Option<PathBuf>,
        options: ArbiterOptions,
        command_queue: CommandQueue,
        lineage: Lineage,
    ) -> Result<Self> {
        let scoreboard = Arc::new(Scoreboard::new(options.slots, limits.calls)?);
        command_queue.show(&scoreboard);
        let poll = Poll::new().map_err(|e| Error::io("cannot make the arbiter's poll", e))?;
        let table = SIGNALS.iter().filter(|_| options.signals);
        let table = table.map(|row| (row.signal, row.disposition));
        let signals = Signals::install(Pipe::new()?, table)?;
        let pidfile = claim(pidfile, lineage.predecessor.as_ref())?;
        let shell = Self {
            worker,
            listeners,
            unlinks: DeferredUnlinks::default(),
            limits,
            pidfile: pidfile.as_ref().map(|file| file.path().to_owned()),
            pidfiles: pidfile.into_iter().collect(),
            options,
            command_queue,
            reload: None,
            name: None,
            title: None,
            former: None,
            exec: lineage.exec,
            supervisor: match lineage.predecessor {
                Some(_) => Supervisor::new(limits, options.slots).with_predecessor(),
                None => Supervisor::new(limits, options.slots),
            },
            predecessor: lineage.predecessor,
            followed: None,
            successor: None,
            scoreboard,
            children: BTreeMap::new(),
            poll,
            signals,
            oom_kills: OomKills::watch(),
            look_soon: false,
            pulse_at: options.pulse.map(|_| MonoTime::now()),
        };
        let watched = shell
            .watch(&shell.signals)
            .and_then(|()| shell.watch(&shell.command_queue))
            .and_then(|()| {
                shell
                    .predecessor
                    .as_ref()
                    .map_or(Ok(()), |it| shell.watch(it))
            });
        watched.map_err(|e| Error::io("cannot watch the arbiter's descriptors", e))?;
        Ok(shell)
    }

    /// Has the worker load what is to be shared. Who asks the arbiter to stop meanwhile breaks that off, and what
    /// follows is that stop.
    pub(super) fn preload(&mut self) -> Result<()> {
        self.close_in_foreign_forks();
        match preload(&mut self.worker, &self.signals) {
            Err(error) if signal::was_asked_to_leave() => info!("Loading was broken off: {error}"),
            Err(error) => {
                if let Some(predecessor) = &self.predecessor {
                    predecessor.tell_failure(error.to_string());
                }
                self.worker.unload();
                foreign_fork::admit();
                return Err(error);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Keeps what is the arbiter's from children that others fork: what is loaded may have helpers of its own.
    fn close_in_foreign_forks(&self) {
        let mut private = vec![self.poll.as_raw_fd()];
        let mut add = |fd: BorrowedFd<'_>| private.push(fd.as_raw_fd());
        self.signals.descriptors().into_iter().for_each(&mut add);
        add(self.command_queue.as_fd());
        self.predecessor.iter().for_each(|it| add(it.as_fd()));
        self.successor.iter().for_each(|it| add(it.as_fd()));
        self.pidfiles
            .iter()
            .filter_map(PidFile::descriptor)
            .for_each(&mut add);
        let mut listeners = vec![self.listeners.listeners()];
        listeners.extend(
            self.former
                .iter()
                .map(|former| former.listeners().listeners()),
        );
        for child in self.children.values() {
            add(child.link.as_fd());
            add(child.stacks.as_fd());
            listeners.push(child.queues.clone());
        }
        listeners
            .iter()
            .flatten()
            .for_each(|door| add(door.as_fd()));
        foreign_fork::keep_out(private);
    }

    /// Supervises until the end. In a worker's process it does not return.
    pub(super) fn run(mut self, observer: &mut Observer) -> Result<()> {
        let listeners = self.listeners.listeners();
        if !listeners.is_empty() {
            let urls: Vec<String> = listeners.iter().map(ToString::to_string).collect();
            info!("Listening at: {} ({})", urls.join(","), process::id());
        }
        self.unlinks.extend(handover::close_rest());
        if let Some(Predecessor { pid, .. }) = self.predecessor {
            info!("Following the arbiter with pid {pid}");
            observer(&ArbiterEvent::Following { pid });
        }
        self.set_title();
        observer(&ArbiterEvent::Started { listeners });
        self.show_status(false);
        let to = self.supervisor.target();
        observer(&ArbiterEvent::Resized { from: None, to });
        let mut events = Events::with_capacity(64);
        loop {
            let next = match self.turn(observer) {
                Flow::Next(next) => next,
                Flow::End(end) => return self.end(end, observer),
                Flow::Child(setup) => self.become_worker(*setup),
            };
            self.beat(observer);
            let next = next.into_iter().chain(self.pulse_at).min();
            let timeout = next.map(|next| next.since(MonoTime::now()));
            match self.poll.poll(&mut events, self.patience(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::io("the arbiter's poll failed", error));
                }
                _ => {}
            }
        }
    }

    /// Tells the observer that the arbiter is alive, if that is due.
    fn beat(&mut self, observer: &mut Observer) {
        let (Some(at), Some(every)) = (self.pulse_at, self.options.pulse) else {
            return;
        };
        let now = MonoTime::now();
        if now >= at {
            self.pulse_at = Some(now + every);
            observer(&ArbiterEvent::Pulse);
        }
    }

    /// How long to poll, if the supervisor would wait for so long.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        let bounded = self.supervisor.bounds_requests() || self.limits.max_worker_memory.is_some();
        let own = match (self.look_soon, bounded) {
            (true, _) => Some(SOON),
            (false, true) => Some(LOOK),
            (false, false) => None,
        };
        match (own, timeout) {
            (Some(own), Some(timeout)) => Some(own.min(timeout)),
            (own, timeout) => own.or(timeout),
        }
    }

    fn end(mut self, end: Result<(), Failure>, observer: &mut Observer) -> Result<()> {
        self.worker.unload();
        foreign_fork::admit();
        info!("Shutting down: Master");
        match &end {
            Err(Failure::App(_)) => info!("Reason: App failed to load."),
            Err(Failure::Boot(_)) => info!("Reason: Worker failed to boot."),
            _ => {}
        }
        let end = end.map_err(Error::from);
        if let (Err(error), Some(predecessor)) = (&end, &self.predecessor) {
            predecessor.tell_failure(error.to_string());
        }
        // The signals and the title are the host's again, and the pid file is gone, when the observer hears of it. Until
        // the files are gone a further signal must not end the process.
        self.pidfiles.clear();
        self.leave();
        drop((self.listeners, self.former, self.title));
        drop(self.signals);
        self.command_queue.set_state(ArbiterState::Ended);
        observer(&ArbiterEvent::Ended);
        end
    }

    /// Tells the supervisor everything that has happened, and does what it wants.
    fn turn(&mut self, observer: &mut Observer) -> Flow {
        let now = MonoTime::now();
        let mut actions = Vec::new();
        let mut inputs = self.collect(observer);
        inputs.push(Input::Wake);
        let mut next = None;
        // Doing may have results, and those consequences: so until there are none.
        while !inputs.is_empty() {
            for input in inputs.drain(..) {
                next = self.supervisor.step(now, input, &mut actions);
            }
            self.show_status(false);
            for action in actions.drain(..) {
                match action {
                    Action::Spawn { id, slot, queue_id } => {
                        match self.spawn(id, slot, queue_id, observer) {
                            Ok(input) => inputs.push(input),
                            Err(setup) => return Flow::Child(setup),
                        }
                    }
                    Action::Reexec => inputs.push(self.reexec(observer)),
                    Action::LoadConfig => inputs.extend(self.load(observer)),
                    Action::Exit(end) => return Flow::End(end),
                    other => self.perform(other, observer),
                }
            }
        }
        // Who was to be forked for those who have gone has been, and has their queues.
        self.listeners.close_free_queues();
        self.close_in_foreign_forks();
        Flow::Next(next)
    }

    /// Has handles tell what is so; `loading` while settings are read.
    fn show_status(&self, loading: bool) {
        self.command_queue.set_state(match self.supervisor.state() {
            ArbiterState::Stopping => ArbiterState::Stopping,
            _ if loading => ArbiterState::Reloading,
            stage => stage,
        });
        self.command_queue.set_target(self.supervisor.target());
    }

    /// What has happened since the last time. An exit hides a readiness that came with it, and comes after
    /// that of others: where one worker can boot, the failure of another ends nothing.
    fn collect(&mut self, observer: &mut Observer) -> Vec<Input> {
        let mut inputs: Vec<Input> = self.commands().into_iter().map(Input::Command).collect();
        let mut gone = BTreeMap::new();
        if self.options.reap_orphans {
            gone.extend(std::iter::from_fn(fork::reap_any));
        }
        let mut exits = Vec::new();
        // Also by settings that are in force no more, for those who were started with them.
        let bounds_requests = self.supervisor.bounds_requests();
        self.look_soon = false;
        let reap = |pid: i32| gone.remove(&pid).or_else(|| fork::reap(pid));
        inputs.extend(self.hear_upgrade(reap));
        for (&pid, child) in &mut self.children {
            // Asked before its messages are read: then the last of them are there.
            let exit = gone.remove(&pid).or_else(|| fork::reap(pid));
            let was_ready = child.ready;
            let mut recycle_due = None;
            while let Some(message) = child.link.receive() {
                match message {
                    Message::Ready => child.ready = true,
                    Message::RecycleDue(requests) => {
                        recycle_due = Some(RecycleReason::Requests(requests));
                    }
                    Message::LastWords(words) => child.words = Some(words),
                    Message::Ending(status) => child.ending = Some(status),
                    Message::Late => report::late(pid),
                }
            }
            let mut text = child.stacks.read();
            if exit.is_some() && child.stacks.is_pending() {
                text = child.stacks.read();
            }
            if let Some(text) = text.filter(|_| !child.examined) {
                error!("Stacks of worker (pid:{pid}):\n{text}");
                child.examined = true;
            }
            if let Some(exit) = exit {
                let exit = report::verdict(pid, exit, child.ending);
                child.reaped = true;
                exits.push(Input::Exited {
                    pid,
                    exit,
                    ready: child.ready,
                    words: child.words.take(),
                });
                continue;
            }
            // The kernel closes the descriptors of a process before the process can be waited for.
            self.look_soon |= child.stacks.is_pending() || child.link.is_closed();
            let id = child.id;
            if child.ready && !was_ready {
                inputs.push(Input::Ready { id });
                observer(&ArbiterEvent::WorkerReady { id, pid });
            }
            // It says so once, and only who serves can be due for recycling.
            inputs.extend(recycle_due.map(|reason| Input::RecycleDue { id, reason }));
            let slot = self.scoreboard.slot(child.slot);
            let heard = slot.heard();
            if heard > child.heard {
                child.heard = heard;
                inputs.push(Input::Beat { id, at: heard });
            }
            if bounds_requests {
                let oldest = slot.calls().map(|call| call.started).min();
                let alone = slot.connections() <= 1;
                inputs.extend(oldest.map(|since| Input::InCall { id, since, alone }));
            }
            if let Some(most) = self.limits.max_worker_memory {
                let memory = memory::resident(pid).filter(|bytes| *bytes >= most);
                inputs.extend(memory.map(|bytes| Input::RecycleDue {
                    id,
                    reason: RecycleReason::Memory(bytes),
                }));
            }
        }
        for (pid, exit) in gone {
            debug!("Process {pid}, which is no worker, {exit}");
        }
        inputs.append(&mut exits);
        inputs
    }

    /// What the arbiter was told, by signals and by its host.
    fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for signal in self.signals.drain() {
            let Some(command) = Command::from_signal(signal) else {
                debug!("Received signal: {}", command::name(signal));
                continue;
            };
            if command == Command::Quiesce && signal::has_terminal() {
                debug!("Ignoring signal: winch, since a terminal controls this process");
                continue;
            }
            info!("Handling signal: {}", command::name(signal));
            commands.push(command);
        }
        commands.extend(self.command_queue.take());
        commands
    }

    fn perform(&mut self, action: Action, observer: &mut Observer) {
        match action {
            Action::Signal {
                pid,
                slot,
                order,
                why,
            } => {
                // A worker that has gone in this very turn is not told any more.
                let Some(child) = self.children.get_mut(&pid).filter(|child| !child.reaped) else {
                    return;
                };
                child.examined &= order != WorkerSignal::Stacks;
                if matches!(order, WorkerSignal::Leave | WorkerSignal::Quit) {
                    child.queues = Listeners::default();
                }
                self.explain(pid, slot, why);
                if let Err(error) = order.send(pid) {
                    error!("{error}");
                }
            }
            Action::Reaped(report) => self.reaped(&report, observer),
            Action::Recycle { pid, reason } => report::recycled(pid, reason),
            Action::ForkRetry { reason, retry } => {
                error!(
                    "{reason}; the next attempt follows in {} s",
                    retry.as_secs_f64()
                );
            }
            Action::CommitReload => self.commit_reload(),
            Action::RevertReload { reason } => self.revert(reason, observer),
            Action::RefuseUpgrade { successor } => succession::refuse(successor),
            Action::Upgraded { pid } => {
                info!(
                    "The new arbiter (pid:{pid}) serves: stop this one when it is no longer needed"
                );
                observer(&ArbiterEvent::Upgraded { pid });
            }
            Action::StopSuccessor { pid, order } => self.stop_successor(pid, order),
            Action::UpgradeFailed { reason } => {
                error!("Upgrade failed, and this arbiter goes on: {reason}");
                observer(&ArbiterEvent::UpgradeFailed { reason });
            }
            Action::SuccessorGone { pid, exit } => {
                succession::lost(pid, exit, self.supervisor.state() == ArbiterState::Quiesced);
                let reason = format!("the new arbiter {exit}");
                observer(&ArbiterEvent::UpgradeFailed { reason });
            }
            Action::NotifyPredecessor => {
                if let Some(predecessor) = &self.predecessor {
                    predecessor.notify_predecessor();
                }
            }
            Action::Promote => self.promote(observer),
            Action::ReopenLogs => observer(&ArbiterEvent::ReopenLogs),
            Action::Ready => {
                let workers = self.supervisor.target();
                observer(&ArbiterEvent::Ready { workers });
            }
            Action::Resized { from, to } => {
                let from = Some(from);
                observer(&ArbiterEvent::Resized { from, to });
            }
            Action::StopListening => {
                let policy = if self.listeners.are_ours_alone() {
                    QueuePolicy::DrainAndClose
                } else {
                    QueuePolicy::Drain
                };
                self.scoreboard.set_queue_policy(policy);
                observer(&ArbiterEvent::Stopping);
                if let Some(former) = &mut self.former {
                    former.close_but(&self.listeners, &mut self.unlinks);
                }
                self.listeners.close(&mut self.unlinks);
                for child in self.children.values_mut() {
                    child.queues = Listeners::default();
                }
            }
            Action::Spawn { .. } | Action::LoadConfig | Action::Reexec | Action::Exit(_) => {}
        }
    }

    fn reaped(&mut self, report: &ExitReport, observer: &mut Observer) {
        let ExitReport { id, pid, slot, .. } = *report;
        if let Some(child) = self.children.remove(&pid) {
            // A sibling that is being forked may hold a copy, so closing it is not enough.
            self.forget(&child.link);
            self.forget(&child.stacks);
            if child.ready {
                self.listeners.take_back(&child.queues);
            }
        }
        self.scoreboard.slot(slot).clear();
        let status = match report.exit {
            Exit::Code(code) => Some(ExitStatus::from_raw((code & 0xff) << 8)),
            Exit::Signal(signal) => Some(ExitStatus::from_raw(signal as i32)),
            Exit::Unknown => None,
        };
        report::gone(report, &mut self.oom_kills);
        observer(&ArbiterEvent::WorkerExited { id, pid, status });
    }

    fn watch(&self, fd: impl AsFd) -> io::Result<()> {
        let fd = fd.as_fd().as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), ANY, Interest::READABLE)
    }

    fn forget(&self, fd: impl AsFd) {
        let fd = fd.as_fd().as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
    }
}

/// Has a worker load what is to be shared. What is loaded may take signals for itself: they are the arbiter's again.
fn preload(worker: &mut impl Worker, signals: &Signals) -> Result<()> {
    let arbiter = process::id();
    let loaded = catch_unwind(AssertUnwindSafe(|| worker.preload()))
        .unwrap_or_else(|panic| Err(Error::panicked("the worker's preloading", &*panic)));
    if process::id() != arbiter {
        // It would be a second arbiter.
        worker::exit_forked_child(
            &format!("the loading of arbiter {arbiter}"),
            loaded.as_ref().err(),
        );
    }
    signals.reinstall()?;
    loaded
}
