//! How workers are put in the place of others: started, replaced by a new generation, due for recycling, stuck.
//!
//! One rule serves for all of it: a worker that is to be replaced is *outgoing*; it serves until one that is
//! not is ready in its place. Where connections wait for each worker by itself, its place is its queue (`queue_id`).
//!
//! ```text
//!   HUP ──▶ LoadConfig ──▶ Loaded: a new generation, on trial; the old one is outgoing
//!                             │ a new worker is ready        │ a new worker cannot boot
//!                             ▼                              ▼
//!                          CommitReload: old ones         RevertReload: the old generation is in force
//!                          leave one by one               again, the new workers leave
//!
//!   HUP during a trial: what is on trial is given up when there is something else to try, and not before.
//! ```

use std::collections::BTreeSet;

use super::{Action, Group, Request, Step, Table, WorkerRow, WorkerStage, retire};

impl Group {
    pub(super) fn renew(&mut self, table: &mut Table, step: &mut Step<'_>) {
        self.retire_the_replaced(table, step);
        self.retire_the_surplus(table, step);
        self.fill(table, step);
    }

    /// Whether all workers that are to be there serve, and no others.
    pub(super) fn is_complete(&self, table: &Table) -> bool {
        let old = |row: &WorkerRow| row.generation != self.current.generation;
        !self.staying(table).any(old) && self.serving(table) >= self.target
    }

    /// How many of those that stay can do their work.
    pub(super) fn serving(&self, table: &Table) -> usize {
        let staying = self.staying(table);
        staying
            .filter(|row| row.stage == WorkerStage::Serving)
            .count()
    }

    /// Retires the outgoing workers that have a replacement, and those that cannot serve. One that starts may still
    /// be wanted while it is not sure that the new settings are good.
    fn retire_the_replaced(&self, table: &mut Table, step: &mut Step<'_>) {
        let on_trial = self.trial.is_some();
        let mut spare = self.serving(table).saturating_sub(self.needed());
        while spare > 0 {
            let next = self.next_to_be_spared(table);
            let Some(row) = next.and_then(|id| table.get_mut(id)) else {
                break;
            };
            spare -= 1;
            retire(row, step);
        }
        let outgoing = table.iter().filter(|row| self.is_outgoing(row));
        let outgoing: Vec<u64> = outgoing.map(|row| row.id).collect();
        for id in outgoing {
            let Some(row) = table.get_mut(id) else {
                continue;
            };
            match row.stage {
                // One that is examined may serve again.
                WorkerStage::Serving | WorkerStage::Examined => {}
                WorkerStage::Forking | WorkerStage::Booting if on_trial => {}
                _ if row.generation != self.current.generation => retire(row, step),
                // One due for recycling that is being ended is replaced by what follows its end.
                _ => {}
            }
        }
    }

    /// Which of the outgoing that serve is to go first: one at whose queue another worker serves, so that no connection
    /// waits there without a worker; then one at whose queue no other is to come; and of these the oldest.
    fn next_to_be_spared(&self, table: &Table) -> Option<u64> {
        let rank = |row: &WorkerRow| {
            let others = || {
                let at_its_queue = |it: &&WorkerRow| it.queue_id == row.queue_id && it.id != row.id;
                self.staying(table).filter(at_its_queue)
            };
            if others().any(|other| other.stage == WorkerStage::Serving) {
                0
            } else {
                1 + usize::from(others().next().is_some())
            }
        };
        let outgoing = table.iter().filter(|row| self.is_outgoing(row));
        let serving = outgoing.filter(|row| row.stage == WorkerStage::Serving);
        serving
            .min_by_key(|row| (rank(row), row.id))
            .map(|row| row.id)
    }

    /// Retires the surplus: first those that are being ended anyway, then those that do not serve yet, then the
    /// oldest.
    fn retire_the_surplus(&self, table: &mut Table, step: &mut Step<'_>) {
        let order = |row: &WorkerRow| match row.stage {
            _ if row.is_going() => (0, row.id),
            // The youngest is the farthest from being ready.
            WorkerStage::Forking | WorkerStage::Booting => (1, u64::MAX - row.id),
            _ => (2, row.id),
        };
        let fresh = table.iter().filter(|row| self.is_fresh(row));
        let mut fresh: Vec<_> = fresh.map(|row| (order(row), row.id)).collect();
        fresh.sort_unstable();
        let surplus = fresh.len().saturating_sub(self.target);
        for (_, id) in fresh.into_iter().take(surplus) {
            if let Some(row) = table.get_mut(id) {
                retire(row, step);
            }
        }
    }

    /// Asks for the workers that are missing, as far as the failures of others allow for it.
    fn fill(&mut self, table: &mut Table, step: &mut Step<'_>) {
        while self.is_missing_some(table) {
            let trying =
                |row: &WorkerRow| matches!(row.stage, WorkerStage::Forking | WorkerStage::Booting);
            let trying = table.iter().any(|row| self.has(row) && trying(row));
            if !self.backoff.allows(step.now, trying) {
                return;
            }
            let queue_id = self.next_queue(table);
            let Some(row) = table.enter(self.id, queue_id, self.current) else {
                return;
            };
            step.out.push(Action::Ask(Request::Spawn {
                id: row.id,
                slot: row.slot,
                queue_id,
                generation: row.generation,
            }));
            self.backoff.attempted();
        }
        self.backoff.all_are_there();
    }

    /// The queue of the next worker: that of the oldest without a replacement, or one of its own where
    /// there are fewer than workers are to be.
    fn next_queue(&self, table: &Table) -> usize {
        let held: BTreeSet<usize> = self.staying(table).map(|row| row.queue_id).collect();
        let fresh = |queue_id| {
            table
                .iter()
                .any(|row| row.queue_id == queue_id && self.is_fresh(row))
        };
        let outgoing = table.iter().filter(|row| self.is_outgoing(row));
        let unfilled = outgoing
            .map(|row| row.queue_id)
            .find(|queue_id| !fresh(*queue_id));
        let unfilled = unfilled.filter(|_| held.len() >= self.target);
        // One number more than there are held ones: at least one is free.
        let unheld = || (0..=held.len()).find(|queue_id| !held.contains(queue_id));
        unfilled.or_else(unheld).unwrap_or_default()
    }
}
