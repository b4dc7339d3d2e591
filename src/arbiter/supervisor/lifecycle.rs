//! The life of one worker: forked, ready, alive, late, ended; and what follows from its end for its group.

use super::{
    ABORT_GRACE, Action, CRASHES, Duration, EXAMINE_GRACE, Exit, ExitReport, Failure,
    LONGEST_BACKOFF, LONGEST_OWED, LastWords, Mode, MonoTime, PROVEN, RecycleReason, SignalReason,
    Supervisor, WorkerRow, WorkerSignal, WorkerStage,
};

impl Supervisor {
    pub(super) fn forked(&mut self, now: MonoTime, id: u64, pid: i32, out: &mut Vec<Action>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        row.pid = Some(pid);
        row.stage = WorkerStage::Booting;
        row.deadline = row.policy.boot_timeout.map(|timeout| now + timeout);
        ask_again(row, &self.mode, now, out);
    }

    pub(super) fn fork_failed(
        &mut self,
        now: MonoTime,
        id: u64,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        let Some(row) = self.table.remove(|row| row.id == id) else {
            return;
        };
        if !self.is_running() {
            return;
        }
        if self.table.is_empty() && self.groups.iter().all(|group| !group.proven) {
            self.stop(now, true, Some(Failure::Fork(reason)), out);
            return;
        }
        let backoff = &mut self.groups[row.group.0].backoff;
        let mut retry = backoff.fail(now, LONGEST_BACKOFF);
        if retry.is_zero() {
            // Nothing would have changed.
            retry = backoff.fail(now, LONGEST_BACKOFF);
        }
        out.push(Action::ForkRetry { reason, retry });
    }

    pub(super) fn ready(&mut self, now: MonoTime, id: u64, out: &mut Vec<Action>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        let group = &mut self.groups[row.group.0];
        row.ready.get_or_insert(now);
        group.proven = true;
        if matches!(row.stage, WorkerStage::Booting | WorkerStage::Examined) {
            serve(row, now);
            ask_again(row, &self.mode, now, out);
            if row.generation == group.current.generation {
                group.commit(out);
            }
        }
    }

    /// A worker that comes back to life while it is being examined is spared.
    pub(super) fn heard(&mut self, now: MonoTime, id: u64, at: MonoTime, out: &mut Vec<Action>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        match row.stage {
            WorkerStage::Serving => {
                let silence = row.policy.timeout.map(|timeout| at + timeout);
                row.deadline = row.deadline.max(silence);
            }
            WorkerStage::Examined if row.ready.is_some() => {
                serve(row, at);
                ask_again(row, &self.mode, now, out);
            }
            _ => {}
        }
    }

    pub(super) fn exited(
        &mut self,
        now: MonoTime,
        pid: i32,
        exit: Exit,
        ready: bool,
        words: Option<LastWords>,
        out: &mut Vec<Action>,
    ) {
        let Some(row) = self.table.remove(|row| row.pid == Some(pid)) else {
            return;
        };
        let running = self.is_running();
        let group = &mut self.groups[row.group.0];
        group.proven |= ready;
        let proven = group.proven;
        let failure = boot_failure(&row, ready, exit, words.as_ref()).filter(|_| running);
        let on_trial = group.trial.is_some() && row.generation == group.current.generation;
        let abandon = failure.is_some() && on_trial && proven && !row.retired;
        let retry = if running && !row.retired && !abandon {
            self.owe(now, &row, ready, exit)
        } else {
            None
        };
        out.push(Action::Reaped(ExitReport {
            id: row.id,
            pid,
            slot: row.slot,
            exit,
            words: words.map(|words| words.sentence),
            kill_reason: row.kill_reason,
            retry,
        }));
        match failure {
            Some(failure) if !proven => self.stop(now, true, Some(failure), out),
            Some(failure) if abandon => {
                let group = &mut self.groups[row.group.0];
                group.revert(failure.into_sentence(), &mut self.table, now, out);
                self.begin_rollout();
            }
            _ => {}
        }
    }

    /// Sees to the replacement of a worker that has gone; gives the pause before it, if the worker died early.
    fn owe(&mut self, now: MonoTime, row: &WorkerRow, ready: bool, exit: Exit) -> Option<Duration> {
        let was_ready = ready || row.ready.is_some();
        let lasted = row.ready.is_some_and(|since| now.since(since) >= PROVEN);
        let group = &mut self.groups[row.group.0];
        let mut others = self.table.iter().filter(|other| other.group == row.group);
        let mut others_serve = || others.any(|other| other.stage == WorkerStage::Serving);
        if lasted || was_ready && others_serve() {
            group.backoff.owe(now);
            return None;
        }
        Some(if was_ready {
            group.backoff.owe_after_failure(now)
        } else if group.proven && !speaks_for_the_program(exit) {
            group.backoff.fail(now, LONGEST_OWED)
        } else {
            group.backoff.fail(now, LONGEST_BACKOFF)
        })
    }

