//! [`Group`]: the workers of one kind, how many there are to be, and which generation of them is in force.
//!
//! A group knows nothing of the others: only its own workers are replaced, scaled and recycled by it, and only its
//! own failures slow it down.

use super::{Action, Backoff, GroupId, Policy, Step, Supervised, Table, WorkerRow, retire};

/// What was in force before the generation that is being tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) before: Supervised,
    pub(super) target: usize,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    /// What new workers are: the generation in force, or the one on trial.
    pub(super) current: Supervised,
    pub(super) target: usize,
    /// While the generation has not yet proven good.
    pub(super) trial: Option<Trial>,
    pub(super) backoff: Backoff,
    pub(super) proven: bool,
}

impl Group {
    pub(super) fn new(id: GroupId, current: Supervised) -> Self {
        Self {
            id,
            current,
            target: current.policy.workers,
            trial: None,
            backoff: Backoff::default(),
            proven: false,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.current.policy
    }

    /// Changes the target, and also the one that comes back if the generation on trial is given up.
    pub(super) fn scale(&mut self, room: usize, change: impl Fn(usize) -> usize) {
        if let Some(trial) = &mut self.trial {
            trial.target = change(trial.target).min(room);
        }
        self.target = change(self.target).min(room);
    }

    /// How many workers come back if nothing new proves good.
    pub(super) fn keeps(&self) -> usize {
        self.trial.map_or(self.target, |trial| trial.target)
    }

    /// How many must serve, so that one that is outgoing may leave. While a generation is on trial those are not
    /// fewer than before: they may come back.
    pub(super) fn needed(&self) -> usize {
        self.keeps().max(self.target)
    }

    /// A new generation, on trial. One that was on trial itself is given up for it; what was before that stays what
    /// is gone back to.
    pub(super) fn load(&mut self, new: Supervised, table: &mut Table, step: &mut Step<'_>) {
        if self.trial.is_some() {
            self.retire_the_tried(table, step);
            let generation = self.current.generation;
            step.out.push(Action::Supersede { generation });
        } else {
            self.trial = Some(Trial {
                before: self.current,
                target: self.target,
            });
        }
        self.current = new;
        // Whatever kept workers from booting may have been mended.
        self.backoff = Backoff::default();
        self.target = new.policy.workers.max(1);
    }

    pub(super) fn commit(&mut self, out: &mut Vec<Action>) {
        if let Some(trial) = self.trial.take() {
            let dropped = trial.before.generation;
            out.push(Action::CommitReload {
                proven: self.current.generation,
                dropped,
            });
        }
    }

    pub(super) fn revert(&mut self, reason: String, table: &mut Table, step: &mut Step<'_>) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        self.retire_the_tried(table, step);
        let dropped = self.current.generation;
        self.current = trial.before;
        self.target = trial.target;
        step.out.push(Action::RevertReload { dropped, reason });
    }

    fn retire_the_tried(&self, table: &mut Table, step: &mut Step<'_>) {
        for row in table.iter_mut() {
            if row.generation == self.current.generation {
                retire(row, step);
            }
        }
    }

    pub(super) fn has(&self, row: &WorkerRow) -> bool {
        row.group == self.id
    }

    pub(super) fn is_fresh(&self, row: &WorkerRow) -> bool {
        !row.retired && !row.recycle_due && row.generation == self.current.generation
    }

    pub(super) fn is_outgoing(&self, row: &WorkerRow) -> bool {
        self.has(row) && !row.retired && !self.is_fresh(row)
    }

    /// Its workers that are to stay, or to stay until they are replaced.
    pub(super) fn staying<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t WorkerRow> {
        let id = self.id;
        table
            .iter()
            .filter(move |row| row.group == id && !row.retired)
    }

    pub(super) fn is_settled(&self, table: &Table) -> bool {
        let all = table.iter().filter(|row| self.has(row));
        all.count() == self.target && self.serving(table) == self.target
    }

    /// Whether fewer are there than are to be; of those due for recycling, one at a time is replaced beforehand.
    pub(super) fn is_missing_some(&self, table: &Table) -> bool {
        let current = self.current.generation;
        let staying = self.staying(table).filter(|row| row.generation == current);
        let (due, fresh): (Vec<_>, Vec<_>) = staying.partition(|row| row.recycle_due);
        fresh.len() + due.len() < self.target + due.len().min(1)
    }
}
