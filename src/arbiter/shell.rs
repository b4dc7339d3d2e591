//! The arbiter's hands: forks, sends signals, waits, and tells the [`Supervisor`] what has happened.
//!
//! It decides nothing. It waits for its own children only, each by its process id, unless it answers for all
//! of them; and it never blocks but in its poll.
//!
//! *Invariants*: no signal is sent to a process that has been waited for; in a child, everything of the
//! arbiter's is closed before the worker's first line, and no frame of the arbiter or its host is returned
//! into.

mod nursery;
mod report;
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

use super::action::{Action, Failure, Input, Limits, Obituary, Wear};
use super::command::{self, Command, SIGNALS};
use super::doors::{Doors, Left};
use super::handle::{Desk, Stage};
use super::supervisor::Supervisor;
use super::upgrade::{Exec, Predecessor};
use super::{Observer, Phase, Source};
use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::net::{Listeners, handover};
use crate::sys::fork::{self, Exit};
use crate::sys::link::{ArbiterEnd, LastWords, Message};
use crate::sys::memory::{self, OomKills};
use crate::sys::pidfile::PidFile;
use crate::sys::scoreboard::{Leaving, Scoreboard};
use crate::sys::signal::{self, Order, Pipe, Signals};
use crate::sys::stacks::Stacks;
use crate::sys::strangers;
use crate::sys::title::Title;
use crate::trace::{debug, error, info};
use crate::worker::{self, Worker};
use nursery::Newborn;
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
    heard: Tick,
    ready: bool,
    words: Option<LastWords>,
    /// What it exits with, whatever becomes of its last step: once its work is done.
    ending: Option<i32>,
    /// It has been waited for: its process id may be another's by now.
    reaped: bool,
}

/// Where a turn of the loop leads.
enum Turn {
    /// To the next one, by this moment at the latest.
    Next(Option<Tick>),
    /// Out of the loop.
    End(Result<(), Failure>),
    /// Out of the arbiter: this is a worker's process.
    Child(Box<Newborn>),
}

/// What an arbiter is given for its whole life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Powers {
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
pub(super) struct Line {
    pub(super) exec: Exec,
    pub(super) predecessor: Option<Predecessor>,
}

