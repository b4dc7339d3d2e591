//! How workers are put in the place of others: started, replaced by a new generation, due for recycling, stuck.
//!
//! One rule serves for all of it: a worker that is to be replaced is *outgoing*; it serves until one that is
//! not is ready in its place. Where connections wait for each worker by itself, its place is its queue (`queue_id`).
//!
//! ```text
//!   HUP ──▶ LoadConfig ──▶ Loaded: a new generation, on trial; the old one fades
//!                             │ a new worker is ready        │ a new worker cannot boot
//!                             ▼                              ▼
//!                          CommitReload: old ones leave         RevertReload: the old settings are in force again,
//!                          one by one                     the new workers leave
//!
//!   HUP during a trial: what is on trial is given up when there is something else to try, and not before.
//! ```

use std::collections::BTreeSet;

use super::{
    Action, Backoff, Limits, MonoTime, RecycleReason, Rollout, Row, STUCK_GRACE, SignalReason,
    Supervisor, WorkerSignal, WorkerStage, ask,
};

/// What was in force before the settings that are being tried.
#[derive(Debug)]
pub(super) struct Trial {
    generation: u64,
    limits: Limits,
    target: usize,
}

impl Supervisor {
    /// Changes the target, and also the one that comes back if the settings on trial are given up.
    pub(super) fn scale(&mut self, change: impl Fn(usize) -> usize, out: &mut Vec<Action>) {
        if let Some(trial) = &mut self.trial {
            trial.target = change(trial.target).min(self.most);
        }
        self.resize(change(self.target), out);
    }

    fn resize(&mut self, to: usize, out: &mut Vec<Action>) {
        let (from, to) = (self.target, to.min(self.most));
        if from != to {
            self.target = to;
            out.push(Action::Resized { from, to });
        }
    }

    /// Has the settings read, if somebody asked for it and nobody is being forked: a worker has the settings that
    /// the shell has when it forks it, and is held to those that there were when it was asked for.
    ///
    /// To be asked when all that has happened is known: those on trial must still be so when the answer comes.
    pub(super) fn read_settings(&mut self, out: &mut Vec<Action>) {
        let is_forking = self
            .table
            .iter()
            .any(|row| row.stage == WorkerStage::Forking);
        if self.loading && self.is_running() && !is_forking {
            self.loading = false;
            out.push(Action::LoadConfig);
        }
    }

    /// New settings: a generation of workers of its own. Those that were on trial are given up for them; what was
    /// before those stays what is gone back to.
    pub(super) fn loaded(&mut self, now: MonoTime, limits: Limits, out: &mut Vec<Action>) {
        if self.trial.is_some() {
            self.retire_the_tried(now, out);
        } else {
            self.trial = Some(Trial {
                generation: self.generation,
                limits: self.limits,
                target: self.target,
            });
        }
        self.newest += 1;
        self.generation = self.newest;
        self.limits = limits;
        self.dissolve();
        // Whatever kept workers from booting may have been mended.
        self.backoff = Backoff::default();
        self.resize(limits.workers.max(1), out);
    }

    /// Other settings are in force: whoever serves by them is still to come.
    fn dissolve(&mut self) {
        if self.rollout == Rollout::Complete {
            self.rollout = Rollout::Replacing;
        }
    }

