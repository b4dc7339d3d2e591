//! By when a worker that had been ready is to be replaced, whatever else fails.

use super::super::super::super::backoff::{AT_ONCE, LONGEST_OWED};
use super::super::super::*;
use super::super::SLOTS;
use super::super::process::Process;
use super::Law;

/// What is owed for those that have gone.
#[derive(Default)]
pub(super) struct Debts {
    /// When the last ones went, for whom somebody is forked at once.
    recent: Vec<MonoTime>,
    /// By when somebody is to be forked for the others.
    by: Option<MonoTime>,
}

impl Law {
    /// Whether somebody is to be forked at once for one that has gone by itself.
    pub(super) fn owes(&mut self, gone: &Process, ready: bool) -> bool {
        if self.stop.is_some() || gone.told.is_some() || !(ready || gone.ready) {
            return false;
        }
        let now = self.now;
        self.is_asked_for_more(1);
        let others = self.processes.iter().any(Process::serves);
        let lasted = gone.ready && now.since(gone.since) >= PROVEN;
        self.debts.recent.retain(|at| now.since(*at) < LONGEST_OWED);
        self.debts.recent.push(now);
        if (others || lasted) && self.debts.recent.len() <= AT_ONCE as usize {
            return self.is_missing_some();
        }
        if self.is_missing_some() {
            self.debts.by.get_or_insert(now + LONGEST_OWED);
        }
        false
    }

    /// Somebody is forked, or more are asked for.
    pub(super) fn pays(&mut self) {
        self.debts.by = None;
    }

    /// Whether they are paid, or need not be yet.
    pub(super) fn pays_in_time(&mut self) -> bool {
        if self.stop.is_some() || !self.is_missing_some() {
            self.debts.by = None;
        }
        self.debts.by.is_none_or(|by| by > self.now)
    }

    /// Whether surely fewer are there than are to be: one that is being ended may count until it has gone.
    fn is_missing_some(&self) -> bool {
        let all = || self.processes.iter().chain(&self.asked);
        let leaves = |p: &Process| matches!(p.told, Some(WorkerSignal::Leave | WorkerSignal::Quit));
        let stay = all().filter(|p| !leaves(p) && p.generation == self.generation);
        let (recycle_due, fresh): (Vec<&Process>, Vec<&Process>) =
            stay.partition(|p| p.recycle_due);
        all().count() < SLOTS
            && fresh.len() + recycle_due.len() < self.target + recycle_due.len().min(1)
    }
}
