//! [`Shell`]: forks, sends signals, waits, and tells the [`Supervisor`] what has happened.
//!
//! It decides nothing. It waits for its own children only, each by its process id, unless it answers for all
//! of them; and it never blocks but in its poll.
//!
//! *Invariants*: no signal is sent to a process that has been waited for; in a child, everything of the
//! arbiter's is closed before the worker's first line, and no frame of the arbiter or its host is returned
//! into.

mod answers;
mod children;
mod companion;
mod examination;
mod identity;
mod inbox;
mod loading;
mod report;
mod spawn;
mod succession;
mod trial;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use mio::Events;
use nix::unistd::Pid;

use super::action::{Action, Failure, Input, Request};
use super::attachment::Attachments;
use super::command::Command;
use super::companion::Companion;
use super::event::{ArbiterEvent, Observers};
use super::generation::{Generation, Generations};
use super::handle::ArbiterState;
use super::supervisor::Supervisor;
use super::{Arbiter, ReloadSource};
use crate::error::{Error, Result};
use crate::ipc::profile::ProfileChannel;
use crate::net::{QueuePolicy, handover};
use crate::sys::foreign_fork;
use crate::time::MonoTime;
use crate::trace::{error, info, warning};
use answers::Answers;
use children::Children;
use companion::Accompanied;
use identity::Identities;
pub(super) use identity::Identity;
use inbox::Inbox;
use spawn::ChildSetup;
use succession::Lineage;

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
pub(super) struct ArbiterOptions {
    pub(super) slots: usize,
    pub(super) signals: bool,
    /// Whether it waits for children that are not its workers.
    pub(super) reap_orphans: bool,
    pub(super) pulse: Option<Duration>,
    pub(super) worker_commands: bool,
    pub(super) reload: Option<ReloadSource>,
    pub(super) attachments: Attachments,
    /// How workers are told to sample their stacks, if they can be.
    pub(super) profile: Option<Arc<ProfileChannel>>,
    pub(super) companion: Option<Companion>,
    pub(super) reopen_logs: Box<dyn FnMut()>,
    pub(super) observers: Observers,
}

impl Default for ArbiterOptions {
    fn default() -> Self {
        Self {
            slots: 512,
            signals: true,
            reap_orphans: process::id() == 1,
            pulse: None,
            worker_commands: false,
            reload: None,
            attachments: Attachments::default(),
            profile: None,
            companion: None,
            reopen_logs: Box::new(|| {}),
            observers: Observers::default(),
        }
    }
}

pub(super) struct Shell {
    supervisor: Supervisor,
    generations: Generations,
    children: Children,
    identities: Identities,
    lineage: Lineage,
    inbox: Inbox,
    answers: Answers,
    accompanied: Accompanied,
    options: ArbiterOptions,
}

impl Shell {
    /// Takes the process's signals, and then the pid file: a signal that ends the arbiter finds it able to remove that.
    pub(super) fn new(arbiter: Arbiter) -> Result<Self> {
        let Arbiter {
            groups,
            identity,
            mut options,
            exec,
            command_queue,
            ..
        } = arbiter;
        let mut lineage = Lineage::new(exec);
        let calls = groups.iter().map(|group| group.policy.calls).max();
        let counters = lineage.take_totals()?;
        let children = Children::new(options.slots, calls.unwrap_or(1), counters)?;
        let follows = lineage.predecessor.is_some();
        children.scoreboard.set_following(follows);
        if follows {
            children
                .scoreboard
                .counters()
                .set_heir(Pid::this().as_raw());
        }
        command_queue.show(&children.scoreboard);
        let inbox = Inbox::new(command_queue, &options)?;
        let mut identities = Identities::default();
        let predecessor = lineage.predecessor.as_ref();
        let claimed = identities.claim(identity.pidfile.as_deref(), predecessor);
        claimed.inspect_err(|error| lineage.tell_failure(error))?;
        let watched = predecessor.map_or(Ok(()), |before| inbox.watch(before));
        watched
            .and_then(|()| {
                let descriptors = options.attachments.descriptors();
                descriptors
                    .iter()
                    .try_for_each(|fd| inbox.watch_number(*fd))
            })
            .map_err(|e| Error::io("cannot watch the arbiter's descriptors", e))?;
        let mut generations = Generations::default();
        let supervised = generations.add(groups);
        identities.add(supervised[0].generation, identity);
        let supervisor = Supervisor::new(supervised, options.slots);
        let supervisor = match predecessor {
            Some(_) => {
                inbox.command_queue.set_follows();
                supervisor.with_predecessor()
            }
            None => supervisor,
        };
        Ok(Self {
            supervisor,
            generations,
            children,
            identities,
            lineage,
            inbox,
            answers: Answers::default(),
            accompanied: Accompanied::new(options.companion.take()),
            options,
        })
    }

