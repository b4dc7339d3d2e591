//! How a worker is born: forked here, and made of what the arbiter leaves to it.
//!
//! Two processes come out of [`Shell::spawn`]; only one of them goes on as the arbiter.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;

use nix::unistd::Pid;

use super::Shell;
use super::children::Child;
use crate::arbiter::action::{ExitReport, Input};
use crate::arbiter::event::ArbiterEvent;
use crate::arbiter::generation::{Generation, Template};
use crate::arbiter::policy::Policy;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;
use crate::ipc::link::{self, LinkEnd};
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::Listeners;
use crate::sys::fork::{self, Exit};
use crate::sys::signal::{Pipe, Signals};
use crate::sys::stacks::{self, Stacks};
use crate::trace::error;
use crate::worker::{self, Lines, Place, WorkerContext};

/// What a child takes from the fork into its own life.
pub(super) struct ChildSetup {
    template: Template,
    place: Place,
    listeners: Listeners,
    arbiter: i32,
    link: LinkEnd,
    stacks: OwnedFd,
    signals: Result<Signals>,
}

struct Prepared {
    link: (LinkEnd, LinkEnd),
    stacks: (Stacks, OwnedFd),
    pipe: Pipe,
    listeners: Listeners,
}

impl Prepared {
    fn new(generation: &Generation, queue_id: usize) -> Result<Self> {
        Ok(Self {
            link: link::pair()?,
            stacks: stacks::pipe()?,
            pipe: Pipe::new()?,
            listeners: generation.listeners.for_queue(queue_id)?,
        })
    }
}

impl Shell {
    /// Forks a worker: the result for the supervisor, or, in the child, what it begins its life with.
    pub(super) fn spawn(
        &mut self,
        id: u64,
        slot: usize,
        queue_id: usize,
        number: u64,
    ) -> Result<Input, Box<ChildSetup>> {
        let failed = |reason: String| Input::ForkFailed { id, reason };
        let Some(generation) = self.generations.get(number) else {
            return Ok(failed(format!(
                "there is no generation {number} of workers"
            )));
        };
        let template = Rc::clone(&generation.template);
        let name = Arc::clone(&generation.name);
        let (policy, group) = (generation.policy, generation.group);
        let shared = generation.listeners.clone();
        let Prepared {
            link: (ours, theirs),
            stacks: (stacks, stacks_to),
            pipe,
            listeners,
        } = match Prepared::new(generation, queue_id) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(failed(format!("cannot fork a worker: {error}"))),
        };
        self.tell(&ArbiterEvent::Forking { id });
        let now = self.children.assign(slot, id, group, number, policy.calls);

        let arbiter = Pid::this().as_raw();
        let mut pipe = Some(pipe);
        let mut installed = None;
        let mut forked = None;
        // A worker that calls `fork` again gets the same answer, and no second child.
        let mut fork = || {
            *forked.get_or_insert_with(|| {
                fork::fork(|| {
                    let table = worker::SIGNALS.iter();
                    let table = table.map(|&(signal, what, _)| (signal, what));
                    let signals = &mut self.inbox.signals;
                    installed = pipe.take().map(|pipe| {
                        let stacks = WorkerSignal::Stacks.number();
                        let expire = WorkerSignal::Expire.number();
                        signals.install_in_child(pipe, table, stacks, expire)
                    });
                })
            })
        };
        let around = AssertUnwindSafe(|| template.borrow_mut().around_fork(&mut fork));
        let panic = catch_unwind(around).is_err();