    /// Signals those whose deadline has passed, and finds those that have grown old.
    pub(super) fn enforce(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        for row in self.table.iter_mut() {
            let due = row.deadline.filter(|deadline| *deadline <= now);
            let (Some(_), Some(deadline)) = (row.pid, due) else {
                continue;
            };
            let late = now.since(deadline);
            let silent = match row.stage {
                WorkerStage::Booting => row.policy.boot_timeout.map(SignalReason::NotReady),
                WorkerStage::Serving => {
                    let silent = |timeout| SignalReason::Silent(timeout + late);
                    row.policy.timeout.map(silent)
                }
                _ => None,
            };
            let (order, why) = match (silent, row.stage) {
                (Some(why), _) => {
                    row.stage = WorkerStage::Examined;
                    row.deadline = Some(now + EXAMINE_GRACE);
                    (WorkerSignal::Stacks, why)
                }
                (None, WorkerStage::Examined) => {
                    row.stage = WorkerStage::Aborted;
                    row.deadline = Some(now + ABORT_GRACE);
                    (WorkerSignal::Abort, SignalReason::Examined)
                }
                _ => {
                    row.stage = WorkerStage::Killed;
                    row.deadline = None;
                    (WorkerSignal::Kill, SignalReason::Overdue)
                }
            };
            row.kill_reason.get_or_insert(why);
            out.extend(row.signal(order, why));
        }
        for row in self.table.iter_mut() {
            let (ready, most) = (row.ready, row.policy.max_worker_age);
            if let (Some(ready), Some(most)) = (ready, most) {
                let age = now.since(ready);
                if age >= most {
                    mark_for_recycling(row, RecycleReason::Age(age), out);
                }
            }
        }
        self.enforce_upgrade(now, out);
    }

    /// Worker `id` has served for long enough.
    pub(super) fn recycle_due(&mut self, id: u64, reason: RecycleReason, out: &mut Vec<Action>) {
        if let Some(row) = self.table.get_mut(id) {
            mark_for_recycling(row, reason, out);
        }
    }
}

/// When a worker will have grown old.
pub(super) fn grows_old(row: &WorkerRow) -> Option<MonoTime> {
    let (ready, most) = (row.ready?, row.policy.max_worker_age?);
    (row.stage == WorkerStage::Serving && !row.recycle_due).then(|| ready + most)
}

/// A worker has shown that it lives.
fn serve(row: &mut WorkerRow, at: MonoTime) {
    row.stage = WorkerStage::Serving;
    row.deadline = row.policy.timeout.map(|timeout| at + timeout);
    row.kill_reason = None;
}

/// Asks a worker to leave that was to be asked when it did not exist, or could not hear.
fn ask_again(row: &mut WorkerRow, mode: &Mode, now: MonoTime, out: &mut Vec<Action>) {
    if let Mode::Stopping { quick, until, .. } = mode {
        ask(row, *quick, SignalReason::Stop, *until, out);
    } else if row.retired {
        let until = now + row.policy.graceful_timeout;
        ask(row, false, SignalReason::Retired, until, out);
    }
}

/// Asks a worker to leave, or to be quick about it.
pub(super) fn ask(
    row: &mut WorkerRow,
    quick: bool,
    why: SignalReason,
    until: MonoTime,
    out: &mut Vec<Action>,
) {
    if row.pid.is_none() {
        return;
    }
    match row.stage {
        WorkerStage::Booting | WorkerStage::Serving => row.deadline = Some(until),
        WorkerStage::Leaving => {
            row.deadline = Some(row.deadline.map_or(until, |before| before.min(until)));
            if !quick {
                return;
            }
        }
        WorkerStage::Forking
        | WorkerStage::Examined
        | WorkerStage::Aborted
        | WorkerStage::Killed => return,
    }
    row.stage = WorkerStage::Leaving;
    let order = if quick {
        WorkerSignal::Quit
    } else {
        WorkerSignal::Leave
    };
    out.extend(row.signal(order, why));
}

/// Whether a worker's end says that workers cannot boot, and why.
fn boot_failure(
    row: &WorkerRow,
    ready: bool,
    exit: Exit,
    words: Option<&LastWords>,
) -> Option<Failure> {
    if ready || row.ready.is_some() || row.stage == WorkerStage::Leaving {
        return None;
    }
    if let Some(SignalReason::NotReady(timeout)) = row.kill_reason {
        return Some(Failure::Boot(format!(
            "a worker was not ready within {} s",
            timeout.as_secs_f64()
        )));
    }
    speaks_for_the_program(exit).then(|| match words {
        Some(words) if words.app => Failure::App(words.sentence.clone()),
        Some(words) => Failure::Boot(words.sentence.clone()),
        None => Failure::Boot(format!("a worker {exit} before it was ready")),
    })
}

/// Whether it ended by itself: an end from outside says nothing about the program.
pub(super) fn speaks_for_the_program(exit: Exit) -> bool {
    match exit {
        Exit::Code(_) => true,
        Exit::Signal(signal) => CRASHES.contains(&signal),
        Exit::Unknown => false,
    }
}

/// Takes a worker out of those that are to stay, and asks it to leave.
pub(super) fn retire(row: &mut WorkerRow, now: MonoTime, out: &mut Vec<Action>) {
    if !row.retired {
        let until = now + row.policy.graceful_timeout;
        row.retired = true;
        ask(row, false, SignalReason::Retired, until, out);
    }
}

/// Marks a worker that is to be replaced while it serves. It says so once: so one that is examined is marked too,
/// since it may be spared.
fn mark_for_recycling(row: &mut WorkerRow, reason: RecycleReason, out: &mut Vec<Action>) {
    let may_serve =
        row.ready.is_some() && matches!(row.stage, WorkerStage::Serving | WorkerStage::Examined);
    let (Some(pid), true, false) = (row.pid, may_serve, row.recycle_due || row.retired) else {
        return;
    };
    row.recycle_due = true;
    out.push(Action::Recycle { pid, reason });
}
