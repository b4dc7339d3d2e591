//! The books of one group of workers: what it is to have, and what was promised to it.

use super::super::super::*;
use super::super::process::Process;
use super::debts::Debts;
use super::orders::CALM;

/// What was in force before the trial.
pub(in super::super) struct Before {
    pub(in super::super) supervised: Supervised,
    pub(in super::super) target: usize,
}

pub(in super::super) struct Books {
    pub(in super::super) id: usize,
    pub(in super::super) target: usize,
    pub(in super::super) current: Supervised,
    pub(in super::super) trial: Option<Before>,
    /// A worker of it was ready once.
    pub(in super::super) proven: bool,
    pub(in super::super) debts: Debts,
    /// When what it has forked would be due in a calm.
    pub(in super::super) forks: MonoTime,
}

impl Books {
    pub(in super::super) fn new(id: usize, now: MonoTime, current: Supervised) -> Self {
        Self {
            id,
            target: current.policy.workers,
            current,
            trial: None,
            proven: false,
            debts: Debts::default(),
            forks: now,
        }
    }

    /// Which generation comes to stay if no new worker can boot.
    pub(in super::super) fn stays(&self) -> u64 {
        let before = self.trial.as_ref().map(|trial| trial.supervised);
        before.unwrap_or(self.current).generation
    }

    /// How many come back if no new worker can boot.
    pub(in super::super) fn keeps(&self) -> usize {
        let before = self.trial.as_ref().map(|trial| trial.target);
        before.unwrap_or(self.target)
    }

    /// How many must serve before one may leave for another.
    pub(in super::super) fn needed(&self) -> usize {
        self.keeps().max(self.target)
    }

    /// Whether it is to stay, as far as its books say.
    pub(in super::super) fn is_fresh(&self, process: &Process) -> bool {
        process.told.is_none()
            && !process.recycle_due
            && process.generation == self.current.generation
    }

    /// Forks that follow from a command are not held against it.
    pub(in super::super) fn is_asked_for_more(&mut self, now: MonoTime, workers: usize) {
        let forgiven = (0..workers).map(|_| CALM).sum();
        self.forks = now.max(self.forks - forgiven);
    }

    /// All that are to be there serve, by the policy that is in force.
    pub(in super::super) fn is_complete<'p>(
        &self,
        processes: impl Iterator<Item = &'p Process>,
    ) -> bool {
        let staying: Vec<_> = processes
            .filter(|process| process.group == self.id && process.told.is_none())
            .collect();
        let serving = staying.iter().filter(|process| process.ready);
        self.trial.as_ref().is_none_or(|_| self.target == 0)
            && staying
                .iter()
                .all(|process| process.generation == self.current.generation)
            && serving.count() >= self.target
    }
}