        let reason = match forked {
            Some(ForkOutcome::Child) => {
                let signals = match installed {
                    Some(signals) if !panic => signals,
                    _ => Err(Error::boot("the worker panicked around its fork")),
                };
                return Err(Box::new(ChildSetup {
                    template,
                    place: Place {
                        id,
                        slot,
                        group: name,
                        workers: self.supervisor.targets().nth(group.0).unwrap_or_default(),
                        beat_every: policy.timeout.map(|timeout| timeout / 2),
                        max_requests: draw_max_requests(&policy),
                        graceful_timeout: policy.graceful_timeout,
                    },
                    listeners,
                    arbiter,
                    link: theirs,
                    stacks: stacks_to,
                    signals,
                }));
            }
            Some(ForkOutcome::Parent(pid)) => {
                let child = Child {
                    id,
                    slot,
                    group,
                    policy,
                    link: ours,
                    stacks,
                    queues: listeners.without(&shared),
                    examined: false,
                    heard: now,
                    ready: false,
                    words: None,
                    asked: Vec::new(),
                    ending: None,
                    reaped: false,
                };
                let child = self.children.add(pid, child);
                let watched = self.inbox.watch(&child.link);
                if let Err(error) = watched.and_then(|()| self.inbox.watch(&child.stacks)) {
                    // Its exit is noticed by SIGCHLD all the same; its readiness, with the next wake-up.
                    error!("cannot watch the worker with pid {pid}: {error}");
                }
                self.tell(&ArbiterEvent::WorkerSpawned { id, pid });
                return Ok(Input::Forked { id, pid });
            }
            Some(ForkOutcome::Failed(errno)) => {
                let error = io::Error::from_raw_os_error(errno);
                format!("cannot fork a worker: {error}")
            }
            None => "the worker did not fork when it was asked to".into(),
        };
        self.children.scoreboard.slot(slot).clear();
        Ok(failed(reason))
    }

    pub(super) fn reaped(&mut self, report: &ExitReport) {
        let ExitReport { id, pid, .. } = *report;
        if let Some(child) = self.children.remove(report) {
            // A sibling that is being forked may hold a copy, so closing it is not enough.
            self.inbox.forget(&child.link);
            self.inbox.forget(&child.stacks);
            if child.ready {
                self.generations.take_back(child.group, &child.queues);
            }
        }
        let status = match report.exit {
            Exit::Code(code) => Some(ExitStatus::from_raw((code & 0xff) << 8)),
            Exit::Signal(signal) => Some(ExitStatus::from_raw(signal as i32)),
            Exit::Unknown => None,
        };
        self.tell(&ArbiterEvent::WorkerExited { id, pid, status });
    }

    /// Leaves everything of the arbiter's behind, and works. The process ends here.
    pub(super) fn become_worker(self, setup: ChildSetup) -> ! {
        let work = || {
            let Self {
                mut options,
                mut generations,
                mut identities,
                children,
                lineage,
                inbox,
                answers,
                accompanied,
                ..
            } = self;
            let ChildSetup {
                template,
                place,
                listeners,
                arbiter,
                link,
                stacks,
                signals,
            } = setup;
            identities.become_child("worker");
            // What is in use is among the setup's; what only reserves an address stays the arbiter's.
            generations.hand_over();
            // Its siblings are not its own.
            let scoreboard = children.scoreboard;
            inbox
                .command_queue
                .become_worker(&link, options.worker_commands);
            let handle = Box::new(inbox.command_queue.handle());
            // Its siblings must see the end of file when the arbiter dies, not when this worker does.
            drop((inbox, lineage, accompanied));
            options.attachments.close_in_child();
            let context = signals.and_then(|signals| {
                let lines = Lines {
                    link,
                    signals,
                    stacks,
                    profile: options.profile.clone(),
                    arbiter,
                    handle,
                };
                // Threads share it, and this stack may be taken away for a moment.
                WorkerContext::new(place, listeners, scoreboard, Some(lines)).map(Box::new)
            });
            let status = match context {
                Ok(context) => worker::run_process(template.borrow_mut().worker(), &context),
                Err(error) => {
                    error!("{error}");
                    i32::from(Error::boot("").exit_code())
                }
            };
            // What the host gave is not dropped in a child: it may be there to end with the host. The title stays
            // to the very end.
            std::mem::forget((template, generations, options, identities));
            // The threads that wait for these are not here.
            std::mem::forget(answers);
            status
        };
        fork::exit_now(catch_unwind(AssertUnwindSafe(work)).unwrap_or(255))
    }
}

/// After how many requests a new worker is due for recycling: the bound, and a part of the jitter that is its own.
fn draw_max_requests(policy: &Policy) -> Option<u64> {
    let most = policy.max_requests?;
    let random = RandomState::new().build_hasher().finish();
    let spread = policy.max_requests_jitter.saturating_add(1);
    Some(most.saturating_add(random % spread))
}
