//! How workers are put in the place of others: started, replaced by a new generation, worn, stuck.
//!
//! One rule serves for all of it: a worker that is to be replaced is *fading*; it serves until one that is
//! not is ready in its place.
//!
//! ```text
//!   HUP ──▶ LoadConfig ──▶ Loaded: a new generation, on trial; the old one fades
//!                             │ a new worker is ready        │ a new worker cannot boot
//!                             ▼                              ▼
//!                          Settle: old ones leave         Revert: the old settings are in force again,
//!                          one by one                     the new workers leave
//! ```

use super::{
    Action, Backoff, Limits, Order, Row, STUCK_GRACE, Stage, Supervisor, Tick, Wear, Why, ask,
};

/// What was in force before the settings that are being tried.
#[derive(Debug)]
pub(super) struct Trial {
    generation: u64,
    limits: Limits,
    target: usize,
}

impl Supervisor {
    pub(super) fn reload(&mut self, now: Tick, out: &mut Vec<Action>) {
        if self.trial.is_some() {
            self.revert(now, None, out);
        }
        out.push(Action::LoadConfig);
    }

    /// New settings: a generation of workers of its own.
    pub(super) fn loaded(&mut self, limits: Limits, out: &mut Vec<Action>) {
        self.trial = Some(Trial {
            generation: self.generation,
            limits: self.limits,
            target: self.target,
        });
        self.newest += 1;
        self.generation = self.newest;
        self.limits = limits;
        self.complete = false;
        // Whatever kept workers from booting may have been mended.
        self.backoff = Backoff::default();
        self.resize(limits.workers.max(1), out);
    }

