//! The arbiter's mind: what has happened goes in, what is to be done comes out.
//!
//! It forks nothing, kills nothing, reads no clock and writes no log: the shell does. So every rule can be
//! tried without a process.
//!
//! *Invariants*
//!
//! - No two live workers have one id or one slot.
//! - The workers that are to stay are never more than the target, except for those that are being replaced:
//!   all of an older generation, and one that is due for recycling.
//! - A worker is replaced before it is asked to leave: only when its replacement is ready does it go.
//! - A worker is held to the settings that it was started with: those it keeps. So none are read while one is
//!   being forked.
//! - A signal goes only to a process id that was reported as forked and not yet as exited.
//! - A worker past its deadline is signalled in the next [`Input::Wake`], or was killed already.
//! - A request past its time is given up, also by a worker that leaves.
//! - A step that comes later than was planned kills nobody: the time for which the arbiter did not run
//!   counts against no worker, and who serves has a fresh measure of time. So that it cannot be away between two
//!   steps without noticing, it looks up as long as anything is planned at all.
//! - A stop ends within the grace that it gives plus [`LAST_GRACE`], whatever the workers do.
//! - Before any worker was ever ready, a failure to boot ends the arbiter, with the first cause; later it
//!   touches no other worker, and is tried again ever more slowly.
//! - One that had been ready is replaced at once, or after a second at the most where no other is ready.
//! - New settings whose workers cannot boot are given up before they have cost a worker that serves; those that
//!   cannot be read change nothing.
//! - There are two arbiters at most, and only one that is not yet ready is ended by the other.
//! - Nothing comes out after [`Action::Exit`].

mod renewal;
mod succession;

use std::time::Duration;

use nix::sys::signal::Signal;

use super::action::{Action, ExitReport, Failure, Input, Limits, RecycleReason, SignalReason};
use super::backoff::{Backoff, LONGEST_OWED};
use super::command::Command;
use super::handle::ArbiterState;
use super::table::{Row, Table, WorkerStage};
use crate::ipc::link::LastWords;
use crate::ipc::worker_signal::WorkerSignal;
use crate::sys::fork::Exit;
use crate::time::MonoTime;
use renewal::Trial;
use succession::UpgradeState;

/// From the question for stacks to the abortion: writing them takes a millisecond.
pub(super) const EXAMINE_GRACE: Duration = Duration::from_millis(100);
/// From the abortion to the kill.
pub(super) const ABORT_GRACE: Duration = Duration::from_secs(1);
/// How long the only call of a worker may go on after it was told to give up its request.
pub(super) const STUCK_GRACE: Duration = Duration::from_secs(1);
/// What a quick stop leaves to the workers (Gunicorn's constant).
pub(super) const QUICK_GRACE: Duration = Duration::from_secs(2);
/// How long a stop waits for workers that were killed: one in an uninterruptible wait cannot go.
pub(super) const LAST_GRACE: Duration = Duration::from_secs(2);
/// A step that comes later than planned by more than this finds that the arbiter was not running.
const LATE: Duration = Duration::from_millis(500);
/// How long it sleeps at the most while anything is planned: for so long, and [`LATE`], it may be away unnoticed.
const LOOK_UP: Duration = Duration::from_millis(500);
/// A worker that has been ready for so long was not broken from the start.
const PROVEN: Duration = Duration::from_secs(1);
/// The longest pause while workers fail before they are ready.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The signals by which a program ends itself; other ones are sent by people, and say nothing about it.
const CRASHES: [Signal; 7] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

#[derive(Debug)]
enum Mode {
    Running,
    Stopping {
        quick: bool,
        /// When those who have not left by themselves are killed.
        until: MonoTime,
        failure: Option<Failure>,
    },
    Over,
}

/// How many of the workers that are to be there have been, with the settings in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rollout {
    /// Not all of them, since the start.
    Starting,
    /// All of them: one that goes later is replaced.
    Complete,
    /// Not all of them, since the settings have changed.
    Replacing,
}

/// The pure state machine.
#[derive(Debug)]
pub(super) struct Supervisor {
    limits: Limits,
    /// The most workers that there can be to be: one slot is left for a replacement.
    most: usize,
    target: usize,
    table: Table,
    mode: Mode,
    backoff: Backoff,
    /// The other arbiter, where there is one.
    upgrade: UpgradeState,
    /// Whether a worker was ever ready.
    proven: bool,
    /// Which settings are in force.
    generation: u64,
    /// The number that the last settings were given.
    newest: u64,
    /// Settings are to be read.
    loading: bool,
    /// While the settings in force have not yet proven good.
    trial: Option<Trial>,
    /// Whether all workers that are to be there are, with the settings in force.
    rollout: Rollout,
    /// When the next step was to come at the latest.
    planned: Option<MonoTime>,
    /// Until when the arbiter was last not running.
    resumed: MonoTime,
}

