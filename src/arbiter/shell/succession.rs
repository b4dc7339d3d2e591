//! The hands of an upgrade: a process for the next arbiter, and what is to be seen of it and of the one before.
//!
//! The supervisor says when; [`Generations`](super::Generations) learns here which arbiters share the listeners.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;

use super::Shell;
use super::children::Gone;
use crate::arbiter::action::Input;
use crate::arbiter::event::ArbiterEvent;
use crate::arbiter::handle::ArbiterState;
use crate::arbiter::reexec::{Predecessor, ReexecCommand};
use crate::arbiter::totals::HandedTotals;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::ipc::link::{self, LastWords, LinkEnd, Message};
use crate::ipc::totals::Counters;
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::handover;
use crate::sys::fork::{self, Exit};
use crate::trace::{error, info, warning};

#[derive(Debug)]
struct Successor {
    pid: i32,
    link: LinkEnd,
    words: Option<LastWords>,
    ready: bool,
}

#[derive(Debug)]
pub(in crate::arbiter) struct Lineage {
    command: ReexecCommand,
    /// The arbiter that has started this one, while it lives.
    pub(super) predecessor: Option<Predecessor>,
    /// The same when it has gone. It may only have begun to end: a link that closed now would say that this one has gone.
    followed: Option<Predecessor>,
    successor: Option<Successor>,
    totals: HandedTotals,
}

impl Lineage {
    pub(in crate::arbiter) fn new(command: ReexecCommand) -> Self {
        handover::take_ticket_secret();
        Self {
            command,
            predecessor: Predecessor::find(),
            followed: None,
            successor: None,
            totals: HandedTotals::default(),
        }
    }

    pub(super) fn take_totals(&mut self) -> Result<Counters> {
        let (counters, totals) = HandedTotals::find(self.predecessor.is_some())?;
        self.totals = totals;
        Ok(counters)
    }

    /// What connects this arbiter with the others, and what it hands to the next one.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let before = self.predecessor.iter().map(AsFd::as_fd);
        let after = self.successor.iter().map(|it| it.link.as_fd());
        before.chain(after).chain(self.totals.descriptor())
    }

    /// Why there will be no successor of the arbiter before this one.
    pub(super) fn tell_failure(&self, error: &Error) {
        if let Some(predecessor) = &self.predecessor {
            let sentence = error.to_string();
            let words = LastWords {
                app: false,
                sentence,
            };
            predecessor.link.send(&Message::LastWords(words));
        }
    }

    pub(super) fn notify_predecessor(&self) {
        if let Some(predecessor) = &self.predecessor {
            predecessor.link.send(&Message::Ready);
        }
    }

    pub(super) fn stop_successor(&self, pid: i32, order: WorkerSignal) {
        // One that was waited for has no successor's place any more.
        if self.successor.as_ref().is_none_or(|it| it.pid != pid) {
            return;
        }
        if order == WorkerSignal::Leave {
            error!("The new arbiter (pid:{pid}) is not ready in time: it is told to stop");
        } else {
            warning!("Killing the new arbiter (pid:{pid}): it did not leave in time");
        }
        if let Err(error) = order.send(pid) {
            error!("{error}");
        }
    }

    /// The process id of the arbiter that this one has started, once that one serves.
    pub(super) fn ready_successor(&self) -> Option<i32> {
        let ready = self.successor.as_ref().filter(|it| it.ready);
        ready.map(|it| it.pid)
    }

    /// Shows the other arbiters that this one goes; gives whether both are gone. Each of them does so before it looks
    /// at the others: of two that go at once, one at least sees that it is the last, and removes the socket files.
    pub(super) fn leave(&self) -> bool {
        let before = self.predecessor.as_ref().map(|it| it.link.leave());
        let after = self.successor.as_ref().map(|it| it.link.leave());
        before.into_iter().chain(after).all(|gone| gone)
    }
}

impl Shell {
    /// Makes a process of the program anew. In that process it does not return.
    pub(super) fn reexec(&mut self) -> Input {
        let failed = |reason: String| Input::ReexecFailed { reason };
        if process::id() == 1 {
            return failed(
                "process 1 cannot be followed by another one: with its end its container ends too. \
                 Start a new container beside this one"
                    .to_owned(),
            );
        }
        let (ours, theirs) = match link::pair() {
            Ok(pair) => pair,
            Err(error) => return failed(error.to_string()),
        };
        info!("Starting {} anew", self.lineage.command.program.display());
        self.tell(&ArbiterEvent::Upgrading);
        let arbiter = i32::try_from(process::id()).unwrap_or_default();
        match self.fork_successor() {
            ForkOutcome::Child => self.execute(arbiter, &theirs),
            ForkOutcome::Parent(pid) => {
                if let Err(error) = self.inbox.watch(&ours) {
                    error!("cannot watch the new arbiter with pid {pid}: {error}");
                }
                self.generations.share();
                let beside = self.accompanied.listeners();
                beside.iter().for_each(|it| it.set_shared(true));
                self.lineage.successor = Some(Successor {
                    pid,
                    link: ours,
                    words: None,
                    ready: false,
                });
                self.answers.reexecuted();
                Input::Reexecuted { pid }
            }
            ForkOutcome::Failed(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                failed(format!("cannot fork a new arbiter: {error}"))
            }
        }
    }