    /// Gives the settings on trial up.
    pub(super) fn revert(&mut self, now: Tick, reason: Option<String>, out: &mut Vec<Action>) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        let tried = self.generation;
        let until = now + self.limits.graceful_timeout;
        for row in self.table.iter_mut() {
            if row.generation == tried {
                retire(row, until, out);
            }
        }
        self.generation = trial.generation;
        self.limits = trial.limits;
        self.complete = false;
        self.resize(trial.target, out);
        out.push(Action::Revert { reason });
    }

    /// Worker `id` has served for long enough.
    pub(super) fn worn(&mut self, id: u64, wear: Wear, out: &mut Vec<Action>) {
        if let Some(row) = self.table.get_mut(id) {
            wear_out(row, wear, out);
        }
    }

    /// Finds the workers that have grown old.
    pub(super) fn age(&mut self, now: Tick, out: &mut Vec<Action>) {
        let Some(most) = self.limits.max_worker_age else {
            return;
        };
        for row in self.table.iter_mut() {
            match row.ready.map(|ready| now.since(ready)) {
                Some(age) if age >= most => wear_out(row, Wear::Age(age), out),
                _ => {}
            }
        }
    }

    /// When a worker will have grown old.
    pub(super) fn grows_old(&self, row: &Row) -> Option<Tick> {
        let (ready, most) = (row.ready?, self.limits.max_worker_age?);
        (row.stage == Stage::Serving && !row.worn).then(|| ready + most)
    }

    /// A worker has been in one request since then: for too long?
    pub(super) fn in_call(
        &mut self,
        now: Tick,
        id: u64,
        since: Tick,
        alone: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(timeout) = self.limits.request_timeout else {
            return;
        };
        let hopeless = alone || self.limits.calls == 1;
        let until = now + self.limits.graceful_timeout;
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        let (Some(pid), slot, elapsed) = (row.pid, row.slot, now.since(since)) else {
            return;
        };
        match (row.stage, row.stuck) {
            (Stage::Serving, None) if elapsed >= timeout => {
                row.stuck = Some((since, now));
                row.doom = Some(Why::Stuck(elapsed));
                let why = Why::Stuck(elapsed);
                let order = |order, why| Action::Signal {
                    pid,
                    slot,
                    order,
                    why,
                };
                out.push(order(Order::Stacks, why));
                out.push(order(Order::Expire, Why::Examined));
                retire(row, until, out);
            }
            // Nothing else of this worker can be finished, or is left to be.
            (Stage::Leaving, Some((call, at)))
                if hopeless && call == since && now.since(at) >= STUCK_GRACE =>
            {
                row.deadline = Some(now);
            }
            _ => {}
        }
    }

    /// Sees to it that the workers are those that are to be there.
    pub(super) fn renew(&mut self, now: Tick, out: &mut Vec<Action>) {
        self.retire_the_replaced(now, out);
        self.retire_the_surplus(now, out);
        self.fill(now, out);
        let fresh = self.table.iter().filter(|row| self.is_fresh(row));
        let serving = fresh.filter(|row| row.stage == Stage::Serving).count();
        let old = |row: &Row| !row.retired && row.generation != self.generation;
        if !self.complete && serving >= self.target && !self.table.iter().any(old) {
            self.complete = true;
            out.push(Action::Ready);
        }
    }

    /// Whether it is to stay.
    fn is_fresh(&self, row: &Row) -> bool {
        !row.retired && !row.worn && row.generation == self.generation
    }

    /// Whether it is to stay until it is replaced.
    fn is_fading(&self, row: &Row) -> bool {
        !row.retired && !self.is_fresh(row)
    }

    /// Lets the fading go for whom there is somebody else, the oldest first, and those that cannot serve. One
    /// that starts may still be wanted while it is not sure that the new settings are good.
    fn retire_the_replaced(&mut self, now: Tick, out: &mut Vec<Action>) {
        let until = now + self.limits.graceful_timeout;
        let on_trial = self.trial.is_some();
        let serving = |row: &&Row| row.stage == Stage::Serving && !row.retired;
        let mut spare = self
            .table
            .iter()
            .filter(serving)
            .count()
            .saturating_sub(self.target);
        let (generation, fading): (_, Vec<u64>) = (
            self.generation,
            self.table
                .iter()
                .filter(|row| self.is_fading(row))
                .map(|row| row.id)
                .collect(),
        );
        for id in fading {
            let Some(row) = self.table.get_mut(id) else {
                continue;
            };
            if row.stage != Stage::Serving {
                // A worn one that is being ended is replaced by what follows its end.
                let starts = matches!(row.stage, Stage::Forking | Stage::Booting);
                if row.generation != generation && !(starts && on_trial) {
                    retire(row, until, out);
                }
            } else if spare > 0 {
                spare -= 1;
                retire(row, until, out);
            }
        }
    }

    /// Lets those go that are too many: first who is going anyway, then the oldest.
    fn retire_the_surplus(&mut self, now: Tick, out: &mut Vec<Action>) {
        let until = now + self.limits.graceful_timeout;
        let mut fresh: Vec<(bool, u64)> = self
            .table
            .iter()
            .filter(|row| self.is_fresh(row))
            .map(|row| (!row.is_going(), row.id))
            .collect();
        fresh.sort_unstable();
        let surplus = fresh.len().saturating_sub(self.target);
        for (_, id) in fresh.into_iter().take(surplus) {
            if let Some(row) = self.table.get_mut(id) {
                retire(row, until, out);
            }
        }
    }

    /// Asks for the workers that are missing. While they fail, one at a time is tried.
    fn fill(&mut self, now: Tick, out: &mut Vec<Action>) {
        while self.is_missing_some() {
            let trying = |row: &Row| matches!(row.stage, Stage::Forking | Stage::Booting);
            let waits = self.backoff.is_on() && self.table.iter().any(trying);
            if waits || now < self.backoff.not_before() {
                return;
            }
            let Some(row) = self.table.enter(self.generation) else {
                return;
            };
            out.push(Action::Spawn {
                id: row.id,
                slot: row.slot,
            });
        }
    }

    /// Whether fewer are there than are to be; of the worn, one at a time is replaced beforehand.
    pub(super) fn is_missing_some(&self) -> bool {
        let fresh = self.table.iter().filter(|row| self.is_fresh(row)).count();
        let worn = |row: &&Row| row.worn && !row.retired && row.generation == self.generation;
        let worn = self.table.iter().filter(worn).count();
        fresh + worn < self.target + worn.min(1)
    }
}

/// Marks a worker that is to be replaced while it serves.
fn wear_out(row: &mut Row, wear: Wear, out: &mut Vec<Action>) {
    let (Some(pid), Stage::Serving, false) = (row.pid, row.stage, row.worn || row.retired) else {
        return;
    };
    row.worn = true;
    out.push(Action::Recycle { pid, wear });
}

/// Takes a worker out of those that are to stay, and asks it to leave.
fn retire(row: &mut Row, until: Tick, out: &mut Vec<Action>) {
    if !row.retired {
        row.retired = true;
        ask(row, false, Why::Retired, until, out);
    }
}