impl Supervisor {
    /// A supervisor without workers; the first [`Input::Wake`] asks for them.
    pub(super) fn new(limits: Limits, slots: usize) -> Self {
        let slots = slots.max(2);
        Self {
            limits,
            most: slots - 1,
            target: limits.workers.clamp(1, slots - 1),
            table: Table::new(slots),
            mode: Mode::Running,
            backoff: Backoff::default(),
            upgrade: UpgradeState::Alone,
            proven: false,
            generation: 1,
            newest: 1,
            loading: false,
            trial: None,
            rollout: Rollout::Starting,
            planned: None,
            resumed: MonoTime::ZERO,
        }
    }

    /// How many workers there are to be.
    pub(super) fn target(&self) -> usize {
        self.target
    }

    /// Whether requests of a worker have a bound, so that its calls are to be looked at.
    pub(super) fn bounds_requests(&self) -> bool {
        self.table
            .iter()
            .any(|row| row.limits.request_timeout.is_some())
    }

    /// What the arbiter does, in a word.
    pub(super) fn state(&self) -> ArbiterState {
        match self.mode {
            Mode::Stopping { .. } | Mode::Over => ArbiterState::Stopping,
            Mode::Running => match self.rollout {
                Rollout::Starting => ArbiterState::Starting,
                _ if self.target == 0 => ArbiterState::Quiesced,
                Rollout::Complete => ArbiterState::Serving,
                Rollout::Replacing => ArbiterState::Reloading,
            },
        }
    }

    /// Takes in what has happened by `now`, adds to `out` what is to be done, and gives the moment by
    /// which it must be asked again.
    ///
    /// Deadlines are looked at in [`Input::Wake`] only, so that a heartbeat which is known is heard first.
    pub(super) fn step(
        &mut self,
        now: MonoTime,
        input: Input,
        out: &mut Vec<Action>,
    ) -> Option<MonoTime> {
        if matches!(self.mode, Mode::Over) {
            return None;
        }
        self.forgive_lateness(now);
        self.forget_failures(now);
        let all_is_said = matches!(
            input,
            Input::Wake | Input::Forked { .. } | Input::ForkFailed { .. }
        );
        match input {
            Input::Command(command) => self.obey(now, command, out),
            Input::Forked { id, pid } => self.forked(now, id, pid, out),
            Input::ForkFailed { id, reason } => self.fork_failed(now, id, reason, out),
            Input::Ready { id } => self.ready(now, id, out),
            Input::Beat { id, at } => self.heard(now, id, at, out),
            Input::RecycleDue { id, reason } => self.recycle_due(id, reason, out),
            Input::InCall { id, since, alone } => self.in_call(now, id, since, alone, out),
            Input::Loaded(limits) if self.is_running() => self.loaded(now, limits, out),
            // It was told to stop while it read them.
            Input::Loaded(_) => {}
            Input::Exited {
                pid,
                exit,
                ready,
                words,
            } => self.exited(now, pid, exit, ready, words, out),
            Input::Reexecuted { pid } => self.reexecuted(now, pid),
            Input::ReexecFailed { reason } => self.reexec_failed(reason, out),
            Input::SuccessorReady => self.successor_ready(now, out),
            Input::SuccessorGone { exit, words } => self.successor_gone(exit, words, out),
            Input::PredecessorGone => self.predecessor_gone(out),
            Input::Wake => self.enforce(now, out),
        }
        match self.mode {
            Mode::Running => self.renew(now, out),
            _ => self.finish(now, out),
        }
        if all_is_said {
            self.read_settings(out);
        }
        // What new settings make overdue is not late.
        let next = self.next(now).map(|next| next.max(now));
        self.planned = next.map(|next| next.min(now + LOOK_UP));
        self.planned
    }

    fn is_running(&self) -> bool {
        matches!(self.mode, Mode::Running)
    }

    fn forgive_lateness(&mut self, now: MonoTime) {
        let Some(planned) = self.planned else { return };
        let late = now.since(planned);
        if late <= LATE {
            return;
        }
        let missed = late + LATE;
        self.resumed = now;
        for row in self.table.iter_mut() {
            row.deadline = row.deadline.map(|deadline| deadline + missed);
            if row.stage == WorkerStage::Serving {
                // It may have been in the middle of a call, and was stopped as well.
                row.deadline = row.deadline.max(row.limits.timeout.map(|it| now + it));
            }
        }
        if let Mode::Stopping { until, .. } = &mut self.mode {
            *until = *until + missed;
        }
        self.forgive_successor(missed);
    }

