//! Supervisors with a fault each, planted between the world and the real one.
//!
//! They show what the simulator can find; each is a mistake that would be easy to make.

use std::collections::BTreeMap;

use super::super::succession::SuccessorState;
use super::super::{
    Action, Backoff, Command, Input, LATE, MonoTime, SignalReason, Supervisor, UpgradeState,
    WorkerSignal, WorkerStage, speaks_for_the_program,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A worker counts as ready when it was forked.
    RetiresTooEarly,
    /// A worker that has served for long enough leaves at once.
    RecyclesTooEarly,
    /// A signal goes to a process that has gone.
    SignalsTheDead,
    /// The time for which the arbiter did not run counts against the workers.
    BlamesTheLate,
    /// Who was stopped together with the arbiter has no more than the rest of its time.
    GivesNoFreshMeasure,
    /// It sleeps until something is due, and does not notice that it was away.
    Oversleeps,
    /// Who ignores the abortion lives on.
    ForgetsTheKill,
    /// A request of who leaves has all the time that it likes.
    SparesTheLeaving,
    /// Who was to leave while it could not hear is not asked again.
    ForgetsTheSpared,
    /// One worker more than there are to be.
    StartsOneTooMany,
    /// Two workers in one slot.
    GivesASlotTwice,
    /// Two workers at one queue, of which neither replaces the other.
    GivesAPostTwice,
    /// Who is replaced is not who leaves.
    LeavesAPost,
    /// Whatever fails is tried again at once.
    NeverBacksOff,
    /// One that had been ready is replaced as one that cannot boot.
    TakesItsEndForAFailedBoot,
    /// What is on trial is given up before there is anything else to try.
    GivesUpTooEarly,
    /// What is on trial counts as good when newer settings come.
    TrustsTheUntried,
    /// New settings are read while workers are to be forked by the former ones.
    ReadsTooEarly,
    /// Settings whose workers cannot boot stay in force.
    LosesTheRevert,
    /// Old workers are measured by new settings.
    JudgesByNewSettings,
    /// A stop is never quick.
    TakesItsTime,
    /// Who has started a new arbiter starts another one.
    UpgradesTwice,
    /// A new arbiter that was dismissed is heeded when it says that it serves.
    HeedsTheDismissed,
    /// The time for which the arbiter did not run counts against the new one.
    HurriesTheSuccessor,
    /// An arbiter that stops takes the new one along.
    TakesTheSuccessorAlong,
    /// A new arbiter says that it serves when all that it has is a worker that leaves.
    AnnouncesWhoLeaves,
}

impl Bug {
    pub(super) const ALL: [Self; 26] = [
        Self::RetiresTooEarly,
        Self::RecyclesTooEarly,
        Self::SignalsTheDead,
        Self::BlamesTheLate,
        Self::GivesNoFreshMeasure,
        Self::Oversleeps,
        Self::ForgetsTheKill,
        Self::ForgetsTheSpared,
        Self::SparesTheLeaving,
        Self::StartsOneTooMany,
        Self::GivesASlotTwice,
        Self::GivesAPostTwice,
        Self::LeavesAPost,
        Self::NeverBacksOff,
        Self::TakesItsEndForAFailedBoot,
        Self::GivesUpTooEarly,
        Self::TrustsTheUntried,
        Self::ReadsTooEarly,
        Self::LosesTheRevert,
        Self::JudgesByNewSettings,
        Self::TakesItsTime,
        Self::UpgradesTwice,
        Self::HeedsTheDismissed,
        Self::HurriesTheSuccessor,
        Self::TakesTheSuccessorAlong,
        Self::AnnouncesWhoLeaves,
    ];
}

/// A supervisor, with or without a fault.
pub(super) struct Mind {
    pub(super) supervisor: Supervisor,
    bug: Option<Bug>,
}

impl Mind {
    pub(super) fn new(supervisor: Supervisor, bug: Option<Bug>) -> Self {
        Self { supervisor, bug }
    }

