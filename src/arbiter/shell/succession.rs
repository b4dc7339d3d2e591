//! The hands of an upgrade: a process for the next arbiter, and what is to be seen of it and of the one before.
//!
//! The supervisor says when; whoever shares the listeners is told here to the [`ArbiterListeners`](super::ArbiterListeners).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;

use super::Shell;
use crate::arbiter::action::Input;
use crate::arbiter::event::{ArbiterEvent, Observer};
use crate::arbiter::reexec::Predecessor;
use crate::fork_outcome::ForkOutcome;
use crate::ipc::link::{self, ArbiterEnd, LastWords, Message, WorkerEnd};
use crate::ipc::worker_signal::WorkerSignal;
use crate::sys::fork::{self, Exit};
use crate::trace::{error, info, warning};
use crate::worker::Worker;

/// The arbiter that this one has started to follow it.
#[derive(Debug)]
pub(super) struct Successor {
    pid: i32,
    link: ArbiterEnd,
    words: Option<LastWords>,
}

impl AsFd for Successor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl<W: Worker> Shell<W> {
    /// Makes a process of the program anew. In that process it does not return.
    pub(super) fn reexec(&mut self, observer: &mut Observer) -> Input {
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
        info!("Starting {} anew", self.exec.program().display());
        observer(&ArbiterEvent::Upgrading);
        let arbiter = i32::try_from(process::id()).unwrap_or_default();
        match fork::fork(|| self.signals.restore()) {
            ForkOutcome::Child => self.execute(arbiter, &theirs, observer),
            ForkOutcome::Parent(pid) => {
                if let Err(error) = self.watch(&ours) {
                    error!("cannot watch the new arbiter with pid {pid}: {error}");
                }
                self.listeners.set_shared(true);
                self.successor = Some(Successor {
                    pid,
                    link: ours,
                    words: None,
                });
                Input::Reexecuted { pid }
            }
            ForkOutcome::Failed(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                failed(format!("cannot fork a new arbiter: {error}"))
            }
        }
    }

    fn execute(&self, arbiter: i32, link: &WorkerEnd, observer: &mut Observer) -> ! {
        let life = || {
            observer(&ArbiterEvent::Executing);
            let listeners = self.listeners.listeners();
            let children = self.children.values();
            let listeners = children.fold(listeners, |all, child| all.with(&child.queues));
            let listeners = listeners.listening();
            let error = self
                .exec
                .exec_with(process::id(), arbiter, &listeners, link);
            let program = self.exec.program().display();
            link.send(&Message::LastWords(LastWords {
                app: false,
                sentence: format!("cannot execute {program}: {error}"),
            }));
        };
        let _ = catch_unwind(AssertUnwindSafe(life));
        fork::exit_now(1)
    }

    /// What is new of the other arbiter. `reap` asks whether a child has ended.
    pub(super) fn hear_upgrade(&mut self, reap: impl FnOnce(i32) -> Option<Exit>) -> Vec<Input> {
        let mut inputs = Vec::new();
        if let Some(successor) = &mut self.successor {
            // Asked before its messages are read: then the last of them are there.
            let exit = reap(successor.pid);
            while let Some(message) = successor.link.receive() {
                match message {
                    Message::Ready => inputs.push(Input::SuccessorReady),
                    Message::LastWords(words) => successor.words = Some(words),
                    Message::RecycleDue(_) | Message::Ending(_) | Message::Late => {}
                }
            }
            self.look_soon |= exit.is_none() && successor.link.is_closed();
            if let Some(exit) = exit {
                let words = successor.words.take();
                inputs.push(Input::SuccessorGone { exit, words });
                if let Some(successor) = self.successor.take() {
                    self.forget(&successor.link);
                    for pidfile in &self.pidfiles {
                        pidfile.clear_beside(successor.pid);
                    }
                }
                self.become_sole();
            }
        }
        if let Some(predecessor) = self.predecessor.take_if(|it| it.has_gone()) {
            self.forget(predecessor.as_fd());
            self.followed = Some(predecessor);
            inputs.push(Input::PredecessorGone);
        }
        inputs
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

    /// The arbiter before this one has gone: this one is the only one.
    pub(super) fn promote(&mut self, observer: &mut Observer) {
        self.become_sole();
        info!("Master has been promoted.");
        for pidfile in &mut self.pidfiles {
            if let Err(error) = pidfile.promote() {
                error!("{error}");
            }
        }
        self.set_title();
        observer(&ArbiterEvent::Promoted);
    }

    /// Shows the other arbiters that this one goes. Each of them does so before it looks at the others: of two that go
    /// at once, one at least sees that it is the last, and removes the socket files.
    pub(super) fn leave(&mut self) {
        let before = self.predecessor.as_ref().map(Predecessor::leave);
        let after = self.successor.as_ref().map(|it| it.link.leave());
        if before.into_iter().chain(after).all(|gone| gone) {
            self.become_sole();
        }
    }

    /// No other arbiter has the listeners any more.
    pub(super) fn become_sole(&mut self) {
        self.listeners.set_shared(false);
        if let Some(former) = &self.former {
            former.listeners().set_shared(false);
        }
        self.unlinks.remove(&self.listeners);
    }
}

/// What the log says of a new arbiter that has served, and has gone; `rests` if this one has no workers.
pub(super) fn lost(pid: i32, exit: Exit, rests: bool) {
    match exit {
        _ if rests => error!(
            "The new arbiter (pid:{pid}) {exit}, and this one has no workers: HUP or TTIN brings them back"
        ),
        Exit::Code(0) => info!("The new arbiter (pid:{pid}) {exit}: this one goes on"),
        _ => warning!("The new arbiter (pid:{pid}) {exit}: this one goes on"),
    }
}

/// What the log says of an upgrade that is refused.
pub(super) fn refuse(successor: Option<i32>) {
    match successor {
        Some(pid) => warning!(
            "Upgrade refused: a new arbiter runs already (pid:{pid}). Stop it, or this one, first"
        ),
        None => warning!(
            "Upgrade refused: the arbiter that has started this one is still there. Stop it first"
        ),
    }
}