    /// Ends the backing off when a worker that was ready after the last early death has proven good.
    fn forget_failures(&mut self, now: MonoTime) {
        let last = self.backoff.last();
        let good = |ready: MonoTime| ready >= last && now.since(ready) >= PROVEN;
        if self.table.iter().any(|row| row.ready.is_some_and(good)) {
            self.backoff.forget();
        }
    }

    fn obey(&mut self, now: MonoTime, command: Command, out: &mut Vec<Action>) {
        match command {
            Command::Stop => self.stop(now, false, None, out),
            Command::StopNow => self.stop(now, true, None, out),
            Command::Reopen => self.reopen(out),
            _ if !self.is_running() => {}
            Command::Grow => self.scale(|target| target + 1, out),
            Command::Shrink => self.scale(|target| target - usize::from(target > 1), out),
            Command::Scale(workers) => self.scale(|_| workers.max(1), out),
            Command::Quiesce => self.scale(|_| 0, out),
            // Being told so twice before the settings are read is once.
            Command::Reload => self.loading = true,
            Command::Upgrade => self.upgrade(out),
        }
    }

    fn reopen(&mut self, out: &mut Vec<Action>) {
        out.push(Action::ReopenLogs);
        for row in self.table.iter() {
            // One that boots may have its logs already, and one that is examined may be spared.
            if matches!(row.stage, WorkerStage::Aborted | WorkerStage::Killed) {
                continue;
            }
            if let Some(pid) = row.pid {
                out.push(Action::Signal {
                    pid,
                    slot: row.slot,
                    order: WorkerSignal::Reopen,
                    why: SignalReason::Logs,
                });
            }
        }
    }

    fn stop(
        &mut self,
        now: MonoTime,
        quick: bool,
        failure: Option<Failure>,
        out: &mut Vec<Action>,
    ) {
        let grace = if quick {
            QUICK_GRACE
        } else {
            self.limits.graceful_timeout
        };
        let until = now + grace;
        match &mut self.mode {
            Mode::Running => {
                out.push(Action::StopListening);
                self.trial = None;
                self.mode = Mode::Stopping {
                    quick,
                    until,
                    failure,
                };
            }
            Mode::Stopping {
                quick: was_quick,
                until: before,
                ..
            } if quick && !*was_quick => {
                *was_quick = true;
                *before = until.min(*before);
            }
            // Asking twice changes nothing.
            _ => return,
        }
        for row in self.table.iter_mut() {
            ask(row, quick, SignalReason::Stop, until, out);
        }
    }

    fn forked(&mut self, now: MonoTime, id: u64, pid: i32, out: &mut Vec<Action>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        row.pid = Some(pid);
        row.stage = WorkerStage::Booting;
        row.deadline = row.limits.boot_timeout.map(|timeout| now + timeout);
        ask_again(row, &self.mode, now, out);
    }

    fn fork_failed(&mut self, now: MonoTime, id: u64, reason: String, out: &mut Vec<Action>) {
        if self.table.remove(|row| row.id == id).is_none() || !self.is_running() {
            return;
        }
        if !self.proven && self.table.is_empty() {
            self.stop(now, true, Some(Failure::Fork(reason)), out);
            return;
        }
        let mut retry = self.backoff.fail(now, LONGEST_BACKOFF);
        if retry.is_zero() {
            // Nothing would have changed.
            retry = self.backoff.fail(now, LONGEST_BACKOFF);
        }
        out.push(Action::ForkRetry { reason, retry });
    }

    fn ready(&mut self, now: MonoTime, id: u64, out: &mut Vec<Action>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        row.ready.get_or_insert(now);
        self.proven = true;
        if matches!(row.stage, WorkerStage::Booting | WorkerStage::Examined) {
            serve(row, now);
            ask_again(row, &self.mode, now, out);
            if row.generation == self.generation && self.trial.take().is_some() {
                out.push(Action::CommitReload);
            }
        }
    }

    /// A worker that comes back to life while it is being examined is spared.
    fn heard(&mut self, now: MonoTime, id: u64, at: MonoTime, out: &mut Vec<Action>) {
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        match row.stage {
            WorkerStage::Serving => {
                let silence = row.limits.timeout.map(|timeout| at + timeout);
                row.deadline = row.deadline.max(silence);
            }
            WorkerStage::Examined if row.ready.is_some() => {
                serve(row, at);
                ask_again(row, &self.mode, now, out);
            }
            _ => {}
        }
    }