    pub(super) fn step(
        &mut self,
        now: MonoTime,
        input: Input,
        out: &mut Vec<Action>,
    ) -> Option<MonoTime> {
        let Some(bug) = self.bug else {
            return self.supervisor.step(now, input, out);
        };
        let before = out.len();
        let forked = match input {
            Input::Forked { id, .. } if bug == Bug::RetiresTooEarly => Some(id),
            _ => None,
        };
        let says_ready = matches!(input, Input::Ready { .. });
        let is_wake = matches!(input, Input::Wake);
        let input = self.mislead(bug, input);
        let successor = self.starting();
        let late = self.supervisor.planned.map(|planned| now.since(planned));
        let late = late.filter(|late| *late > LATE);
        let stale = late.filter(|_| bug == Bug::GivesNoFreshMeasure);
        let stale = stale.map(|late| (late + LATE, self.deadlines()));
        let mut planned = self.supervisor.step(now, input, out);
        if let Some(id) = forked {
            planned = self.supervisor.step(now, Input::Ready { id }, out);
        }
        if let Some((missed, deadlines)) = stale {
            for row in self.supervisor.table.iter_mut() {
                if row.stage == WorkerStage::Serving {
                    let before = deadlines.get(&row.id);
                    row.deadline = before.map(|before| *before + missed).or(row.deadline);
                }
            }
        }
        match bug {
            Bug::HurriesTheSuccessor if successor.is_some() && self.starting().is_some() => {
                self.supervisor.upgrade = successor.unwrap_or(self.supervisor.upgrade);
            }
            Bug::Oversleeps => {
                planned = self.supervisor.next(now);
                self.supervisor.planned = planned;
            }
            Bug::AnnouncesWhoLeaves if says_ready => self.supervisor.notify_predecessor(out),
            Bug::ReadsTooEarly if is_wake && self.supervisor.is_running() => {
                let loads = std::mem::take(&mut self.supervisor.loading);
                out.extend(loads.then_some(Action::LoadConfig));
            }
            _ => {}
        }
        for action in out.split_off(before) {
            self.spoil(bug, now, action, out);
        }
        planned
    }

    /// By when those who serve are to show progress.
    fn deadlines(&self) -> BTreeMap<u64, MonoTime> {
        let rows = self.supervisor.table.iter();
        let serving = rows.filter(|row| row.stage == WorkerStage::Serving);
        serving
            .filter_map(|row| Some((row.id, row.deadline?)))
            .collect()
    }

    /// A new arbiter that is not ready yet, and by when it is to be.
    fn starting(&self) -> Option<UpgradeState> {
        let successor = |upgrade: &UpgradeState| match upgrade {
            UpgradeState::HasSuccessor { successor, .. } => {
                matches!(successor, SuccessorState::Starting { .. })
            }
            _ => false,
        };
        Some(self.supervisor.upgrade).filter(successor)
    }

