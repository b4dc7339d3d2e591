//! The arbiter's hands: forks, sends signals, waits, and tells the [`Supervisor`] what has happened.
//!
//! It decides nothing. It waits for its own children only, each by its process id, and never blocks but in
//! its poll.
//!
//! *Invariants*: no signal is sent to a process that has been waited for; in a child, everything of the arbiter's is closed before the worker's first line, and no
//! frame of the arbiter or its host is returned into.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;

use super::action::{Action, Failure, Input, Limits, Obituary, Why};
use super::command::{self, Command, SIGNALS};
use super::supervisor::Supervisor;
use super::{Doors, Observer, Phase};
use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::forked::Forked;
use crate::sys::fork::{self, Exit};
use crate::sys::link::{self, ArbiterEnd, LastWords, Message, WorkerEnd};
use crate::sys::scoreboard::Scoreboard;
use crate::sys::signal::{self, Pipe, Signals};
use crate::trace::{debug, error, info, warning};
use crate::worker::{self, Place, Worker, WorkerContext};

/// All descriptors have one token: whichever is readable, everything is looked at.
const ANY: Token = Token(0);

/// A worker process that exists.
#[derive(Debug)]
struct Child {
    id: u64,
    slot: usize,
    link: ArbiterEnd,
    heard: Tick,
    ready: bool,
    words: Option<LastWords>,
    /// It has been waited for: its process id may be another's by now.
    reaped: bool,
}

/// What a child takes from the fork into its own life.
#[derive(Debug)]
struct Newborn {
    place: Place,
    link: WorkerEnd,
    signals: Result<Signals>,
}

/// Where a turn of the loop leads.
enum Turn {
    /// To the next one, by this moment at the latest.
    Next(Option<Tick>),
    /// Out of the loop.
    End(Result<(), Failure>),
    /// Out of the arbiter: this is a worker's process.
    Child(Newborn),
}

/// One run of an arbiter.
pub(super) struct Shell<W> {
    worker: W,
    doors: Doors,
    limits: Limits,
    observer: Observer,
    supervisor: Supervisor,
    scoreboard: Arc<Scoreboard>,
    children: BTreeMap<i32, Child>,
    poll: Poll,
    signals: Signals,
}

impl<W: Worker> Shell<W> {
    /// Takes the process's signals.
    pub(super) fn new(worker: W, doors: Doors, limits: Limits, observer: Observer) -> Result<Self> {
        let scoreboard = Arc::new(Scoreboard::new(limits.slots, worker.calls())?);
        let poll = Poll::new().map_err(|e| Error::io("cannot make the arbiter's poll", e))?;
        let table = SIGNALS.iter().map(|(signal, how, _)| (*signal, *how));
        let signals = Signals::install(Pipe::new()?, table)?;
        let shell = Self {
            worker,
            doors,
            limits,
            observer,
            supervisor: Supervisor::new(limits),
            scoreboard,
            children: BTreeMap::new(),
            poll,
            signals,
        };
        shell
            .watch(&shell.signals)
            .map_err(|e| Error::io("cannot watch the signals' pipe", e))?;
        Ok(shell)
    }

