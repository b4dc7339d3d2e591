//! [`Children`]: the worker processes that exist, what they say, and what the kernel says of them.
//!
//! Nothing is decided here. A child is signalled only until it has been waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::examination::Examination;
use super::report;
use crate::arbiter::action::{ExitReport, Input, RecycleReason, SignalReason};
use crate::arbiter::completion::Ticket;
use crate::arbiter::policy::{GroupId, Policy};
use crate::arbiter::totals;
use crate::arbiter::worker_order::WorkerOrder;
use crate::error::Result;
use crate::ipc::link::{LastWords, LinkEnd, Message, WorkerCommand};
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::totals::Counters;
use crate::ipc::worker_signal::WorkerSignal;
use crate::net::Listeners;
use crate::sys::fork::{self, Exit};
use crate::sys::memory::{self, OomKills};
use crate::sys::stacks::Stacks;
use crate::time::MonoTime;
use crate::trace::{debug, error, warning};

#[derive(Debug)]
pub(super) struct Child {
    pub(super) id: u64,
    pub(super) slot: usize,
    pub(super) group: GroupId,
    pub(super) policy: Policy,
    pub(super) link: LinkEnd,
    pub(super) stacks: Stacks,
    /// Its own queues, for the one that takes its place; given up when it is asked to leave.
    pub(super) queues: Listeners,
    /// Whether its stacks have been logged: it shows them once more when it is aborted.
    pub(super) examined: bool,
    pub(super) heard: MonoTime,
    pub(super) ready: bool,
    pub(super) words: Option<LastWords>,
    pub(super) asked: Vec<WorkerCommand>,
    /// What it exits with, whatever becomes of its last step: once its work is done.
    pub(super) ending: Option<i32>,
    /// It has been waited for: its process id may be another's by now.
    pub(super) reaped: bool,
}

/// Exits that were waited for without asking for the process.
pub(super) type Gone = BTreeMap<i32, Exit>;

/// What the shell is to do about what was collected.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Number and process id of workers that are ready now.
    pub(super) ready: Vec<(u64, i32)>,
    /// Process id and command of workers that ask for something.
    pub(super) asked: Vec<(i32, WorkerCommand)>,
    pub(super) look_soon: bool,
}

#[derive(Debug)]
pub(super) struct Children {
    all: BTreeMap<i32, Child>,
    pub(super) scoreboard: Arc<Scoreboard>,
    oom_kills: OomKills,
    /// The questions for stacks that are not answered.
    examinations: Vec<Examination>,
}