    fn exited(
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
        self.proven |= ready;
        let running = self.is_running();
        let failure = boot_failure(&row, ready, exit, words.as_ref()).filter(|_| running);
        let on_trial = self.trial.is_some() && row.generation == self.generation;
        let abandon = failure.is_some() && on_trial && self.proven && !row.retired;
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
            Some(failure) if !self.proven => self.stop(now, true, Some(failure), out),
            Some(failure) if abandon => self.revert(now, failure.into_sentence(), out),
            _ => {}
        }
    }

    /// Sees to the replacement of a worker that has gone; gives the pause before it, if the worker died early.
    fn owe(&mut self, now: MonoTime, row: &Row, ready: bool, exit: Exit) -> Option<Duration> {
        let was_ready = ready || row.ready.is_some();
        let lasted = row.ready.is_some_and(|since| now.since(since) >= PROVEN);
        let others = || {
            self.table
                .iter()
                .any(|other| other.stage == WorkerStage::Serving)
        };
        if lasted || was_ready && others() {
            self.backoff.owe(now);
            return None;
        }
        Some(if was_ready {
            self.backoff.owe_after_failure(now)
        } else if self.proven && !speaks_for_the_program(exit) {
            self.backoff.fail(now, LONGEST_OWED)
        } else {
            self.backoff.fail(now, LONGEST_BACKOFF)
        })
    }

    /// Signals those whose deadline has passed, and finds those that have grown old.
    fn enforce(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        for row in self.table.iter_mut() {
            let (Some(pid), Some(deadline)) = (row.pid, row.deadline) else {
                continue;
            };
            if deadline > now {
                continue;
            }
            let late = now.since(deadline);
            let silent = match row.stage {
                WorkerStage::Booting => row.limits.boot_timeout.map(SignalReason::NotReady),
                WorkerStage::Serving => {
                    let silent = |timeout| SignalReason::Silent(timeout + late);
                    row.limits.timeout.map(silent)
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
            out.push(Action::Signal {
                pid,
                slot: row.slot,
                order,
                why,
            });
        }
        self.age(now, out);
        self.enforce_upgrade(now, out);
    }

    /// Ends a stop when nobody is left, or nobody that could be made to go.
    fn finish(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let Mode::Stopping { until, failure, .. } = &mut self.mode else {
            return;
        };
        if self.table.is_empty() || now >= *until + LAST_GRACE {
            let failure = failure.take();
            out.push(Action::Exit(failure.map_or(Ok(()), Err)));
            self.mode = Mode::Over;
        }
    }

    fn next(&self, now: MonoTime) -> Option<MonoTime> {
        let own = match self.mode {
            Mode::Running => self.backoff.next(now).filter(|_| self.is_missing_some()),
            Mode::Stopping { until, .. } => Some(until + LAST_GRACE),
            Mode::Over => return None,
        };
        let deadlines = self.table.iter().filter_map(|row| row.deadline);
        let ages = self.table.iter().filter_map(|row| self.grows_old(row));
        let successor = self.successor_deadline();
        deadlines.chain(ages).chain(own).chain(successor).min()
    }
}

/// A worker has shown that it lives.
fn serve(row: &mut Row, at: MonoTime) {
    row.stage = WorkerStage::Serving;
    row.deadline = row.limits.timeout.map(|timeout| at + timeout);
    row.kill_reason = None;
}

/// Asks a worker to leave that was to be asked when it did not exist, or could not hear.
fn ask_again(row: &mut Row, mode: &Mode, now: MonoTime, out: &mut Vec<Action>) {
    if let Mode::Stopping { quick, until, .. } = mode {
        ask(row, *quick, SignalReason::Stop, *until, out);
    } else if row.retired {
        let until = now + row.limits.graceful_timeout;
        ask(row, false, SignalReason::Retired, until, out);
    }
}

/// Asks a worker to leave, or to be quick about it.
fn ask(row: &mut Row, quick: bool, why: SignalReason, until: MonoTime, out: &mut Vec<Action>) {
    let Some(pid) = row.pid else { return };
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
    out.push(Action::Signal {
        pid,
        slot: row.slot,
        order: if quick {
            WorkerSignal::Quit
        } else {
            WorkerSignal::Leave
        },
        why,
    });
}

/// Whether a worker's end says that workers cannot boot, and why.
fn boot_failure(row: &Row, ready: bool, exit: Exit, words: Option<&LastWords>) -> Option<Failure> {
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

/// Whether it ended by itself: what somebody else has ended says nothing about the program.
fn speaks_for_the_program(exit: Exit) -> bool {
    match exit {
        Exit::Code(_) => true,
        Exit::Signal(signal) => CRASHES.contains(&signal),
        Exit::Unknown => false,
    }
}

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
