//! Supervisors with a fault each, planted between the world and the real one.
//!
//! They show what the simulator can find; each is a mistake that would be easy to make.

use std::collections::BTreeMap;

use super::super::lifecycle::speaks_for_the_program;
use super::super::succession::SuccessorState;
use super::super::{
    Action, Backoff, Command, GroupId, Input, LATE, MonoTime, Request, SignalReason, Step,
    Supervisor, UpgradeState, WorkerRow, WorkerSignal, WorkerStage, retire,
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
    /// A worker that was stopped together with the arbiter has only the rest of its time.
    GivesNoFreshMeasure,
    /// It sleeps until something is due, and does not notice that it was away.
    Oversleeps,
    /// A worker that ignores the abortion lives on.
    ForgetsTheKill,
    /// A request in a worker that leaves has no bound.
    SparesTheLeaving,
    /// A worker that was to leave while it could not hear is not asked again.
    ForgetsTheSpared,
    /// One worker more than there are to be.
    StartsOneTooMany,
    /// Two workers in one slot.
    GivesASlotTwice,
    /// Two workers at one queue, of which neither replaces the other.
    GivesAQueueTwice,
    /// The worker that leaves is not the one that is replaced.
    LeavesAQueue,
    /// Whatever fails is tried again at once.
    NeverBacksOff,
    /// One that had been ready is replaced as one that cannot boot.
    TakesItsEndForAFailedBoot,
    /// What is on trial is given up before there is anything else to try.
    GivesUpTooEarly,
    /// What is on trial counts as good when newer settings come.
    TrustsTheUntried,
    /// A worker is forked of a generation that is not in force.
    ForksOfTheWrongGeneration,
    /// What is dropped when a generation has proven good is that generation.
    DropsTheWrongGeneration,
    /// Settings whose workers cannot boot stay in force.
    LosesTheRevert,
    /// Old workers are measured by new settings.
    JudgesByNewSettings,
    /// A stop is never quick.
    TakesItsTime,
    /// An arbiter that has started a new one starts another one.
    UpgradesTwice,
    /// A new arbiter that was dismissed is heeded when it says that it serves.
    HeedsTheDismissed,
    /// The time for which the arbiter did not run counts against the new one.
    HurriesTheSuccessor,
    /// An arbiter that stops takes the new one along.
    TakesTheSuccessorAlong,
    /// A new arbiter says that it serves when all that it has is a worker that leaves.
    AnnouncesWhoLeaves,
    /// A new arbiter says that it serves when one of its groups does.
    AnnouncesForOneGroup,
    /// One group is scaled in the place of another.
    ScalesTheWrongGroup,
    /// One group alone is sent away.
    QuiescesOneGroup,
    /// When one group gives its trial up, the others do, too.
    RevertsAllGroups,
    /// Workers of one group make those of another dispensable.
    CountsTheOthers,
}