    /// Gives the settings on trial up for those before.
    pub(super) fn revert(&mut self, now: MonoTime, reason: String, out: &mut Vec<Action>) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        self.retire_the_tried(now, out);
        self.generation = trial.generation;
        self.limits = trial.limits;
        self.dissolve();
        self.resize(trial.target, out);
        out.push(Action::RevertReload { reason });
    }

    fn retire_the_tried(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        for row in self.table.iter_mut() {
            if row.generation == self.generation {
                retire(row, now, out);
            }
        }
    }

    /// Worker `id` has served for long enough.
    pub(super) fn recycle_due(&mut self, id: u64, reason: RecycleReason, out: &mut Vec<Action>) {
        if let Some(row) = self.table.get_mut(id) {
            mark_for_recycling(row, reason, out);
        }
    }

    /// Finds the workers that have grown old.
    pub(super) fn age(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let Some(most) = self.limits.max_worker_age else {
            return;
        };
        for row in self.table.iter_mut() {
            match row.ready.map(|ready| now.since(ready)) {
                Some(age) if age >= most => mark_for_recycling(row, RecycleReason::Age(age), out),
                _ => {}
            }
        }
    }

    /// When a worker will have grown old.
    pub(super) fn grows_old(&self, row: &Row) -> Option<MonoTime> {
        let (ready, most) = (row.ready?, self.limits.max_worker_age?);
        (row.stage == WorkerStage::Serving && !row.recycle_due).then(|| ready + most)
    }

    /// A worker has been in one request since then: for too long? Who leaves is asked as well: its last requests have
    /// no more time than others.
    pub(super) fn in_call(
        &mut self,
        now: MonoTime,
        id: u64,
        since: MonoTime,
        alone: bool,
        out: &mut Vec<Action>,
    ) {
        // While the arbiter was stopped, the worker may have been, too.
        let resumed = self.resumed;
        let counted = |from: MonoTime| now.since(from.max(resumed));
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        let (Some(pid), Some(timeout), slot) = (row.pid, row.limits.request_timeout, row.slot)
        else {
            return;
        };
        let hopeless = alone || row.limits.calls == 1;
        let told = row.stuck.filter(|(call, _)| *call == since);
        match (row.stage, told) {
            (WorkerStage::Serving | WorkerStage::Examined | WorkerStage::Leaving, None)
                if counted(since) >= timeout =>
            {
                let why = SignalReason::Stuck(now.since(since));
                row.stuck = Some((since, now));
                let mut order = |order, why| {
                    out.push(Action::Signal {
                        pid,
                        slot,
                        order,
                        why,
                    });
                };
                // One that is examined shows its stacks already.
                if row.stage != WorkerStage::Examined {
                    order(WorkerSignal::Stacks, why);
                }
                order(WorkerSignal::Expire, SignalReason::Examined);
                if row.stage != WorkerStage::Leaving {
                    row.kill_reason.get_or_insert(why);
                    retire(row, now, out);
                }
            }
            // Nothing else of this worker can be finished, or is left to be.
            (WorkerStage::Leaving, Some((_, at))) if hopeless && counted(at) >= STUCK_GRACE => {
                row.deadline = Some(now);
            }
            _ => {}
        }
    }

    /// Sees to it that the workers are those that are to be there.
    pub(super) fn renew(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        self.retire_the_replaced(now, out);
        self.retire_the_surplus(now, out);
        self.fill(now, out);
        let old = self.staying().any(|row| row.generation != self.generation);
        let serving = self
            .staying()
            .filter(|row| row.stage == WorkerStage::Serving);
        let serving = serving.count();
        if serving > 0 {
            self.notify_predecessor(out);
        }
        if self.rollout != Rollout::Complete && !old && serving >= self.target {
            self.rollout = Rollout::Complete;
            out.push(Action::Ready);
        }
    }

    /// Whether it is to stay.
    fn is_fresh(&self, row: &Row) -> bool {
        !row.retired && !row.recycle_due && row.generation == self.generation
    }

    /// Whether it is to stay until it is replaced.
    fn is_outgoing(&self, row: &Row) -> bool {
        !row.retired && !self.is_fresh(row)
    }

    /// How many must serve, so that one that fades may leave. While settings are on trial those are not fewer
    /// than before: they may come back.
    fn needed(&self) -> usize {
        let before = self.trial.as_ref().map_or(0, |trial| trial.target);
        before.max(self.target)
    }

    /// Lets the outgoing go for whom there is somebody else, and those that cannot serve. One that starts may still
    /// be wanted while it is not sure that the new settings are good.
    fn retire_the_replaced(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let on_trial = self.trial.is_some();
        let serving = self
            .staying()
            .filter(|row| row.stage == WorkerStage::Serving);
        let mut spare = serving.count().saturating_sub(self.needed());
        while spare > 0 {
            let next = self.next_to_be_spared();
            let Some(row) = next.and_then(|id| self.table.get_mut(id)) else {
                break;
            };
            spare -= 1;
            retire(row, now, out);
        }
        let outgoing = self.table.iter().filter(|row| self.is_outgoing(row));
        let outgoing: Vec<u64> = outgoing.map(|row| row.id).collect();
        for id in outgoing {
            let Some(row) = self.table.get_mut(id) else {
                continue;
            };
            match row.stage {
                // One that is examined may serve again.
                WorkerStage::Serving | WorkerStage::Examined => {}
                WorkerStage::Forking | WorkerStage::Booting if on_trial => {}
                _ if row.generation != self.generation => retire(row, now, out),
                // One due for recycling that is being ended is replaced by what follows its end.
                _ => {}
            }
        }
    }

    /// Which of the outgoing that serve is to go first: one at whose queue another serves, so that nobody waits there
    /// in vain; then one at whose queue nobody is to come; and of these the oldest.
    fn next_to_be_spared(&self) -> Option<u64> {
        let rank = |row: &Row| {
            let others = || {
                let at_its_post = |it: &&Row| it.queue_id == row.queue_id && it.id != row.id;
                self.staying().filter(at_its_post)
            };
            if others().any(|other| other.stage == WorkerStage::Serving) {
                0
            } else {
                1 + usize::from(others().next().is_some())
            }
        };
        let outgoing = self.table.iter().filter(|row| self.is_outgoing(row));
        let serving = outgoing.filter(|row| row.stage == WorkerStage::Serving);
        serving
            .min_by_key(|row| (rank(row), row.id))
            .map(|row| row.id)
    }

    fn staying(&self) -> impl Iterator<Item = &Row> {
        self.table.iter().filter(|row| !row.retired)
    }

    /// Lets those go that are too many: first who is going anyway, then who does not serve yet, then the
    /// oldest.
    fn retire_the_surplus(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let order = |row: &Row| match row.stage {
            _ if row.is_going() => (0, row.id),
            // The youngest is the farthest from being ready.
            WorkerStage::Forking | WorkerStage::Booting => (1, u64::MAX - row.id),
            _ => (2, row.id),
        };
        let fresh = self.table.iter().filter(|row| self.is_fresh(row));
        let mut fresh: Vec<_> = fresh.map(|row| (order(row), row.id)).collect();
        fresh.sort_unstable();
        let surplus = fresh.len().saturating_sub(self.target);
        for (_, id) in fresh.into_iter().take(surplus) {
            if let Some(row) = self.table.get_mut(id) {
                retire(row, now, out);
            }
        }
    }

    /// Asks for the workers that are missing, as far as the failures of others allow for it.
    fn fill(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        while self.is_missing_some() {
            let trying =
                |row: &Row| matches!(row.stage, WorkerStage::Forking | WorkerStage::Booting);
            let trying = self.table.iter().any(trying);
            if !self.backoff.allows(now, trying) {
                return;
            }
            let queue_id = self.next_queue();
            let Some(row) = self.table.enter(queue_id, self.generation, self.limits) else {
                return;
            };
            out.push(Action::Spawn {
                id: row.id,
                slot: row.slot,
                queue_id,
            });
            self.backoff.attempted();
        }
        self.backoff.all_are_there();
    }

    /// The queue of the next worker: that of the oldest for whom nobody else is there yet, or one of its own where
    /// there are fewer than workers are to be.
    fn next_queue(&self) -> usize {
        let held: BTreeSet<usize> = self.staying().map(|row| row.queue_id).collect();
        let fresh = |queue_id| {
            self.table
                .iter()
                .any(|row| row.queue_id == queue_id && self.is_fresh(row))
        };
        let outgoing = self.table.iter().filter(|row| self.is_outgoing(row));
        let unfilled = outgoing
            .map(|row| row.queue_id)
            .find(|queue_id| !fresh(*queue_id));
        let unfilled = unfilled.filter(|_| held.len() >= self.target);
        // Of so many and one more, somebody has not all.
        let unheld = || (0..=held.len()).find(|queue_id| !held.contains(queue_id));
        unfilled.or_else(unheld).unwrap_or_default()
    }

    /// Whether fewer are there than are to be; of those due for recycling, one at a time is replaced beforehand.
    pub(super) fn is_missing_some(&self) -> bool {
        let fresh = self.table.iter().filter(|row| self.is_fresh(row)).count();
        let recycle_due =
            |row: &&Row| row.recycle_due && !row.retired && row.generation == self.generation;
        let recycle_due = self.table.iter().filter(recycle_due).count();
        fresh + recycle_due < self.target + recycle_due.min(1)
    }
}

/// Marks a worker that is to be replaced while it serves. It says so once: so one that is examined is marked too,
/// since it may be spared.
fn mark_for_recycling(row: &mut Row, reason: RecycleReason, out: &mut Vec<Action>) {
    let may_serve =
        row.ready.is_some() && matches!(row.stage, WorkerStage::Serving | WorkerStage::Examined);
    let (Some(pid), true, false) = (row.pid, may_serve, row.recycle_due || row.retired) else {
        return;
    };
    row.recycle_due = true;
    out.push(Action::Recycle { pid, reason });
}

/// Takes a worker out of those that are to stay, and asks it to leave.
fn retire(row: &mut Row, now: MonoTime, out: &mut Vec<Action>) {
    if !row.retired {
        let until = now + row.limits.graceful_timeout;
        row.retired = true;
        ask(row, false, SignalReason::Retired, until, out);
    }
}
