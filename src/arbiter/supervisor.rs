//! [`Supervisor`], a pure state machine: inputs say what has happened, actions say what is to be done.
//!
//! It forks nothing, kills nothing, reads no clock and writes no log: the shell does. So every rule can be
//! tried without a process.
//!
//! *Invariants*
//!
//! - No two live workers have one id or one slot.
//! - The workers of a group that are to stay are never more than its target, except for those that are being replaced:
//!   all of an older generation, and one that is due for recycling.
//! - A worker is replaced before it is asked to leave: only when its replacement is ready does it go.
//! - A worker is held to the policy of its generation, which its fork names.
//! - No group of workers is replaced, scaled, recycled or slowed down for another one's sake.
//! - A signal goes only to a process id that was reported as forked and not yet as exited.
//! - A worker past its deadline is signalled in the next [`Input::Wake`], or was killed already.
//! - A request past its time is given up, also by a worker that leaves.
//! - A step that comes later than was planned kills no worker: the time for which the arbiter did not run counts
//!   against none, and a worker that serves has its whole timeout again. While anything is planned it wakes regularly,
//!   so that it notices each pause between two steps.
//! - A stop ends within the grace that it gives plus [`LAST_GRACE`], whatever the workers do.
//! - Before any worker of its group was ever ready, a failure to boot ends the arbiter, with the first cause; later it
//!   touches no other worker, and is tried again ever more slowly.
//! - One that had been ready is replaced at once, or after a second at the most where no other is ready.
//! - New settings whose workers cannot boot are given up before they have cost a worker that serves; those that
//!   cannot be read change nothing.
//! - There are slots for all workers that are to be there, for all that may come back, and for one replacement in
//!   each group: so no group waits for another one's workers to leave.
//! - There are two arbiters at most, and only one that is not yet ready is ended by the other.
//! - Nothing comes out after [`Action::Exit`].

mod group;
mod lifecycle;
mod renewal;
mod requests;
mod succession;

use std::time::Duration;

#[cfg(test)]
use nix::sys::signal::Signal;

use super::action::{Action, ExitReport, Failure, Input, RecycleReason, Request, SignalReason};
use super::backoff::{Backoff, LONGEST_OWED};
use super::command::Command;
use super::handle::ArbiterState;
use super::policy::{GroupId, Policy, Supervised};
use super::table::{Table, WorkerRow, WorkerStage};
use crate::ipc::link::LastWords;
use crate::ipc::worker_signal::WorkerSignal;
use crate::sys::fork::Exit;
use crate::time::MonoTime;
use group::Group;
use lifecycle::{ask, retire};
use succession::UpgradeState;

/// From the question for stacks to the abortion: writing them takes a millisecond.
pub(super) const EXAMINE_GRACE: Duration = Duration::from_millis(100);
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

/// What one step has to do with: the moment, and where it puts what is to be done.
struct Step<'a> {
    now: MonoTime,
    out: &'a mut Vec<Action>,
}

