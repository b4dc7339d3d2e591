//! By when a worker that had been ready is to be replaced, whatever else fails.

use super::super::super::super::backoff::{AT_ONCE, LONGEST_OWED};
use super::super::super::*;
use super::super::SLOTS;
use super::super::process::Process;
use super::Law;

/// What is owed for those that have gone.
#[derive(Default)]
pub(in super::super) struct Debts {
    /// When the last ones went that are replaced at once.
    pub(super) recent: Vec<MonoTime>,
    /// By when the others are to be replaced.
    pub(super) by: Option<MonoTime>,
}

impl Law {
    /// Whether one that has gone by itself is to be replaced at once.
    pub(super) fn owes(&mut self, gone: &Process, ready: bool) -> bool {
        if self.stop.is_some() || gone.told.is_some() || !(ready || gone.ready) {
            return false;
        }
        let now = self.now;
        let mut others = self.processes.iter().filter(|it| it.group == gone.group);
        let others = others.any(Process::serves);
        let lasted = gone.ready && now.since(gone.since) >= PROVEN;
        let is_missing_some = self.is_missing_some(gone.group);
        let group = &mut self.groups[gone.group];
        group.is_asked_for_more(now, 1);
        group
            .debts
            .recent
            .retain(|at| now.since(*at) < LONGEST_OWED);
        group.debts.recent.push(now);
        if (others || lasted) && group.debts.recent.len() <= AT_ONCE as usize {
            return is_missing_some;
        }
        if is_missing_some {
            group.debts.by.get_or_insert(now + LONGEST_OWED);
        }
        false
    }

    /// Whether they are paid, or need not be yet.
    pub(super) fn pays_in_time(&mut self) -> bool {
        for id in 0..self.groups.len() {
            if self.stop.is_some() || !self.is_missing_some(id) {
                self.groups[id].debts.by = None;
            }
        }
        let mut debts = self.groups.iter().filter_map(|group| group.debts.by);
        debts.all(|by| by > self.now)
    }

    /// Whether surely fewer are there than are to be: one that is being ended may count until it has gone.
    fn is_missing_some(&self, id: usize) -> bool {
        let group = &self.groups[id];
        let all = || self.processes.iter().chain(&self.asked);
        let leaves = |p: &Process| matches!(p.told, Some(WorkerSignal::Leave | WorkerSignal::Quit));
        let stay = all().filter(|p| !leaves(p) && p.generation == group.current.generation);
        let (due, fresh): (Vec<&Process>, Vec<&Process>) = stay.partition(|p| p.recycle_due);
        all().count() < SLOTS && fresh.len() + due.len() < group.target + due.len().min(1)
    }
}