    /// Forks as for a worker: where a template has an interpreter, hooks may use it in the child.
    fn fork_successor(&mut self) -> ForkOutcome {
        let template = self.templates().into_iter().next();
        let signals = &mut self.inbox.signals;
        let mut forked = None;
        let mut fork = || *forked.get_or_insert_with(|| fork::fork(|| signals.restore()));
        if let Some(template) = template {
            let around = AssertUnwindSafe(|| template.borrow_mut().around_fork(&mut fork));
            let _ = catch_unwind(around);
        }
        fork()
    }

    fn execute(&mut self, arbiter: i32, link: &LinkEnd) -> ! {
        let work = || {
            self.tell(&ArbiterEvent::Executing);
            let shared = self.generations.listeners();
            let children = self.children.iter();
            let listeners = children.fold(shared, |all, child| all.with(&child.queues));
            let listeners = listeners
                .with(&self.options.attachments.listeners())
                .with(&self.accompanied.listeners())
                .listening();
            let command = &self.lineage.command;
            let totals = &self.lineage.totals;
            let error = command.exec_with(process::id(), arbiter, &listeners, link, totals);
            let program = command.program.display();
            link.send(&Message::LastWords(LastWords {
                app: false,
                sentence: format!("cannot execute {program}: {error}"),
            }));
        };
        let _ = catch_unwind(AssertUnwindSafe(work));
        fork::exit_now(1)
    }

    /// What is new of the other arbiters; gives whether something is about to be complete.
    pub(super) fn hear_lineage(&mut self, gone: &mut Gone, inputs: &mut Vec<Input>) -> bool {
        let mut look_soon = false;
        if let Some(successor) = &mut self.lineage.successor {
            let pid = successor.pid;
            // Asked before its messages are read: then the last of them are there.
            let exit = gone.remove(&pid).or_else(|| fork::reap(pid));
            while let Some(message) = successor.link.receive() {
                match message {
                    Message::Ready => {
                        successor.ready = true;
                        inputs.push(Input::SuccessorReady);
                    }
                    Message::LastWords(words) => successor.words = Some(words),
                    Message::RecycleDue(_)
                    | Message::Ending(_)
                    | Message::Late
                    | Message::Command(_) => {}
                }
            }
            look_soon = exit.is_none() && successor.link.is_closed();
            if let Some(exit) = exit {
                let words = successor.words.take();
                inputs.push(Input::SuccessorGone { exit, words });
                self.inbox.forget(&successor.link);
                self.lineage.successor = None;
                self.identities.clear_beside(pid);
                self.become_sole();
            }
        }
        let predecessor = &mut self.lineage.predecessor;
        if let Some(predecessor) = predecessor.take_if(|it| it.link.is_closed()) {
            self.inbox.forget(predecessor.as_fd());
            self.lineage.followed = Some(predecessor);
            inputs.push(Input::PredecessorGone);
        }
        look_soon
    }

    /// No other arbiter has any of the listeners.
    pub(super) fn become_sole(&mut self) {
        self.generations.become_sole();
        let beside = self.accompanied.listeners();
        beside.iter().for_each(|it| it.set_shared(false));
    }

    pub(super) fn promote(&mut self) {
        self.become_sole();
        self.children.scoreboard.set_following(false);
        info!("Master has been promoted.");
        self.identities.promote();
        self.identities.show_arbiter(false);
        self.tell(&ArbiterEvent::Promoted);
    }

    pub(super) fn upgraded(&mut self, pid: i32) {
        self.children.scoreboard.counters().count_upgrade(true);
        info!("The new arbiter (pid:{pid}) serves: stop this one when it is no longer needed");
        self.answers.upgraded();
        self.tell(&ArbiterEvent::Upgraded { pid });
    }

    pub(super) fn upgrade_failed(&mut self, reason: String) {
        self.children.scoreboard.counters().count_upgrade(false);
        error!("Upgrade failed, and this arbiter goes on: {reason}");
        self.answers.upgrade_failed(&reason);
        self.tell(&ArbiterEvent::UpgradeFailed { reason });
    }

    pub(super) fn refuse_upgrade(&mut self, successor: Option<i32>) {
        let reason = match successor {
            Some(pid) => {
                format!("a new arbiter runs already (pid:{pid}). Stop it, or this one, first")
            }
            None => "the arbiter that has started this one is still there. Stop it first".into(),
        };
        warning!("Upgrade refused: {reason}");
        self.answers.upgrade_refused(&reason);
    }

    pub(super) fn successor_gone(&mut self, pid: i32, exit: Exit) {
        lost(pid, exit, self.supervisor.state() == ArbiterState::Quiesced);
        let reason = format!("the new arbiter {exit}");
        self.tell(&ArbiterEvent::UpgradeFailed { reason });
    }
}

/// What the log says of a new arbiter that has served, and has gone; `rests` if this one has no workers.
fn lost(pid: i32, exit: Exit, rests: bool) {
    match exit {
        _ if rests => error!(
            "The new arbiter (pid:{pid}) {exit}, and this one has no workers: HUP or TTIN brings them back"
        ),
        Exit::Code(0) => info!("The new arbiter (pid:{pid}) {exit}: this one goes on"),
        _ => warning!("The new arbiter (pid:{pid}) {exit}: this one goes on"),
    }
}