    /// Supervises until the end. In a worker's process it does not return.
    pub(super) fn run(mut self) -> Result<()> {
        let listeners = self.doors.listeners();
        if !listeners.is_empty() {
            let urls: Vec<String> = listeners.iter().map(ToString::to_string).collect();
            info!("Listening at: {} ({})", urls.join(","), process::id());
        }
        (self.observer)(&Phase::Started { listeners });
        let mut events = Events::with_capacity(64);
        loop {
            let next = match self.turn() {
                Turn::Next(next) => next,
                Turn::End(end) => return end.map_err(Error::from),
                Turn::Child(newborn) => self.become_worker(newborn),
            };
            let timeout = next.map(|next| next.since(Tick::now()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::io("the arbiter's poll failed", error));
                }
                _ => {}
            }
        }
    }

    /// Tells the supervisor everything that has happened, and does what it wants.
    fn turn(&mut self) -> Turn {
        let now = Tick::now();
        let mut actions = Vec::new();
        let mut inputs = self.collect();
        inputs.push(Input::Wake);
        let mut next = None;
        // Doing may have results, and those consequences: so until there are none.
        while !inputs.is_empty() {
            for input in inputs.drain(..) {
                next = self.supervisor.step(now, input, &mut actions);
            }
            for action in actions.drain(..) {
                match action {
                    Action::Spawn { id, slot } => match self.spawn(id, slot) {
                        Ok(input) => inputs.push(input),
                        Err(newborn) => return Turn::Child(newborn),
                    },
                    Action::Exit(end) => return Turn::End(end),
                    other => self.perform(other),
                }
            }
        }
        Turn::Next(next)
    }

    /// What has happened since the last time. An exit hides a readiness that came with it, and comes after
    /// that of others: where one worker can boot, the failure of another ends nothing.
    fn collect(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        for signal in self.signals.drain() {
            let Some(command) = Command::from_signal(signal) else {
                debug!("Received signal: {}", command::name(signal));
                continue;
            };
            info!("Handling signal: {}", command::name(signal));
            inputs.push(Input::Command(command));
        }
        let mut exits = Vec::new();
        for (&pid, child) in &mut self.children {
            // Asked before its messages are read: then the last of them are there.
            let exit = fork::reap(pid);
            let was_ready = child.ready;
            while let Some(message) = child.link.receive() {
                match message {
                    Message::Ready => child.ready = true,
                    Message::LastWords(words) => child.words = Some(words),
                }
            }
            if let Some(exit) = exit {
                child.reaped = true;
                exits.push(Input::Exited {
                    pid,
                    exit,
                    ready: child.ready,
                    words: child.words.take(),
                });
                continue;
            }
            let id = child.id;
            if child.ready && !was_ready {
                inputs.push(Input::Ready { id });
                (self.observer)(&Phase::WorkerReady { id, pid });
            }
            let heard = self.scoreboard.slot(child.slot).heard();
            if heard > child.heard {
                child.heard = heard;
                inputs.push(Input::Beat { id, at: heard });
            }
        }
        inputs.append(&mut exits);
        inputs
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Signal {
                pid,
                slot,
                signal,
                why,
            } => {
                // A worker that has gone in this very turn is not told any more.
                if self.children.get(&pid).is_none_or(|child| child.reaped) {
                    return;
                }
                self.explain(pid, slot, why);
                if let Err(error) = signal::send(pid, signal) {
                    error!("{error}");
                }
            }
            Action::Bury(obituary) => self.bury(&obituary),
            Action::Regret { reason, retry } => {
                error!(
                    "{reason}; the next attempt follows in {} s",
                    retry.as_secs_f64()
                );
            }
            Action::StopListening => {
                self.doors.close();
                (self.observer)(&Phase::Stopping);
            }
            Action::Spawn { .. } | Action::Exit(_) => {}
        }
    }

    /// Forks a worker: the result for the supervisor, or, in the child, what it begins its life with.
    fn spawn(&mut self, id: u64, slot: usize) -> Result<Input, Newborn> {
        let failed = |reason| Input::ForkFailed { id, reason };
        let (ours, theirs, pipe) = match link::pair().and_then(|(a, b)| Ok((a, b, Pipe::new()?))) {
            Ok(made) => made,
            Err(error) => return Ok(failed(format!("cannot fork a worker: {error}"))),
        };
        let now = Tick::now();
        self.scoreboard.assign(slot, id, now);

        let mut pipe = Some(pipe);
        let mut installed = None;
        let mut forked = None;
        // A worker that calls `fork` again gets the same answer, and no second child.
        let mut fork = || {
            *forked.get_or_insert_with(|| {
                fork::fork(|| {
                    installed = pipe
                        .take()
                        .map(|pipe| self.signals.install_in_child(pipe, worker::SIGNALS));
                })
            })
        };
        let panic = catch_unwind(AssertUnwindSafe(|| self.worker.around_fork(&mut fork))).is_err();

        match forked {
            Some(Forked::Child) => {
                let signals = match installed {
                    Some(signals) if !panic => signals,
                    _ => Err(Error::boot("the worker panicked around its fork")),
                };
                Err(Newborn {
                    place: Place {
                        id,
                        slot,
                        workers: self.supervisor.target(),
                        beat_every: self.limits.timeout.map(|timeout| timeout / 2),
                    },
                    link: theirs,
                    signals,
                })
            }
            Some(Forked::Parent(pid)) => {
                self.adopt(id, slot, pid, ours, now);
                Ok(Input::Forked { id, pid })
            }
            Some(Forked::Failed(errno)) => {
                self.scoreboard.slot(slot).clear();
                let errno = Errno::from_raw(errno).desc();
                Ok(failed(format!("cannot fork a worker: {errno}")))
            }
            None => {
                self.scoreboard.slot(slot).clear();
                Ok(failed(
                    "the worker did not fork when it was asked to".into(),
                ))
            }
        }
    }

    fn adopt(&mut self, id: u64, slot: usize, pid: i32, link: ArbiterEnd, now: Tick) {
        if let Err(error) = self.watch(&link) {
            // Its exit is noticed by SIGCHLD all the same; its readiness, with the next wake-up.
            error!("cannot watch the worker with pid {pid}: {error}");
        }
        self.scoreboard.slot(slot).set_pid(pid);
        self.children.insert(
            pid,
            Child {
                id,
                slot,
                link,
                heard: now,
                ready: false,
                words: None,
                reaped: false,
            },
        );
        (self.observer)(&Phase::WorkerSpawned { id, pid });
    }

    /// Leaves everything of the arbiter's behind, and works. The process ends here.
    fn become_worker(self, newborn: Newborn) -> ! {
        let Newborn {
            place,
            link,
            signals,
        } = newborn;
        let life = || {
            let Self {
                mut worker,
                mut doors,
                scoreboard,
                children,
                poll,
                signals: arbiters,
                observer,
                ..
            } = self;
            let listeners = doors.hand_over();
            // Its siblings must see the end of file when the arbiter dies, not when this worker does.
            drop((children, poll, arbiters));
            let context = signals.and_then(|signals| {
                let arbiter = Some((link, signals));
                WorkerContext::new(place, listeners, scoreboard, arbiter)
            });
            let status = match context {
                Ok(context) => worker::live(&mut worker, &context),
                Err(error) => {
                    error!("{error}");
                    i32::from(Error::boot("").exit_code())
                }
            };
            // What the host gave is not dropped in a child: it may be there to end with the host.
            std::mem::forget((worker, observer));
            status
        };
        fork::exit_now(catch_unwind(AssertUnwindSafe(life)).unwrap_or(255))
    }

    /// Says why a worker is sent a signal, where that is not plain from what came before.
    fn explain(&self, pid: i32, slot: usize, why: Why) {
        match why {
            Why::Stop => {}
            Why::Retired => info!("Retiring worker (pid: {pid})"),
            Why::Silent(silence) => {
                let slot = self.scoreboard.slot(slot);
                let now = Tick::now();
                let mut doing: Vec<String> = slot
                    .calls()
                    .map(|call| {
                        let (method, target) = call.request.unwrap_or_default();
                        let elapsed = now.since(call.started).as_secs_f64();
                        format!("{method} {target} for {elapsed:.1} s")
                    })
                    .collect();
                if doing.is_empty() {
                    doing.push("no request".to_owned());
                }
                let doing = doing.join(", ");
                error!(
                    "WORKER TIMEOUT (pid:{pid}): worker {} made no progress for {:.1} s, in {doing}",
                    slot.id(),
                    silence.as_secs_f64()
                );
            }
            Why::NotReady(timeout) => error!(
                "WORKER TIMEOUT (pid:{pid}): not ready within {} s",
                timeout.as_secs_f64()
            ),
            Why::Overdue => warning!("Killing worker (pid: {pid}): it did not leave in time"),
        }
    }

    fn bury(&mut self, obituary: &Obituary) {
        let Obituary { id, pid, slot, .. } = *obituary;
        if let Some(child) = self.children.remove(&pid) {
            // A sibling that is being forked may hold a copy, so closing it is not enough.
            let fd = child.link.as_fd().as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
        self.scoreboard.slot(slot).clear();
        let status = match obituary.exit {
            Exit::Code(code) => Some(ExitStatus::from_raw((code & 0xff) << 8)),
            Exit::Signal(signal) => Some(ExitStatus::from_raw(signal as i32)),
            Exit::Unknown => None,
        };
        report(obituary);
        (self.observer)(&Phase::WorkerExited { id, pid, status });
    }

    fn watch(&self, fd: impl AsFd) -> io::Result<()> {
        let fd = fd.as_fd().as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), ANY, Interest::READABLE)
    }
}