impl Children {
    pub(super) fn new(slots: usize, calls: usize, counters: Counters) -> Result<Self> {
        Ok(Self {
            all: BTreeMap::new(),
            scoreboard: Arc::new(Scoreboard::new(slots, calls, counters)?),
            oom_kills: OomKills::watch(),
            examinations: Vec::new(),
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.all.values()
    }

    pub(super) fn by_pid(&self) -> impl Iterator<Item = (i32, &Child)> {
        let there = self.all.iter().filter(|(_, child)| !child.reaped);
        there.map(|(&pid, child)| (pid, child))
    }

    pub(super) fn have_memory_bounds(&self) -> bool {
        self.iter()
            .any(|child| child.policy.max_worker_memory.is_some())
    }

    /// Gives the slot to a worker of this generation that is about to be forked now.
    pub(super) fn assign(
        &self,
        slot: usize,
        id: u64,
        group: GroupId,
        generation: u64,
        calls: usize,
    ) -> MonoTime {
        let now = MonoTime::now();
        self.scoreboard.assign(slot, id, group.0, calls, now);
        self.scoreboard.slot(slot).set_generation(generation);
        now
    }

    pub(super) fn add(&mut self, pid: i32, child: Child) -> &Child {
        self.scoreboard.slot(child.slot).set_pid(pid);
        self.all.insert(pid, child);
        &self.all[&pid]
    }

    /// Waits for all children that have ended, if the arbiter answers for them.
    pub(super) fn reap_orphans(does: bool) -> Gone {
        let orphans = does.then(|| std::iter::from_fn(fork::reap_any));
        orphans.into_iter().flatten().collect()
    }

    /// What has happened to the workers. An exit hides a readiness that came with it, and comes after that of others:
    /// where one worker can boot, the failure of another ends nothing.
    pub(super) fn collect(
        &mut self,
        mut gone: Gone,
        bounds_requests: bool,
        inputs: &mut Vec<Input>,
    ) -> Collected {
        let mut collected = Collected::default();
        let mut exits = Vec::new();
        for (&pid, child) in &mut self.all {
            // Asked before its messages are read: then the last of them are there.
            let exit = gone.remove(&pid).or_else(|| fork::reap(pid));
            let was_ready = child.ready;
            let recycle_due = child.read(pid);
            if let Some(text) = child.take_stacks(exit.is_some()) {
                child.show_stacks(pid, &text, &mut self.examinations);
            }
            let asked = child.asked.drain(..).map(|command| (pid, command));
            collected.asked.extend(asked);
            if let Some(exit) = exit {
                child.reaped = true;
                self.examinations.iter_mut().for_each(|it| it.forget(pid));
                exits.push(Input::Exited {
                    pid,
                    exit: report::verdict(pid, exit, child.ending),
                    ready: child.ready,
                    words: child.words.take(),
                });
                continue;
            }
            // The kernel closes the descriptors of a process before the process can be waited for.
            collected.look_soon |= child.stacks.is_pending() || child.link.is_closed();
            let id = child.id;
            if child.ready && !was_ready {
                collected.ready.push((id, pid));
            }
            // It says so once, and only a worker that serves can be due for recycling.
            inputs.extend(recycle_due.map(|reason| Input::RecycleDue { id, reason }));
            let slot = self.scoreboard.slot(child.slot);
            let heard = slot.heard();
            if heard > child.heard {
                child.heard = heard;
                inputs.push(Input::Beat { id, at: heard });
            }
            if bounds_requests {
                let bound = slot.calls().filter(|call| !call.upgraded);
                let oldest = bound.map(|call| call.started).min();
                let alone = slot.connections() <= 1;
                inputs.extend(oldest.map(|since| Input::InCall { id, since, alone }));
            }
            if let Some(most) = child.policy.max_worker_memory {
                let memory = memory::resident(pid).filter(|bytes| *bytes >= most);
                let reason = memory.map(RecycleReason::Memory);
                inputs.extend(reason.map(|reason| Input::RecycleDue { id, reason }));
            }
        }
        for (pid, exit) in gone {
            debug!("Process {pid}, which is no worker, {exit}");
        }
        inputs.append(&mut exits);
        let now = MonoTime::now();
        let open = std::mem::take(&mut self.examinations).into_iter();
        self.examinations = open.filter_map(|it| it.proceed(now)).collect();
        collected.look_soon |= !self.examinations.is_empty();
        collected
    }

    /// Gives a worker an order, if it has not gone in this very turn.
    pub(super) fn signal(&mut self, pid: i32, slot: usize, order: WorkerSignal, why: SignalReason) {
        let Some(child) = self.all.get_mut(&pid).filter(|child| !child.reaped) else {
            return;
        };
        if order == WorkerSignal::Stacks {
            child.examined = false;
            self.examinations.iter_mut().for_each(|it| it.forget(pid));
        }
        if matches!(order, WorkerSignal::Leave | WorkerSignal::Quit) {
            child.queues = Listeners::default();
        }
        report::explain(self.scoreboard.slot(slot), pid, why);
        if let Err(error) = order.send(pid) {
            error!("{error}");
        }
    }

    /// Does what was asked for of single workers. What the supervisor has to hear of is added to the inputs.
    pub(super) fn obey(&mut self, order: WorkerOrder, ticket: Ticket, inputs: &mut Vec<Input>) {
        let (id, kills) = match order {
            WorkerOrder::Stacks(shown) => {
                let workers = self.by_pid().map(|(pid, child)| (pid, child.id));
                let examination = Examination::begin(ticket, shown, workers);
                self.examinations.push(examination);
                return;
            }
            WorkerOrder::Recycle(id) => (id, false),
            WorkerOrder::Kill(id) => (id, true),
        };
        let Some((pid, child)) = self.by_pid().find(|(_, child)| child.id == id) else {
            return ticket.fail(format!("there is no worker {id}"));
        };
        if kills {
            warning!("Killing worker (pid: {pid}), as was asked for");
            match WorkerSignal::Kill.send(pid) {
                Ok(()) => ticket.finish(),
                Err(error) => ticket.fail(error.to_string()),
            }
        } else if child.ready {
            let reason = RecycleReason::Asked;
            inputs.push(Input::RecycleDue { id, reason });
            ticket.finish();
        } else {
            ticket.fail(format!("worker {id} is not ready yet"));
        }
    }

    pub(super) fn recycle(&self, pid: i32, reason: RecycleReason) {
        if let Some(cause) = totals::cause_of_recycling(reason) {
            self.scoreboard.counters().count_restart(cause);
        }
        report::recycled(pid, reason);
    }

    pub(super) fn remove(&mut self, exit: &ExitReport) -> Option<Child> {
        let child = self.all.remove(&exit.pid);
        self.scoreboard.slot(exit.slot).clear();
        let was_ready = child.as_ref().is_some_and(|child| child.ready);
        if let Some(cause) = totals::cause_of_exit(exit, was_ready) {
            self.scoreboard.counters().count_restart(cause);
        }
        report::gone(exit, &mut self.oom_kills);
        child
    }

    pub(super) fn release_queues(&mut self) {
        for child in self.all.values_mut() {
            child.queues = Listeners::default();
        }
    }
}

impl Child {
    /// Takes in what it has said; gives why it is to be recycled, if it asks for that.
    fn read(&mut self, pid: i32) -> Option<RecycleReason> {
        let mut recycle_due = None;
        while let Some(message) = self.link.receive() {
            match message {
                Message::Ready => self.ready = true,
                Message::RecycleDue(requests) => {
                    recycle_due = Some(RecycleReason::Requests(requests));
                }
                Message::LastWords(words) => self.words = Some(words),
                Message::Ending(status) => self.ending = Some(status),
                Message::Late => report::late(pid),
                Message::Command(command) => self.asked.push(command),
            }
        }
        recycle_due
    }

    /// Stacks that it has written, once they are complete.
    fn take_stacks(&mut self, has_gone: bool) -> Option<String> {
        let text = self.stacks.read();
        if has_gone && self.stacks.is_pending() {
            return self.stacks.read();
        }
        text
    }

    /// Gives stacks to those that have asked for them, or else to the log.
    fn show_stacks(&mut self, pid: i32, text: &str, examinations: &mut [Examination]) {
        let mut taken = false;
        for examination in examinations {
            taken |= examination.take(pid, text);
        }
        if !taken && !self.examined {
            error!("Stacks of worker (pid:{pid}):\n{text}");
            self.examined = true;
        }
    }
}