    /// Keeps what is the arbiter's from children that others fork: what is loaded may have helpers of its own.
    fn close_in_foreign_forks(&mut self) {
        let mut private = self.inbox.descriptors();
        private.extend(self.options.attachments.descriptors());
        let mut add = |fd: BorrowedFd<'_>| private.push(fd.as_raw_fd());
        self.accompanied.descriptors().for_each(&mut add);
        self.lineage.descriptors().for_each(&mut add);
        self.identities.descriptors().for_each(&mut add);
        let mut listeners = vec![self.generations.all_listeners()];
        for child in self.children.iter() {
            add(child.link.as_fd());
            add(child.stacks.as_fd());
            listeners.push(child.queues.clone());
        }
        let listeners = listeners.iter().flatten();
        listeners.for_each(|listener| add(listener.as_fd()));
        foreign_fork::keep_out(private);
    }

    fn tell(&mut self, event: &ArbiterEvent) {
        let handle = self.inbox.command_queue.handle();
        self.options.observers.tell(event, &handle);
    }

    /// Supervises until the end. In a worker's process it does not return.
    pub(super) fn run(mut self) -> Result<()> {
        let listeners = self.generations.listeners();
        if !listeners.is_empty() {
            let urls: Vec<String> = listeners.iter().map(ToString::to_string).collect();
            info!("Listening at: {} ({})", urls.join(","), process::id());
        }
        self.generations.adopt(handover::close_rest());
        let predecessor = self.lineage.predecessor.as_ref().map(|before| before.pid);
        if let Some(pid) = predecessor {
            info!("Following the arbiter with pid {pid}");
            self.tell(&ArbiterEvent::Following { pid });
        }
        self.identities.show_arbiter(predecessor.is_some());
        self.tell(&ArbiterEvent::Started { listeners });
        self.show_status(false);
        let to = self.supervisor.target();
        self.tell(&ArbiterEvent::Resized { from: None, to });
        let mut events = Events::with_capacity(64);
        loop {
            self = self.accompany();
            let next = match self.turn() {
                Flow::Next(next) => next,
                Flow::End(end) => return self.end(end),
                Flow::Child(setup) => self.become_worker(*setup),
            };
            if self.inbox.is_pulse_due() {
                self.tell(&ArbiterEvent::Pulse);
            }
            let look = self.supervisor.bounds_requests() || self.children.have_memory_bounds();
            let next = next
                .into_iter()
                .chain(self.options.attachments.deadline())
                .chain(self.accompanied.deadline())
                .min();
            self.inbox.wait(&mut events, next, look)?;
            self.run_attachments();
        }
    }

    fn end(mut self, end: Result<(), Failure>) -> Result<()> {
        self.unload();
        info!("Shutting down: Master");
        let end = end.map_err(Error::from);
        if let Err(error) = &end {
            if error.is_app() {
                info!("Reason: App failed to load.");
            } else if error.is_boot() {
                info!("Reason: Worker failed to boot.");
            }
            self.lineage.tell_failure(error);
        }
        // The signals and the title are the host's again, and the pid file is gone, when the observer hears of it. Until
        // the files are gone a further signal must not end the process.
        self.identities.release();
        if self.lineage.leave() {
            self.become_sole();
        }
        self.accompanied.end();
        drop((self.generations, self.identities));
        let command_queue = self.inbox.close();
        command_queue.set_state(ArbiterState::Ended);
        let handle = command_queue.handle();
        self.options.observers.tell(&ArbiterEvent::Ended, &handle);
        self.answers.ended();
        end
    }

    /// Tells the supervisor everything that has happened, and does what it wants.
    fn turn(&mut self) -> Flow {
        let now = MonoTime::now();
        let mut actions = Vec::new();
        let mut inputs = self.collect();
        inputs.push(Input::Wake);
        let mut next = None;
        // Doing may have results, and those consequences: so until there are none.
        while !inputs.is_empty() {
            for input in inputs.drain(..) {
                next = self.supervisor.step(now, input, &mut actions);
            }
            self.show_status(false);
            for action in actions.drain(..) {
                match self.perform(action) {
                    Ok(answer) => inputs.extend(answer),
                    Err(flow) => return flow,
                }
            }
        }
        self.answers.look(&self.supervisor);
        // The replacements of workers that have gone are forked by now, and have their queues.
        self.generations.close_free_queues();
        self.show_listeners();
        self.close_in_foreign_forks();
        Flow::Next(next)
    }

    /// Shows the present state to handles; `loading` while settings are read.
    fn show_status(&self, loading: bool) {
        // An arbiter that leaves to another one has named it before it shows that it leaves.
        self.choose_speaker();
        let command_queue = &self.inbox.command_queue;
        command_queue.set_state(match self.supervisor.state() {
            ArbiterState::Stopping => ArbiterState::Stopping,
            _ if loading => ArbiterState::Reloading,
            state => state,
        });
        command_queue.set_target(self.supervisor.target());
        command_queue.set_generation(self.generations.newest());
    }

