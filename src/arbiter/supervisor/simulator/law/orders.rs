//! When a worker may be asked for, and when it may be given which order.
//!
//! What became of the others is in the books of [`Law`].

use super::super::super::*;
use super::super::process::Process;
use super::super::{SLOTS, require};
use super::Law;
use super::group::Books;

/// A fork in each of these is no storm, nor are two for each slot at once, beyond those that were asked for.
pub(super) const CALM: Duration = Duration::from_millis(250);
const STORM: u32 = 2 * SLOTS as u32;

impl Law {
    pub(super) fn spawns(&mut self, id: u64, (slot, queue_id): (usize, usize), generation: u64) {
        require(self.stop.is_none(), "no worker is forked in a stop");
        let all = || self.processes.iter().chain(&self.asked);
        require(
            slot < SLOTS && all().all(|other| other.id != id && other.slot != slot),
            "an id and a slot belong to one worker",
        );
        let group = self.generations.get(&generation).copied();
        let group = group.unwrap_or(self.groups.len());
        let group = self.groups.get(group);
        let is_current = |group: &&Books| group.current.generation == generation;
        let Some(group) = group.filter(is_current) else {
            return require(
                false,
                "a worker is forked of the generation in force in its group",
            );
        };
        let mut fresh = all().filter(|other| group.is_fresh(other));
        require(
            fresh.all(|other| other.queue_id != queue_id) || self.commands > 1,
            "a queue belongs to one worker and its replacement",
        );
        let (id_of_group, current) = (group.id, group.current);
        let new = Process::new(id, (slot, queue_id), id_of_group, current);
        self.asked.push(new);
        let all = self.processes.iter().chain(&self.asked);
        let staying = all.filter(|p| p.told.is_none() && p.generation == generation);
        let (due, fresh): (Vec<&Process>, Vec<&Process>) = staying.partition(|p| p.recycle_due);
        let group = &mut self.groups[id_of_group];
        let most = group.target + due.len().min(1);
        require(
            due.len() + fresh.len() <= most || self.commands > 1,
            "no more workers than are to be, and one for one that is due for recycling",
        );
        group.debts.by = None;
        group.forks = self.now.max(group.forks) + CALM;
        require(
            group.forks <= self.now + CALM * STORM,
            "what fails is tried ever more slowly",
        );
    }

    pub(super) fn signals(&mut self, pid: i32, order: WorkerSignal, why: SignalReason) {
        let (now, resumed, stop) = (self.now, self.resumed, self.stop);
        let found = self.processes.iter().find(|process| process.pid == pid);
        let group = found.map_or(0, |process| process.group);
        let books = &self.groups[group];
        let needed = books.needed();
        let serving = self.serving(group).count();
        let replaced = self.replaced(group);
        let process = self.processes.iter_mut().find(|process| process.pid == pid);
        require(process.is_some(), "only our own processes are signalled");
        let Some(process) = process else { return };
        let counted = |from: MonoTime| now.since(from.max(resumed));
        let is_due = process.due.is_some_and(|due| due <= now);
        let is_stuck = || {
            let timeout = process.policy.request_timeout;
            let call = process.call.zip(timeout);
            call.is_some_and(|((since, _), timeout)| counted(since) >= timeout)
        };
        match (order, why) {
            (WorkerSignal::Reopen, SignalReason::Logs) => {}
            (WorkerSignal::Stacks, SignalReason::Stuck(_)) => {
                require(is_stuck(), "only what takes too long is examined");
            }
            (WorkerSignal::Expire, SignalReason::Examined) => {
                require(is_stuck(), "only what takes too long is given up");
                process.expired = process.call.map(|(since, _)| (since, now));
            }
            (WorkerSignal::Stacks, SignalReason::Silent(_) | SignalReason::NotReady(_)) => {
                require(
                    process.told.is_none() && is_due,
                    "only the silent are examined",
                );
                process.told = Some(order);
                process.due = Some(now + EXAMINE_GRACE);
            }
            (WorkerSignal::Abort, SignalReason::Examined) => {
                require(
                    process.told == Some(WorkerSignal::Stacks) && is_due,
                    "only a worker that was examined is aborted",
                );
                require(
                    !process.booted || process.is_hung(now) || process.gone,
                    "no healthy worker is aborted",
                );
                process.told = Some(order);
                process.due = Some(now + ABORT_GRACE);
            }
            (WorkerSignal::Kill, SignalReason::Overdue) => {
                let stuck = process.expired.is_some_and(|(call, at)| {
                    process.call.is_some_and(|(since, _)| since == call)
                        && process.hopeless
                        && counted(at) >= STUCK_GRACE
                });
                let warned = matches!(
                    process.told,
                    Some(WorkerSignal::Leave | WorkerSignal::Quit | WorkerSignal::Abort)
                );
                require(
                    warned && (is_due || stuck),
                    "only a worker that was warned and is overdue is killed",
                );
                process.told = Some(order);
                process.due = None;
            }
            (WorkerSignal::Leave, SignalReason::Retired) => {
                // A worker that is spared may have been meant to leave when it seemed to be lost.
                let exempt = process.expired.is_some() || self.spared == Some(process.id);
                require(
                    !process.serves() || exempt || serving > needed,
                    "a worker that serves leaves only when enough others serve",
                );
                require(
                    !process.serves() || exempt || replaced.is_empty() || replaced.contains(&pid),
                    "a worker that has been replaced leaves first",
                );
                require(process.told.is_none(), "no worker is asked to leave twice");
                process.told = Some(order);
                process.due = Some(now + process.policy.graceful_timeout);
            }
            (WorkerSignal::Leave | WorkerSignal::Quit, SignalReason::Stop) => {
                let lawful = match stop {
                    Some((_, quickly)) => quickly == (order == WorkerSignal::Quit),
                    None => false,
                };
                require(lawful, "a stop is as it was asked for");
                let until = stop.map_or(now, |(until, _)| until);
                let leaving = process.told.is_some();
                let due = process.due.filter(|_| leaving);
                process.due = Some(due.map_or(until, |due| due.min(until)));
                process.told = Some(order);
            }
            _ => require(false, "each order has its reasons"),
        }
    }

    fn serving(&self, group: usize) -> impl Iterator<Item = &Process> {
        let serving = self.processes.iter().filter(|process| process.serves());
        serving.filter(move |process| process.group == group)
    }

    /// The workers that are to be replaced and serve at a queue at which another serves as well.
    fn replaced(&self, group: usize) -> Vec<i32> {
        let outgoing = self.serving(group);
        let outgoing = outgoing.filter(|process| !self.groups[group].is_fresh(process));
        let replaced = outgoing.filter(|p| {
            let mut others = self.serving(group).filter(|q| q.id != p.id);
            others.any(|q| q.queue_id == p.queue_id)
        });
        replaced.map(|process| process.pid).collect()
    }
}