#[derive(Debug)]
enum Mode {
    Running,
    Stopping {
        quick: bool,
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

#[derive(Debug)]
pub(super) struct Supervisor {
    /// One at least, in the order of their ids.
    groups: Vec<Group>,
    /// The most workers that there can be to be: each group has one slot left for a replacement.
    most: usize,
    table: Table,
    mode: Mode,
    rollout: Rollout,
    upgrade: UpgradeState,
    loading: bool,
    /// When the next step was to come at the latest.
    planned: Option<MonoTime>,
    /// Until when the arbiter was last not running.
    resumed: MonoTime,
}

impl Supervisor {
    /// A supervisor without workers, for one group of each generation; the first [`Input::Wake`] asks for them.
    pub(super) fn new(groups: impl IntoIterator<Item = Supervised>, slots: usize) -> Self {
        let groups = groups.into_iter().enumerate();
        let groups: Vec<Group> = groups
            .map(|(id, current)| Group::new(GroupId(id), current))
            .collect();
        Self {
            most: slots - groups.len(),
            groups,
            table: Table::new(slots),
            mode: Mode::Running,
            rollout: Rollout::Starting,
            upgrade: UpgradeState::Alone,
            loading: false,
            planned: None,
            resumed: MonoTime::ZERO,
        }
    }

    pub(super) fn target(&self) -> usize {
        self.groups.iter().map(|group| group.target).sum()
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|group| group.target)
    }

    pub(super) fn is_settled(&self, group: GroupId) -> bool {
        self.groups[group.0].is_settled(&self.table)
    }

    /// What the arbiter as a whole is held to: the policy of its first group.
    fn policy(&self) -> &Policy {
        self.groups[0].policy()
    }

    /// Whether requests of a worker have a bound, so that its calls are to be looked at.
    pub(super) fn bounds_requests(&self) -> bool {
        self.table
            .iter()
            .any(|row| row.policy.request_timeout.is_some())
    }

    pub(super) fn state(&self) -> ArbiterState {
        match self.mode {
            Mode::Stopping { .. } | Mode::Over => ArbiterState::Stopping,
            Mode::Running => match self.rollout {
                Rollout::Starting => ArbiterState::Starting,
                _ if self.target() == 0 => ArbiterState::Quiesced,
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
        let target = self.target();
        let step = &mut Step { now, out };
        match input {
            Input::Command(command) => self.obey(command, step),
            Input::Forked { id, pid } => self.forked(id, pid, step),
            Input::ForkFailed { id, reason } => self.fork_failed(id, reason, step),
            Input::Ready { id } => self.ready(id, step),
            Input::Beat { id, at } => self.heard(id, at, step),
            Input::RecycleDue { id, reason } => self.recycle_due(id, reason, step.out),
            Input::InCall { id, since, alone } => self.in_call(id, since, alone, step),
            Input::Loaded(generations) => self.loaded(&generations, step),
            Input::LoadFailed => self.loading = false,
            Input::Exited {
                pid,
                exit,
                ready,
                words,
            } => self.exited(pid, exit, ready, words, step),
            Input::Reexecuted { pid } => self.reexecuted(step.now, pid),
            Input::ReexecFailed { reason } => self.reexec_failed(reason, step.out),
            Input::SuccessorReady => self.successor_ready(step),
            Input::SuccessorGone { exit, words } => self.successor_gone(exit, words, step.out),
            Input::PredecessorGone => self.predecessor_gone(step.out),
            Input::Wake => self.enforce(step),
        }
        let to = self.target();
        if target != to {
            step.out.push(Action::Resized { from: target, to });
        }
        match self.mode {
            Mode::Running => self.renew(step),
            _ => self.finish(step),
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
                row.deadline = row.deadline.max(row.policy.timeout.map(|it| now + it));
            }
        }
        if let Mode::Stopping { until, .. } = &mut self.mode {
            *until = *until + missed;
        }
        self.forgive_successor(missed);
    }

    /// Ends the backing off of a group when a worker that was ready after its last early death has proven good.
    fn forget_failures(&mut self, now: MonoTime) {
        for group in &mut self.groups {
            let last = group.backoff.last;
            let good = |ready: MonoTime| ready >= last && now.since(ready) >= PROVEN;
            let mut rows = self.table.iter().filter(|row| row.group == group.id);
            if rows.any(|row| row.ready.is_some_and(good)) {
                group.backoff.forget();
            }
        }
    }

    fn obey(&mut self, command: Command, step: &mut Step<'_>) {
        match command {
            Command::Stop => self.stop(false, None, step),
            Command::StopNow => self.stop(true, None, step),
            Command::ReopenLogs => self.reopen_logs(step.out),
            _ if !self.is_running() => {}
            Command::Grow => self.scale(GroupId::FIRST, |target| target + 1),
            Command::Shrink => {
                self.scale(GroupId::FIRST, |target| target - usize::from(target > 1));
            }
            Command::Scale(group, workers) => self.scale(group, |_| workers.max(1)),
            Command::Quiesce => {
                for group in 0..self.groups.len() {
                    self.scale(GroupId(group), |_| 0);
                }
            }
            // Being told so twice before the settings are read is once.
            Command::Reload => {
                if !std::mem::replace(&mut self.loading, true) {
                    step.out.push(Action::Ask(Request::LoadConfig));
                }
            }
            Command::Upgrade => self.upgrade(step.out),
        }
    }

    /// Whether there are slots for this many workers of each group beside those that may come back.
    pub(super) fn has_room_for(&self, workers: impl Iterator<Item = usize>) -> bool {
        let groups = self.groups.iter().zip(workers);
        let needed = groups.map(|(group, workers)| group.keeps().max(workers));
        needed.sum::<usize>() <= self.most
    }

    /// How many workers a group can be scaled to, since the slots are for all.
    fn room(&self, id: GroupId) -> usize {
        let others = self.groups.iter().filter(|group| group.id != id);
        self.most - others.map(Group::needed).sum::<usize>()
    }

    fn scale(&mut self, id: GroupId, change: impl Fn(usize) -> usize) {
        let room = self.room(id);
        self.groups[id.0].scale(room, change);
    }

    fn loaded(&mut self, generations: &[Supervised], step: &mut Step<'_>) {
        self.loading = false;
        // Else it was told to stop while it read them.
        if self.is_running() {
            for (group, new) in self.groups.iter_mut().zip(generations) {
                group.load(*new, &mut self.table, step);
            }
            self.begin_rollout();
        }
    }

    /// Sees to it that the workers are those that are to be there.
    fn renew(&mut self, step: &mut Step<'_>) {
        for group in &mut self.groups {
            group.renew(&mut self.table, step);
        }
        let serving = |group: &Group| group.target == 0 || group.serving(&self.table) > 0;
        if self.target() > 0 && self.groups.iter().all(serving) {
            self.notify_predecessor(step.out);
        }
        let is_complete = |group: &Group| group.is_complete(&self.table);
        if self.rollout != Rollout::Complete && self.groups.iter().all(is_complete) {
            self.rollout = Rollout::Complete;
            step.out.push(Action::Ready);
        }
    }

    /// Other generations are in force: their workers are still to come.
    fn begin_rollout(&mut self) {
        if self.rollout == Rollout::Complete {
            self.rollout = Rollout::Replacing;
        }
    }

    fn reopen_logs(&mut self, out: &mut Vec<Action>) {
        out.push(Action::ReopenLogs);
        for row in self.table.iter() {
            // One that boots may have its logs already, and one that is examined may be spared.
            if matches!(row.stage, WorkerStage::Aborted | WorkerStage::Killed) {
                continue;
            }
            out.extend(row.signal(WorkerSignal::Reopen, SignalReason::Logs));
        }
    }

    fn stop(&mut self, quick: bool, failure: Option<Failure>, step: &mut Step<'_>) {
        let grace = if quick {
            QUICK_GRACE
        } else {
            let graces = self.groups.iter().map(|it| it.policy().graceful_timeout);
            graces.max().unwrap_or_default()
        };
        let until = step.now + grace;
        match &mut self.mode {
            Mode::Running => {
                step.out.push(Action::StopListening);
                for group in &mut self.groups {
                    group.trial = None;
                }
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
            ask(row, quick, SignalReason::Stop, until, step.out);
        }
    }

    /// Ends a stop when no worker is left, or none that can be killed.
    fn finish(&mut self, step: &mut Step<'_>) {
        let Mode::Stopping { until, failure, .. } = &mut self.mode else {
            return;
        };
        if self.table.is_empty() || step.now >= *until + LAST_GRACE {
            let failure = failure.take();
            step.out.push(Action::Exit(failure.map_or(Ok(()), Err)));
            self.mode = Mode::Over;
        }
    }

    fn next(&self, now: MonoTime) -> Option<MonoTime> {
        let stop = match self.mode {
            Mode::Running => None,
            Mode::Stopping { until, .. } => Some(until + LAST_GRACE),
            Mode::Over => return None,
        };
        let missing = |group: &&Group| self.is_running() && group.is_missing_some(&self.table);
        let retries = self.groups.iter().filter(missing);
        let retries = retries.filter_map(|group| group.backoff.next(now));
        let deadlines = self.table.iter().filter_map(|row| row.deadline);
        let ages = self.table.iter().filter_map(lifecycle::grows_old);
        let own = stop.into_iter().chain(self.successor_deadline());
        deadlines.chain(ages).chain(retries).chain(own).min()
    }
}

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
