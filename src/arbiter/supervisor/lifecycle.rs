//! The life of one worker: forked, ready, alive, late, ended; and what follows from its end for its group.

use super::{
    ABORT_GRACE, Action, Duration, EXAMINE_GRACE, Exit, ExitReport, Failure, LONGEST_BACKOFF,
    LONGEST_OWED, LastWords, Mode, MonoTime, PROVEN, RecycleReason, SignalReason, Step, Supervisor,
    WorkerRow, WorkerSignal, WorkerStage,
};
use crate::error::Kind;

impl Supervisor {
    pub(super) fn forked(&mut self, id: u64, pid: i32, step: &mut Step<'_>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        row.pid = Some(pid);
        row.stage = WorkerStage::Booting;
        row.deadline = row.policy.boot_timeout.map(|timeout| step.now + timeout);
        ask_again(row, &self.mode, step);
    }

    pub(super) fn fork_failed(&mut self, id: u64, reason: String, step: &mut Step<'_>) {
        let Some(row) = self.table.remove(|row| row.id == id) else {
            return;
        };
        if !self.is_running() {
            return;
        }
        if self.table.is_empty() && self.groups.iter().all(|group| !group.proven) {
            let failure = Failure {
                kind: Kind::Io,
                sentence: reason,
            };
            self.stop(true, Some(failure), step);
            return;
        }
        let backoff = &mut self.groups[row.group.0].backoff;
        let mut retry = backoff.fail(step.now, LONGEST_BACKOFF);
        if retry.is_zero() {
            // Nothing would have changed.
            retry = backoff.fail(step.now, LONGEST_BACKOFF);
        }
        step.out.push(Action::ForkRetry { reason, retry });
    }

    pub(super) fn ready(&mut self, id: u64, step: &mut Step<'_>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        let group = &mut self.groups[row.group.0];
        row.ready.get_or_insert(step.now);
        group.proven = true;
        if matches!(row.stage, WorkerStage::Booting | WorkerStage::Examined) {
            serve(row, step.now);
            ask_again(row, &self.mode, step);
            if row.generation == group.current.generation {
                group.commit(step.out);
            }
        }
    }

    /// A worker that comes back to life while it is being examined is spared.
    pub(super) fn heard(&mut self, id: u64, at: MonoTime, step: &mut Step<'_>) {
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
                ask_again(row, &self.mode, step);
            }
            _ => {}
        }
    }

    pub(super) fn exited(
        &mut self,
        pid: i32,
        exit: Exit,
        ready: bool,
        words: Option<LastWords>,
        step: &mut Step<'_>,
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
            self.owe(step.now, &row, ready, exit)
        } else {
            None
        };
        step.out.push(Action::Reaped(ExitReport {
            id: row.id,
            pid,
            slot: row.slot,
            exit,
            words: words.map(|words| words.sentence),
            kill_reason: row.kill_reason,
            asked_to_leave: row.stage == WorkerStage::Leaving,
            retry,
        }));
        match failure {
            Some(failure) if !proven => self.stop(true, Some(failure), step),
            Some(failure) if abandon => {
                let group = &mut self.groups[row.group.0];
                group.revert(failure.sentence, &mut self.table, step);
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
    pub(super) fn enforce(&mut self, step: &mut Step<'_>) {
        for row in self.table.iter_mut() {
            let due = row.deadline.filter(|deadline| *deadline <= step.now);
            let (Some(_), Some(deadline)) = (row.pid, due) else {
                continue;
            };
            let late = step.now.since(deadline);
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
                    row.deadline = Some(step.now + EXAMINE_GRACE);
                    (WorkerSignal::Stacks, why)
                }
                (None, WorkerStage::Examined) => {
                    row.stage = WorkerStage::Aborted;
                    row.deadline = Some(step.now + ABORT_GRACE);
                    (WorkerSignal::Abort, SignalReason::Examined)
                }
                _ => {
                    row.stage = WorkerStage::Killed;
                    row.deadline = None;
                    (WorkerSignal::Kill, SignalReason::Overdue)
                }
            };
            row.kill_reason.get_or_insert(why);
            step.out.extend(row.signal(order, why));
        }
        for row in self.table.iter_mut() {
            let (ready, most) = (row.ready, row.policy.max_worker_age);
            if let (Some(ready), Some(most)) = (ready, most) {
                let age = step.now.since(ready);
                if age >= most {
                    mark_for_recycling(row, RecycleReason::Age(age), step.out);
                }
            }
        }
        self.enforce_upgrade(step);
    }

    pub(super) fn recycle_due(&mut self, id: u64, reason: RecycleReason, out: &mut Vec<Action>) {
        if let Some(row) = self.table.get_mut(id) {
            mark_for_recycling(row, reason, out);
        }
    }
}

pub(super) fn grows_old(row: &WorkerRow) -> Option<MonoTime> {
    let (ready, most) = (row.ready?, row.policy.max_worker_age?);
    (row.stage == WorkerStage::Serving && !row.recycle_due).then(|| ready + most)
}

fn serve(row: &mut WorkerRow, at: MonoTime) {
    row.stage = WorkerStage::Serving;
    row.deadline = row.policy.timeout.map(|timeout| at + timeout);
    row.kill_reason = None;
}

/// Asks a worker to leave that was to be asked when it did not exist, or could not hear.
fn ask_again(row: &mut WorkerRow, mode: &Mode, step: &mut Step<'_>) {
    if let Mode::Stopping { quick, until, .. } = mode {
        ask(row, *quick, SignalReason::Stop, *until, step.out);
    } else if row.retired {
        let until = step.now + row.policy.graceful_timeout;
        ask(row, false, SignalReason::Retired, until, step.out);
    }
}

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
    let (kind, sentence) = match (row.kill_reason, words) {
        (Some(SignalReason::NotReady(timeout)), _) => {
            let timeout = timeout.as_secs_f64();
            let sentence = format!("a worker was not ready within {timeout} s");
            (Kind::Boot, sentence)
        }
        _ if !speaks_for_the_program(exit) => return None,
        (_, Some(words)) if words.app => (Kind::App, words.sentence.clone()),
        (_, Some(words)) => (Kind::Boot, words.sentence.clone()),
        (_, None) => (Kind::Boot, format!("a worker {exit} before it was ready")),
    };
    Some(Failure { kind, sentence })
}

/// Whether it ended by itself: an end from outside says nothing about the program.
pub(super) fn speaks_for_the_program(exit: Exit) -> bool {
    matches!(exit, Exit::Code(_)) || exit.is_crash()
}

/// Takes a worker out of those that are to stay, and asks it to leave.
pub(super) fn retire(row: &mut WorkerRow, step: &mut Step<'_>) {
    if !row.retired {
        let until = step.now + row.policy.graceful_timeout;
        row.retired = true;
        ask(row, false, SignalReason::Retired, until, step.out);
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