impl Bug {
    pub(super) const ALL: [Self; 32] = [
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
        Self::GivesAQueueTwice,
        Self::LeavesAQueue,
        Self::NeverBacksOff,
        Self::TakesItsEndForAFailedBoot,
        Self::GivesUpTooEarly,
        Self::TrustsTheUntried,
        Self::ForksOfTheWrongGeneration,
        Self::DropsTheWrongGeneration,
        Self::LosesTheRevert,
        Self::JudgesByNewSettings,
        Self::TakesItsTime,
        Self::UpgradesTwice,
        Self::HeedsTheDismissed,
        Self::HurriesTheSuccessor,
        Self::TakesTheSuccessorAlong,
        Self::AnnouncesWhoLeaves,
        Self::AnnouncesForOneGroup,
        Self::ScalesTheWrongGroup,
        Self::QuiescesOneGroup,
        Self::RevertsAllGroups,
        Self::CountsTheOthers,
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
            Bug::AnnouncesForOneGroup if says_ready => {
                let supervisor = &self.supervisor;
                let mut groups = supervisor.groups.iter();
                if groups.any(|group| group.serving(&supervisor.table) > 0) {
                    self.supervisor.notify_predecessor(out);
                }
            }
            Bug::CountsTheOthers => self.count_the_others(now, out),
            _ => {}
        }
        for action in out.split_off(before) {
            self.spoil(bug, now, action, out);
        }
        planned
    }

    /// Lets one that is outgoing go where all groups together have enough.
    fn count_the_others(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let supervisor = &mut self.supervisor;
        let target = supervisor.target();
        let serves = |row: &&WorkerRow| row.stage == WorkerStage::Serving && !row.retired;
        if !supervisor.is_running() || supervisor.table.iter().filter(serves).count() <= target {
            return;
        }
        let groups = &supervisor.groups;
        let is_outgoing = |row: &WorkerRow| groups.iter().any(|group| group.is_outgoing(row));
        let mut rows = supervisor.table.iter_mut();
        let row = rows.find(|row| row.stage == WorkerStage::Serving && is_outgoing(row));
        if let Some(row) = row {
            retire(row, &mut Step { now, out });
        }
    }

    /// By when workers that serve are to show progress.
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
            (Bug::NeverBacksOff, _) => {
                for group in &mut supervisor.groups {
                    group.backoff = Backoff::default();
                }
            }
            (Bug::LosesTheRevert, Input::Exited { .. })
            | (Bug::TrustsTheUntried, Input::Loaded(_)) => {
                for group in &mut supervisor.groups {
                    group.trial = None;
                }
            }
            (Bug::ScalesTheWrongGroup, Input::Command(Command::Scale(group, workers))) => {
                let group = GroupId(supervisor.groups.len() - 1 - group.0);
                return Input::Command(Command::Scale(group, *workers));
            }
            (Bug::QuiescesOneGroup, Input::Command(Command::Quiesce))
                if supervisor.is_running() =>
            {
                supervisor.scale(GroupId::FIRST, |_| 0);
                return Input::Wake;
            }
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
            (Bug::LeavesAQueue, Input::Ready { .. }) => {
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
                    row.policy = *supervisor.groups[row.group.0].policy();
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

    /// Gives up what is on trial in all groups.
    fn revert(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let supervisor = &mut self.supervisor;
        for group in &mut supervisor.groups {
            let reason = "for newer ones".into();
            group.revert(reason, &mut supervisor.table, &mut Step { now, out });
        }
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
            (
                bug,
                Action::Ask(Request::Spawn {
                    id,
                    slot,
                    queue_id,
                    generation,
                }),
            ) => {
                let wrong = generation.saturating_sub(1).max(1);
                let (slot, queue_id, generation) = match bug {
                    Bug::GivesASlotTwice => (0, queue_id, generation),
                    Bug::GivesAQueueTwice => (slot, 0, generation),
                    Bug::ForksOfTheWrongGeneration => (slot, queue_id, wrong),
                    _ => (slot, queue_id, generation),
                };
                out.push(spawn(id, slot, queue_id, generation));
                if bug == Bug::StartsOneTooMany {
                    let group = &self.supervisor.groups[0];
                    let (id, current) = (group.id, group.current);
                    let more = self.supervisor.table.enter(id, 9, current);
                    out.extend(
                        more.map(|row| spawn(row.id, row.slot, row.queue_id, row.generation)),
                    );
                }
            }
            (Bug::GivesUpTooEarly, Action::Ask(Request::LoadConfig)) => {
                self.revert(now, out);
                out.push(Action::Ask(Request::LoadConfig));
            }
            (Bug::RevertsAllGroups, action @ Action::RevertReload { .. }) => {
                out.push(action);
                self.revert(now, out);
            }
            (Bug::DropsTheWrongGeneration, Action::CommitReload { proven, dropped }) => {
                let (proven, dropped) = (dropped, proven);
                out.push(Action::CommitReload { proven, dropped });
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
                    row.deadline = Some(now + row.policy.graceful_timeout);
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

fn spawn(id: u64, slot: usize, queue_id: usize, generation: u64) -> Action {
    Action::Ask(Request::Spawn {
        id,
        slot,
        queue_id,
        generation,
    })
}