    /// What goes wrong before a step.
    fn mislead(&mut self, bug: Bug, input: Input) -> Input {
        let supervisor = &mut self.supervisor;
        match (bug, &input) {
            (Bug::BlamesTheLate, _) => supervisor.planned = None,
            (Bug::NeverBacksOff, _) => supervisor.backoff = Backoff::default(),
            (Bug::LosesTheRevert, Input::Exited { .. })
            | (Bug::TrustsTheUntried, Input::Loaded(_)) => supervisor.trial = None,
            (Bug::TakesItsTime, Input::Command(Command::StopNow)) => {
                return Input::Command(Command::Stop);
            }
            (Bug::UpgradesTwice, Input::Command(Command::Upgrade)) => {
                if let UpgradeState::HasSuccessor { .. } = supervisor.upgrade {
                    supervisor.upgrade = UpgradeState::Alone;
                }
            }
            (Bug::HeedsTheDismissed, Input::SuccessorReady) => {
                if let UpgradeState::HasSuccessor { successor, .. } = &mut supervisor.upgrade {
                    *successor = SuccessorState::Starting { until: None };
                }
            }
            (Bug::LeavesAPost, Input::Ready { .. }) => {
                for row in supervisor.table.iter_mut() {
                    row.queue_id = 0;
                }
            }
            (Bug::ForgetsTheKill, _) => {
                for row in supervisor.table.iter_mut() {
                    row.deadline = row.deadline.filter(|_| row.stage != WorkerStage::Aborted);
                }
            }
            (Bug::JudgesByNewSettings, _) => {
                for row in supervisor.table.iter_mut() {
                    row.limits = supervisor.limits;
                }
            }
            (Bug::SparesTheLeaving, Input::InCall { id, since, .. }) => {
                let row = supervisor.table.get_mut(*id);
                if let Some(row) = row.filter(|row| row.stage == WorkerStage::Leaving) {
                    row.stuck = Some((*since, MonoTime::from_nanos(u64::MAX)));
                }
            }
            (Bug::TakesItsEndForAFailedBoot, Input::Exited { pid, exit, .. })
                if !speaks_for_the_program(*exit) =>
            {
                let (pid, exit) = (*pid, *exit);
                for row in supervisor.table.iter_mut() {
                    row.ready = row.ready.filter(|_| row.pid != Some(pid));
                }
                return Input::Exited {
                    pid,
                    exit,
                    ready: false,
                    words: None,
                };
            }
            (Bug::ForgetsTheSpared, Input::Beat { id, .. }) => {
                let row = supervisor.table.get_mut(*id);
                if let Some(row) = row.filter(|row| row.stage == WorkerStage::Examined) {
                    row.stage = WorkerStage::Serving;
                }
            }
            _ => {}
        }
        input
    }

    /// What becomes of an action.
    fn spoil(&mut self, bug: Bug, now: MonoTime, action: Action, out: &mut Vec<Action>) {
        let leave = |pid, slot| Action::Signal {
            pid,
            slot,
            order: WorkerSignal::Leave,
            why: SignalReason::Retired,
        };
        match (bug, action) {
            (Bug::GivesASlotTwice, Action::Spawn { id, queue_id, .. }) => {
                out.push(Action::Spawn {
                    id,
                    slot: 0,
                    queue_id,
                });
            }
            (Bug::GivesAPostTwice, Action::Spawn { id, slot, .. }) => {
                out.push(Action::Spawn {
                    id,
                    slot,
                    queue_id: 0,
                });
            }
            (Bug::StartsOneTooMany, action @ Action::Spawn { .. }) => {
                out.push(action);
                let (generation, limits) = (self.supervisor.generation, self.supervisor.limits);
                let more = self.supervisor.table.enter(9, generation, limits);
                out.extend(more.map(|row| Action::Spawn {
                    id: row.id,
                    slot: row.slot,
                    queue_id: row.queue_id,
                }));
            }
            (Bug::GivesUpTooEarly, Action::LoadConfig) => {
                self.supervisor.revert(now, "for newer ones".into(), out);
                out.push(Action::LoadConfig);
            }
            (Bug::SignalsTheDead, Action::Reaped(report)) => {
                let (pid, slot) = (report.pid, report.slot);
                out.extend([Action::Reaped(report), leave(pid, slot)]);
            }
            (Bug::RecyclesTooEarly, Action::Recycle { pid, reason }) => {
                out.push(Action::Recycle { pid, reason });
                let mut rows = self.supervisor.table.iter_mut();
                let row = rows.find(|row| row.pid == Some(pid));
                out.extend(row.map(|row| {
                    row.retired = true;
                    row.stage = WorkerStage::Leaving;
                    row.deadline = Some(now + row.limits.graceful_timeout);
                    leave(pid, row.slot)
                }));
            }
            (Bug::TakesTheSuccessorAlong, Action::StopListening) => {
                out.push(Action::StopListening);
                if let UpgradeState::HasSuccessor { pid, .. } = self.supervisor.upgrade {
                    let order = WorkerSignal::Leave;
                    out.push(Action::StopSuccessor { pid, order });
                }
            }
            (_, action) => out.push(action),
        }
    }
}
