//! How a worker is born: forked here, and made of what the arbiter leaves to it.
//!
//! Two processes come out of [`Shell::spawn`]; only one of them goes on as the arbiter.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::unistd::Pid;

use super::{Child, Former, Shell};
use crate::arbiter::action::Input;
use crate::arbiter::event::{ArbiterEvent, Observer};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::ipc::link::{self, WorkerEnd};
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::Listeners;
use crate::sys::fork;
use crate::sys::signal::{Pipe, Signals};
use crate::sys::stacks;
use crate::time::MonoTime;
use crate::trace::error;
use crate::worker::{self, Lines, Place, Worker, WorkerContext};

/// What a child takes from the fork into its own life.
#[derive(Debug)]
pub(super) struct ChildSetup {
    place: Place,
    listeners: Listeners,
    arbiter: i32,
    link: WorkerEnd,
    stacks: OwnedFd,
    signals: Result<Signals>,
}

impl<W: Worker> Shell<W> {
    /// Forks a worker: the result for the supervisor, or, in the child, what it begins its life with.
    pub(super) fn spawn(
        &mut self,
        id: u64,
        slot: usize,
        queue_id: usize,
        observer: &mut Observer,
    ) -> Result<Input, Box<ChildSetup>> {
        let failed = |reason| Input::ForkFailed { id, reason };
        let made = link::pair().and_then(|pair| Ok((pair, stacks::pipe()?, Pipe::new()?)));
        let ((ours, theirs), (stacks, stacks_to), pipe) = match made {
            Ok(made) => made,
            Err(error) => return Ok(failed(format!("cannot fork a worker: {error}"))),
        };
        let listeners = self.listeners.listeners();
        let listeners = match listeners.for_queue(queue_id) {
            Ok(listeners) => listeners,
            Err(error) => return Ok(failed(format!("cannot fork a worker: {error}"))),
        };
        observer(&ArbiterEvent::Forking { id });
        let now = MonoTime::now();
        self.scoreboard.assign(slot, id, self.limits.calls, now);

        let arbiter = Pid::this().as_raw();
        let mut pipe = Some(pipe);
        let mut installed = None;
        let mut forked = None;
        // A worker that calls `fork` again gets the same answer, and no second child.
        let mut fork = || {
            *forked.get_or_insert_with(|| {
                fork::fork(|| {
                    let table = worker::SIGNALS
                        .iter()
                        .map(|&(signal, what, _)| (signal, what));
                    installed = pipe.take().map(|pipe| {
                        let stacks = WorkerSignal::Stacks.number();
                        let expire = WorkerSignal::Expire.number();
                        self.signals.install_in_child(pipe, table, stacks, expire)
                    });
                })
            })
        };
        let panic = catch_unwind(AssertUnwindSafe(|| self.worker.around_fork(&mut fork))).is_err();

        match forked {
            Some(ForkOutcome::Child) => {
                let signals = match installed {
                    Some(signals) if !panic => signals,
                    _ => Err(Error::boot("the worker panicked around its fork")),
                };
                Err(Box::new(ChildSetup {
                    place: Place {
                        id,
                        slot,
                        workers: self.supervisor.target(),
                        beat_every: self.limits.timeout.map(|timeout| timeout / 2),
                        max_requests: self.draw_max_requests(),
                        graceful_timeout: self.limits.graceful_timeout,
                    },
                    listeners,
                    arbiter,
                    link: theirs,
                    stacks: stacks_to,
                    signals,
                }))
            }
            Some(ForkOutcome::Parent(pid)) => {
                self.scoreboard.slot(slot).set_pid(pid);
                self.adopt(
                    pid,
                    Child {
                        id,
                        slot,
                        link: ours,
                        stacks,
                        queues: listeners.without(&listeners),
                        examined: false,
                        heard: now,
                        ready: false,
                        words: None,
                        ending: None,
                        reaped: false,
                    },
                );
                observer(&ArbiterEvent::WorkerSpawned { id, pid });
                Ok(Input::Forked { id, pid })
            }
            Some(ForkOutcome::Failed(errno)) => {
                self.scoreboard.slot(slot).clear();
                let error = io::Error::from_raw_os_error(errno);
                Ok(failed(format!("cannot fork a worker: {error}")))
            }
            None => {
                self.scoreboard.slot(slot).clear();
                Ok(failed(
                    "the worker did not fork when it was asked to".into(),
                ))
            }
        }
    }

    fn adopt(&mut self, pid: i32, child: Child) {
        let watched = self
            .watch(&child.link)
            .and_then(|()| self.watch(&child.stacks));
        if let Err(error) = watched {
            // Its exit is noticed by SIGCHLD all the same; its readiness, with the next wake-up.
            error!("cannot watch the worker with pid {pid}: {error}");
        }
        self.children.insert(pid, child);
    }

    /// After how many requests a new worker is due for recycling: the bound, and a part of the jitter that is its own.
    fn draw_max_requests(&self) -> Option<u64> {
        let most = self.limits.max_requests?;
        let random = RandomState::new().build_hasher().finish();
        let spread = self.limits.max_requests_jitter.saturating_add(1);
        Some(most.saturating_add(random % spread))
    }

    /// Leaves everything of the arbiter's behind, and works. The process ends here.
    pub(super) fn become_worker(mut self, setup: ChildSetup) -> ! {
        let ChildSetup {
            place,
            listeners,
            arbiter,
            link,
            stacks,
            signals,
        } = setup;
        let life = || {
            self.set_worker_title();
            let Self {
                mut worker,
                listeners: mut reserved,
                scoreboard,
                children,
                poll,
                signals: arbiters,
                pidfiles,
                former,
                reload,
                title,
                command_queue,
                predecessor,
                followed,
                successor,
                ..
            } = self;
            // What is in use is among the setup's; what only reserves an address stays the arbiter's.
            drop(reserved.hand_over());
            // Its siblings must see the end of file when the arbiter dies, not when this worker does.
            drop((children, poll, arbiters, command_queue));
            drop((predecessor, followed, successor));
            // Their locks are to end with the arbiter.
            drop(pidfiles);
            let former = former.map(Former::into_child);
            let context = signals.and_then(|signals| {
                let lines = Lines {
                    link,
                    signals,
                    stacks,
                    arbiter,
                };
                // Threads share it, and this stack may be taken away for a moment.
                WorkerContext::new(place, listeners, scoreboard, Some(lines)).map(Box::new)
            });
            let status = match context {
                Ok(context) => worker::run_process(&mut worker, &context),
                Err(error) => {
                    error!("{error}");
                    i32::from(Error::boot("").exit_code())
                }
            };
            // What the host gave is not dropped in a child: it may be there to end with the host. The title stays
            // to the very end.
            std::mem::forget((worker, former, reload, title));
            status
        };
        fork::exit_now(catch_unwind(AssertUnwindSafe(life)).unwrap_or(255))
    }
}