/// What the log says of a worker's end.
fn report(obituary: &Obituary) {
    let Obituary {
        pid,
        exit,
        words,
        doom,
        retry,
        ..
    } = obituary;
    let why = match (words, doom, exit) {
        (Some(words), ..) => format!(": {words}"),
        (None, Some(_), _) => " by the arbiter".to_owned(),
        (None, None, Exit::Signal(nix::sys::signal::SIGKILL)) => {
            "! Perhaps out of memory?".to_owned()
        }
        _ => String::new(),
    };
    let next = match retry {
        Some(Duration::ZERO) | None => String::new(),
        Some(pause) => format!("; the next attempt follows in {} s", pause.as_secs_f64()),
    };
    match exit {
        Exit::Code(0) => debug!("Worker (pid:{pid}) {exit}{why}{next}"),
        _ if doom.is_some() => info!("Worker (pid:{pid}) {exit}{why}{next}"),
        Exit::Signal(nix::sys::signal::SIGTERM) => info!("Worker (pid:{pid}) {exit}{why}{next}"),
        Exit::Code(_) | Exit::Signal(nix::sys::signal::SIGKILL) => {
            error!("Worker (pid:{pid}) {exit}{why}{next}");
        }
        _ => warning!("Worker (pid:{pid}) {exit}{why}{next}"),
    }
}