/// One run of an arbiter.
pub(super) struct Shell<W> {
    worker: W,
    doors: Doors,
    /// What is left of those that are closed.
    left: Left,
    limits: Limits,
    /// Which pid file the settings in force name.
    pidfile: Option<PathBuf>,
    /// The pid files that are there: also that of what was in force before the settings on trial.
    pidfiles: Vec<PidFile>,
    powers: Powers,
    desk: Desk,
    /// Where new settings come from.
    pub(super) reload: Option<Source<W>>,
    /// What lists of processes call it, if they are to.
    pub(super) name: Option<String>,
    title: Option<Title>,
    /// What was in force before the settings on trial.
    former: Option<Former<W>>,
    /// What an upgrade executes.
    exec: Exec,
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
    pulse_at: Option<Tick>,
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
        doors: Doors,
        limits: Limits,
        pidfile: Option<PathBuf>,
        powers: Powers,
        desk: Desk,
        line: Line,
    ) -> Result<Self> {
        let scoreboard = Arc::new(Scoreboard::new(powers.slots, limits.calls)?);
        desk.show(&scoreboard);
        let poll = Poll::new().map_err(|e| Error::io("cannot make the arbiter's poll", e))?;
        let table = SIGNALS.iter().filter(|_| powers.signals);
        let table = table.map(|row| (row.signal, row.disposition));
        let signals = Signals::install(Pipe::new()?, table)?;
        let pidfile = claim(pidfile, line.predecessor.as_ref())?;
        let shell = Self {
            worker,
            doors,
            left: Left::default(),
            limits,
            pidfile: pidfile.as_ref().map(|file| file.path().to_owned()),
            pidfiles: pidfile.into_iter().collect(),
            powers,
            desk,
            reload: None,
            name: None,
            title: None,
            former: None,
            exec: line.exec,
            supervisor: match line.predecessor {
                Some(_) => Supervisor::new(limits, powers.slots).second(),
                None => Supervisor::new(limits, powers.slots),
            },
            predecessor: line.predecessor,
            followed: None,
            successor: None,
            scoreboard,
            children: BTreeMap::new(),
            poll,
            signals,
            oom_kills: OomKills::watch(),
            look_soon: false,
            pulse_at: powers.pulse.map(|_| Tick::now()),
        };
        let watched = shell
            .watch(&shell.signals)
            .and_then(|()| shell.watch(&shell.desk))
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
        self.keep_strangers_out();
        match preload(&mut self.worker, &self.signals) {
            Err(error) if signal::is_interrupted() => info!("Loading was broken off: {error}"),
            Err(error) => {
                if let Some(predecessor) = &self.predecessor {
                    predecessor.tell_failure(error.to_string());
                }
                self.worker.unload();
                strangers::admit();
                return Err(error);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Keeps what is the arbiter's from children that others fork: what is loaded may have helpers of its own.
    fn keep_strangers_out(&self) {
        let mut private = vec![self.poll.as_raw_fd()];
        let mut add = |fd: BorrowedFd<'_>| private.push(fd.as_raw_fd());
        self.signals.descriptors().into_iter().for_each(&mut add);
        add(self.desk.as_fd());
        self.predecessor.iter().for_each(|it| add(it.as_fd()));
        self.successor.iter().for_each(|it| add(it.as_fd()));
        self.pidfiles
            .iter()
            .filter_map(PidFile::descriptor)
            .for_each(&mut add);
        let mut doors = vec![self.doors.listeners()];
        doors.extend(self.former.iter().map(|former| former.doors().listeners()));
        for child in self.children.values() {
            add(child.link.as_fd());
            add(child.stacks.as_fd());
            doors.push(child.queues.clone());
        }
        doors.iter().flatten().for_each(|door| add(door.as_fd()));
        strangers::keep_out(private);
    }

    /// Supervises until the end. In a worker's process it does not return.
    pub(super) fn run(mut self, observer: &mut Observer) -> Result<()> {
        let listeners = self.doors.listeners();
        if !listeners.is_empty() {
            let urls: Vec<String> = listeners.iter().map(ToString::to_string).collect();
            info!("Listening at: {} ({})", urls.join(","), process::id());
        }
        self.left.extend(handover::close_rest());
        if let Some(Predecessor { pid, .. }) = self.predecessor {
            info!("Following the arbiter with pid {pid}");
            observer(&Phase::Following { pid });
        }
        self.entitle();
        observer(&Phase::Started { listeners });
        self.show_status(false);
        let to = self.supervisor.target();
        observer(&Phase::Resized { from: None, to });
        let mut events = Events::with_capacity(64);
        loop {
            let next = match self.turn(observer) {
                Turn::Next(next) => next,
                Turn::End(end) => return self.end(end, observer),
                Turn::Child(newborn) => self.become_worker(*newborn),
            };
            self.beat(observer);
            let next = next.into_iter().chain(self.pulse_at).min();
            let timeout = next.map(|next| next.since(Tick::now()));
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
        let (Some(at), Some(every)) = (self.pulse_at, self.powers.pulse) else {
            return;
        };
        let now = Tick::now();
        if now >= at {
            self.pulse_at = Some(now + every);
            observer(&Phase::Pulse);
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
        strangers::admit();
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
        drop((self.doors, self.former, self.title));
        drop(self.signals);
        self.desk.set_stage(Stage::Ended);
        observer(&Phase::Ended);
        end
    }

    /// Tells the supervisor everything that has happened, and does what it wants.
    fn turn(&mut self, observer: &mut Observer) -> Turn {
        let now = Tick::now();
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
                    Action::Spawn { id, slot, post } => {
                        match self.spawn(id, slot, post, observer) {
                            Ok(input) => inputs.push(input),
                            Err(newborn) => return Turn::Child(newborn),
                        }
                    }
                    Action::Reexec => inputs.push(self.reexec(observer)),
                    Action::LoadConfig => inputs.extend(self.load(observer)),
                    Action::Exit(end) => return Turn::End(end),
                    other => self.perform(other, observer),
                }
            }
        }
        // Who was to be forked for those who have gone has been, and has their queues.
        self.doors.close_free_queues();
        self.keep_strangers_out();
        Turn::Next(next)
    }

    /// Has handles tell what is so; `loading` while settings are read.
    fn show_status(&self, loading: bool) {
        self.desk.set_stage(match self.supervisor.stage() {
            Stage::Stopping => Stage::Stopping,
            _ if loading => Stage::Reloading,
            stage => stage,
        });
        self.desk.set_target(self.supervisor.target());
    }

    /// What has happened since the last time. An exit hides a readiness that came with it, and comes after
    /// that of others: where one worker can boot, the failure of another ends nothing.
    fn collect(&mut self, observer: &mut Observer) -> Vec<Input> {
        let mut inputs: Vec<Input> = self.commands().into_iter().map(Input::Command).collect();
        let mut gone = BTreeMap::new();
        if self.powers.reap_orphans {
            gone.extend(std::iter::from_fn(fork::reap_any));
        }
        let mut exits = Vec::new();
        // Also by settings that are in force no more, for those who were started with them.
        let bounds_requests = self.supervisor.bounds_requests();
        self.look_soon = false;
        let reap = |pid: i32| gone.remove(&pid).or_else(|| fork::reap(pid));
        inputs.extend(self.hear_kin(reap));
        for (&pid, child) in &mut self.children {
            // Asked before its messages are read: then the last of them are there.
            let exit = gone.remove(&pid).or_else(|| fork::reap(pid));
            let was_ready = child.ready;
            let mut worn = None;
            while let Some(message) = child.link.receive() {
                match message {
                    Message::Ready => child.ready = true,
                    Message::Worn(requests) => worn = Some(Wear::Requests(requests)),
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
                observer(&Phase::WorkerReady { id, pid });
            }
            // It says so once, and only who serves can be worn.
            inputs.extend(worn.map(|wear| Input::Worn { id, wear }));
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
                inputs.extend(memory.map(|bytes| Input::Worn {
                    id,
                    wear: Wear::Memory(bytes),
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
            if command == Command::Rest && signal::has_terminal() {
                debug!("Ignoring signal: winch, since a terminal controls this process");
                continue;
            }
            info!("Handling signal: {}", command::name(signal));
            commands.push(command);
        }
        commands.extend(self.desk.take());
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
                child.examined &= order != Order::Stacks;
                if matches!(order, Order::Leave | Order::Quit) {
                    child.queues = Listeners::default();
                }
                self.explain(pid, slot, why);
                if let Err(error) = signal::send(pid, order) {
                    error!("{error}");
                }
            }
            Action::Bury(obituary) => self.bury(&obituary, observer),
            Action::Recycle { pid, wear } => report::recycled(pid, wear),
            Action::Regret { reason, retry } => {
                error!(
                    "{reason}; the next attempt follows in {} s",
                    retry.as_secs_f64()
                );
            }
            Action::Settle => self.settle(),
            Action::Revert { reason } => self.revert(reason, observer),
            Action::RefuseUpgrade { successor } => succession::refuse(successor),
            Action::Upgraded { pid } => {
                info!(
                    "The new arbiter (pid:{pid}) serves: stop this one when it is no longer needed"
                );
                observer(&Phase::Upgraded { pid });
            }
            Action::Dismiss { pid, order } => self.dismiss(pid, order),
            Action::UpgradeFailed { reason } => {
                error!("Upgrade failed, and this arbiter goes on: {reason}");
                observer(&Phase::UpgradeFailed { reason });
            }
            Action::SuccessorGone { pid, exit } => {
                succession::lost(pid, exit, self.supervisor.stage() == Stage::Resting);
                let reason = format!("the new arbiter {exit}");
                observer(&Phase::UpgradeFailed { reason });
            }
            Action::Announce => {
                if let Some(predecessor) = &self.predecessor {
                    predecessor.announce();
                }
            }
            Action::Promote => self.promote(observer),
            Action::ReopenLogs => observer(&Phase::ReopenLogs),
            Action::Ready => {
                let workers = self.supervisor.target();
                observer(&Phase::Ready { workers });
            }
            Action::Resized { from, to } => {
                let from = Some(from);
                observer(&Phase::Resized { from, to });
            }
            Action::StopListening => {
                self.scoreboard.set_leaving(if self.doors.are_ours_alone() {
                    Leaving::ClosedForAll
                } else {
                    Leaving::Emptied
                });
                observer(&Phase::Stopping);
                if let Some(former) = &mut self.former {
                    former.close_but(&self.doors, &mut self.left);
                }
                self.doors.close(&mut self.left);
                for child in self.children.values_mut() {
                    child.queues = Listeners::default();
                }
            }
            Action::Spawn { .. } | Action::LoadConfig | Action::Reexec | Action::Exit(_) => {}
        }
    }

    fn bury(&mut self, obituary: &Obituary, observer: &mut Observer) {
        let Obituary { id, pid, slot, .. } = *obituary;
        if let Some(child) = self.children.remove(&pid) {
            // A sibling that is being forked may hold a copy, so closing it is not enough.
            self.forget(&child.link);
            self.forget(&child.stacks);
            if child.ready {
                self.doors.take_back(&child.queues);
            }
        }
        self.scoreboard.slot(slot).clear();
        let status = match obituary.exit {
            Exit::Code(code) => Some(ExitStatus::from_raw((code & 0xff) << 8)),
            Exit::Signal(signal) => Some(ExitStatus::from_raw(signal as i32)),
            Exit::Unknown => None,
        };
        report::gone(obituary, &mut self.oom_kills);
        observer(&Phase::WorkerExited { id, pid, status });
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
        worker::end_stray(
            &format!("the loading of arbiter {arbiter}"),
            loaded.as_ref().err(),
        );
    }
    signals.retake()?;
    loaded
}
