//! What may and must come of the arbiters before and after this one: for each input exactly one answer, or none.
//!
//! Whatever they do, no worker is touched for it, but where the settings say that a successor's readiness ends
//! this arbiter.

use super::super::super::*;
use super::super::process::Process;
use super::super::require;
use super::Law;
use super::group::Books;

/// What the supervisor can know of the other arbiters.
#[derive(Default)]
pub(super) struct UpgradeBooks {
    /// The one that has started this one is there; `true` once it was told that this one serves.
    predecessor: Option<bool>,
    /// A process for the next one is being made.
    executing: bool,
    successor: Option<Successor>,
}

/// The arbiter that follows.
struct Successor {
    pid: i32,
    upgraded: bool,
    /// What it was told.
    told: Option<WorkerSignal>,
    /// By when it must be told something else, or have changed.
    due: Option<MonoTime>,
}

/// What must come of an input, in the same step, and why.
pub(super) struct Answer {
    rule: &'static str,
    action: Option<Action>,
    /// Nothing may come of it for the workers.
    is_theirs: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            rule: "a new arbiter that is not late is left alone",
            action: None,
            is_theirs: false,
        }
    }
}

impl UpgradeBooks {
    pub(super) fn with_predecessor() -> Self {
        Self {
            predecessor: Some(false),
            ..Self::default()
        }
    }

    /// The time for which the arbiter did not run does not count against the successor.
    pub(super) fn forgives(&mut self, missed: Duration) {
        if let Some(successor) = &mut self.successor {
            successor.due = successor.due.map(|due| due + missed);
        }
    }

    /// By when the supervisor must be asked again.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.successor.as_ref()?.due
    }

    /// The next one serves.
    pub(super) fn is_followed(&self) -> bool {
        self.successor
            .as_ref()
            .is_some_and(|successor| successor.upgraded)
    }

    fn upgrade(&mut self) -> Option<Action> {
        let successor = self.successor.as_ref().map(|successor| successor.pid);
        if self.predecessor.is_some() || successor.is_some() {
            return Some(Action::RefuseUpgrade { successor });
        }
        // Being told twice before it is done is once.
        let begins = !std::mem::replace(&mut self.executing, true);
        begins.then_some(Action::Ask(Request::Reexec))
    }

    fn gone(&mut self, exit: Exit, words: Option<&LastWords>) -> Option<Action> {
        let successor = self.successor.take()?;
        let pid = successor.pid;
        Some(if successor.upgraded {
            Action::SuccessorGone { pid, exit }
        } else {
            let words = words.filter(|_| successor.told.is_none());
            let reason = words.map_or(String::new(), |words| words.sentence.clone());
            Action::UpgradeFailed { reason }
        })
    }

    /// The successor that is to be stopped now.
    fn stop_successor(&mut self, now: MonoTime, policy: &Policy) -> Option<Action> {
        let successor = self.successor.as_mut()?;
        if successor.due.is_none_or(|due| due > now) {
            return None;
        }
        let (order, due) = match successor.told {
            None => (
                WorkerSignal::Leave,
                Some(now + policy.graceful_timeout + LAST_GRACE),
            ),
            Some(_) => (WorkerSignal::Kill, None),
        };
        (successor.told, successor.due) = (Some(order), due);
        let pid = successor.pid;
        Some(Action::StopSuccessor { pid, order })
    }
}