    /// The inputs since the last turn. Commands are read before the workers' messages, and come after their readiness: a
    /// worker that was ready before a command was given counts for it.
    fn collect(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        let stops = self.supervisor.state() == ArbiterState::Stopping;
        for (command, ticket) in self.inbox.commands() {
            self.answers.expect(command, ticket, stops);
            inputs.push(Input::Command(command));
        }
        for (order, ticket) in self.inbox.command_queue.take_orders() {
            self.children.obey(order, ticket, &mut inputs);
        }
        let mut gone = Children::reap_orphans(self.options.reap_orphans);
        self.inbox.look_soon = self.hear_lineage(&mut gone, &mut inputs);
        self.inbox.look_soon |= self.hear_companion(&mut gone);
        let bounds_requests = self.supervisor.bounds_requests();
        let heard = self.children.collect(gone, bounds_requests, &mut inputs);
        self.inbox.look_soon |= heard.look_soon;
        let ready = heard.ready.iter().map(|&(id, _)| Input::Ready { id });
        inputs.splice(0..0, ready);
        for (id, pid) in heard.ready {
            self.tell(&ArbiterEvent::WorkerReady { id, pid });
        }
        let groups = self.supervisor.targets().count();
        for (pid, command) in heard.asked {
            match Command::of_worker(command, groups) {
                Some(command) if self.options.worker_commands => {
                    info!("Worker (pid:{pid}) asks for {command:?}");
                    self.answers.expect(command, None, stops);
                    inputs.push(Input::Command(command));
                }
                _ => {
                    let kind = command.kind;
                    warning!("Worker (pid:{pid}) asks for {kind:?}, which it may not");
                }
            }
        }
        inputs
    }

    /// Does what the supervisor wants; gives the answer to what it has asked, or leads out of the loop.
    fn perform(&mut self, action: Action) -> std::result::Result<Option<Input>, Flow> {
        match action {
            Action::Ask(request) => {
                let answer = match request {
                    Request::Spawn {
                        id,
                        slot,
                        queue_id,
                        generation,
                    } => self
                        .spawn(id, slot, queue_id, generation)
                        .map_err(Flow::Child)?,
                    Request::LoadConfig => self.load(),
                    Request::Reexec => self.reexec(),
                };
                return Ok(Some(answer));
            }
            Action::Exit(end) => return Err(Flow::End(end)),
            Action::Signal {
                pid,
                slot,
                order,
                why,
            } => self.children.signal(pid, slot, order, why),
            Action::Reaped(report) => self.reaped(&report),
            Action::Recycle { pid, reason } => self.children.recycle(pid, reason),
            Action::ForkRetry { reason, retry } => report::fork_retry(&reason, retry),
            Action::Supersede { generation } => self.supersede(generation),
            Action::CommitReload { proven, dropped } => self.commit_reload(proven, dropped),
            Action::RevertReload { dropped, reason } => self.revert_reload(dropped, reason),
            Action::RefuseUpgrade { successor } => self.refuse_upgrade(successor),
            Action::Upgraded { pid } => self.upgraded(pid),
            Action::StopSuccessor { pid, order } => self.lineage.stop_successor(pid, order),
            Action::UpgradeFailed { reason } => self.upgrade_failed(reason),
            Action::SuccessorGone { pid, exit } => self.successor_gone(pid, exit),
            Action::NotifyPredecessor => self.lineage.notify_predecessor(),
            Action::Promote => self.promote(),
            Action::ReopenLogs => self.reopen_logs(),
            Action::Ready => {
                let workers = self.supervisor.target();
                self.tell(&ArbiterEvent::Ready { workers });
            }
            Action::Resized { from, to } => {
                let from = Some(from);
                self.tell(&ArbiterEvent::Resized { from, to });
            }
            Action::StopListening => self.stop_listening(),
        }
        Ok(None)
    }

    /// Calls what is attached, where it has something to do.
    fn run_attachments(&mut self) {
        let handle = self.inbox.command_queue.handle();
        // The poll tells of each edge once.
        self.inbox.look_now = self.options.attachments.run(&handle);
    }

    fn reopen_logs(&mut self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(&mut self.options.reopen_logs)) {
            error!("{}", Error::panicked("opening the logs again", &*panic));
        }
    }

    fn stop_listening(&mut self) {
        let policy = if self.generations.are_ours_alone() {
            QueuePolicy::DrainAndClose
        } else {
            QueuePolicy::Drain
        };
        self.children.scoreboard.set_queue_policy(policy);
        self.answers.stopping();
        self.tell(&ArbiterEvent::Stopping);
        self.generations.close();
        self.children.release_queues();
    }
}