impl Law {
    /// What an input changes between the arbiters, and what must come of it.
    pub(super) fn hears_upgrade(&mut self, input: &Input) -> Answer {
        let (now, grace, runs) = (self.now, self.grace(), self.stop.is_none());
        let policy = self.groups[0].current.policy;
        let upgrade = &mut self.upgrade;
        let answer = |rule, action| Answer {
            rule,
            action,
            is_theirs: true,
        };
        match input {
            _ if self.over => Answer::default(),
            Input::Command(Command::Upgrade) => answer(
                "an upgrade is begun where there is one arbiter, and refused where there are two",
                runs.then(|| upgrade.upgrade()).flatten(),
            ),
            Input::Reexecuted { pid } => {
                upgrade.executing = false;
                upgrade.successor = Some(Successor {
                    pid: *pid,
                    upgraded: false,
                    told: None,
                    due: policy.boot_timeout.map(|timeout| now + timeout),
                });
                answer("a successor is given its time", None)
            }
            Input::ReexecFailed { reason } => {
                upgrade.executing = false;
                let reason = reason.clone();
                let action = Some(Action::UpgradeFailed { reason });
                answer("a program that cannot be executed is told of", action)
            }
            Input::SuccessorReady => {
                let successor = upgrade
                    .successor
                    .as_mut()
                    .filter(|successor| successor.told.is_none());
                let action = successor.map(|successor| {
                    (successor.upgraded, successor.due) = (true, None);
                    Action::Upgraded { pid: successor.pid }
                });
                let retires = action.is_some() && runs && policy.upgrade_retire;
                if retires {
                    self.stops(now + grace, false);
                }
                Answer {
                    is_theirs: !retires,
                    ..answer("a successor serves when it says so in time", action)
                }
            }
            Input::SuccessorGone { exit, words } => answer(
                "a successor's end is told of for what it was",
                upgrade.gone(*exit, words.as_ref()),
            ),
            Input::PredecessorGone => {
                let action = upgrade.predecessor.take().map(|_| Action::Promote);
                answer("an arbiter whose predecessor has gone is promoted", action)
            }
            Input::Wake if runs => Answer {
                rule: "a successor is dismissed when it is late, then killed, and never in a stop",
                action: upgrade.stop_successor(now, &policy),
                ..Answer::default()
            },
            _ => Answer::default(),
        }
    }

    /// Whether what had to come of an input came, and nothing else.
    pub(super) fn compares_upgrade(&mut self, answer: &Answer, actions: &[Action]) {
        let announces = actions
            .iter()
            .filter(|it| **it == Action::NotifyPredecessor)
            .count();
        let serves = |group: &Books| {
            let mut workers = self.processes.iter().filter(|it| it.group == group.id);
            group.target == 0 || workers.any(Process::serves)
        };
        let some = self.groups.iter().any(|group| group.target > 0);
        let serves = self.is_open() && some && self.groups.iter().all(serves);
        let first = self
            .upgrade
            .predecessor
            .as_mut()
            .filter(|told| serves && !**told);
        require(
            announces == usize::from(first.is_some()),
            "a successor announces itself once, when each group has a worker that serves and stays",
        );
        if let Some(told) = first {
            *told = true;
        }
        let mut others = actions.iter().filter(|action| is_about_upgrade(action));
        let found = (others.next(), others.next());
        let as_wanted = match (found, &answer.action) {
            ((None, None), None) => true,
            ((Some(found), None), Some(wanted)) => says(found, wanted),
            _ => false,
        };
        require(as_wanted, answer.rule);
        let touches = |action: &Action| matches!(action, Action::Signal { .. });
        require(
            !(answer.is_theirs && actions.iter().any(touches)),
            "no worker is touched for another arbiter's sake",
        );
    }
}

/// Whether it is about the arbiter before or after this one.
fn is_about_upgrade(action: &Action) -> bool {
    matches!(
        action,
        Action::Ask(Request::Reexec)
            | Action::RefuseUpgrade { .. }
            | Action::Upgraded { .. }
            | Action::StopSuccessor { .. }
            | Action::UpgradeFailed { .. }
            | Action::SuccessorGone { .. }
            | Action::Promote
    )
}

/// Whether it is the same. The supervisor may give a reason where none was told.
fn says(found: &Action, wanted: &Action) -> bool {
    match (found, wanted) {
        (Action::UpgradeFailed { reason: found }, Action::UpgradeFailed { reason: wanted }) => {
            !found.is_empty() && found.contains(wanted)
        }
        _ => found == wanted,
    }
}
