//! What may and must come of the arbiters before and after this one: for each input exactly one answer, or none.
//!
//! Whatever they do, no worker is touched for it, but where the settings say that a successor's readiness ends
//! this arbiter.

use super::super::super::*;
use super::super::process::Process;
use super::super::require;
use super::Law;

/// What the supervisor can know of the other arbiters.
#[derive(Default)]
pub(super) struct Kin {
    /// The one that has started this one is there; `true` once it was told that this one serves.
    elder: Option<bool>,
    /// A process for the next one is being made.
    executing: bool,
    heir: Option<Heir>,
}

/// The arbiter that follows.
struct Heir {
    pid: i32,
    upgraded: bool,
    /// What it was told.
    told: Option<Order>,
    /// By when it must be told something else, or have changed.
    due: Option<Tick>,
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

impl Kin {
    pub(super) fn second() -> Self {
        Self {
            elder: Some(false),
            ..Self::default()
        }
    }

    /// The time for which the arbiter did not run counts against nobody.
    pub(super) fn forgives(&mut self, missed: Duration) {
        if let Some(heir) = &mut self.heir {
            heir.due = heir.due.map(|due| due + missed);
        }
    }

    /// By when the supervisor must be asked again.
    pub(super) fn due(&self) -> Option<Tick> {
        self.heir.as_ref()?.due
    }

    /// The next one serves.
    pub(super) fn is_followed(&self) -> bool {
        self.heir.as_ref().is_some_and(|heir| heir.upgraded)
    }

    fn upgrade(&mut self) -> Option<Action> {
        let successor = self.heir.as_ref().map(|heir| heir.pid);
        if self.elder.is_some() || successor.is_some() {
            return Some(Action::RefuseUpgrade { successor });
        }
        // Being told twice before it is done is once.
        let begins = !std::mem::replace(&mut self.executing, true);
        begins.then_some(Action::Reexec)
    }

    fn gone(&mut self, exit: Exit, words: Option<&LastWords>) -> Option<Action> {
        let heir = self.heir.take()?;
        let pid = heir.pid;
        Some(if heir.upgraded {
            Action::SuccessorGone { pid, exit }
        } else {
            let words = words.filter(|_| heir.told.is_none());
            let reason = words.map_or(String::new(), |words| words.sentence.clone());
            Action::UpgradeFailed { reason }
        })
    }

    /// Whom it is time to dismiss.
    fn dismiss(&mut self, now: Tick, limits: &Limits) -> Option<Action> {
        let heir = self.heir.as_mut()?;
        if heir.due.is_none_or(|due| due > now) {
            return None;
        }
        let (order, due) = match heir.told {
            None => (
                Order::Leave,
                Some(now + limits.graceful_timeout + LAST_GRACE),
            ),
            Some(_) => (Order::Kill, None),
        };
        (heir.told, heir.due) = (Some(order), due);
        let pid = heir.pid;
        Some(Action::Dismiss { pid, order })
    }
}

impl Law {
    /// What an input changes between the arbiters, and what must come of it.
    pub(super) fn hears_kin(&mut self, input: &Input) -> Answer {
        let (now, limits, runs) = (self.now, self.limits, self.stop.is_none());
        let kin = &mut self.kin;
        let answer = |rule, action| Answer {
            rule,
            action,
            is_theirs: true,
        };
        match input {
            _ if self.over => Answer::default(),
            Input::Command(Command::Upgrade) => answer(
                "an upgrade is begun where there is one arbiter, and refused where there are two",
                runs.then(|| kin.upgrade()).flatten(),
            ),
            Input::Reexecuted { pid } => {
                kin.executing = false;
                kin.heir = Some(Heir {
                    pid: *pid,
                    upgraded: false,
                    told: None,
                    due: limits.boot_timeout.map(|timeout| now + timeout),
                });
                answer("a successor is given its time", None)
            }
            Input::ReexecFailed { reason } => {
                kin.executing = false;
                let reason = reason.clone();
                let action = Some(Action::UpgradeFailed { reason });
                answer("a program that cannot be executed is told of", action)
            }
            Input::SuccessorReady => {
                let heir = kin.heir.as_mut().filter(|heir| heir.told.is_none());
                let action = heir.map(|heir| {
                    (heir.upgraded, heir.due) = (true, None);
                    Action::Upgraded { pid: heir.pid }
                });
                let retires = action.is_some() && runs && limits.upgrade_retire;
                if retires {
                    self.stops(now + limits.graceful_timeout, false);
                }
                Answer {
                    is_theirs: !retires,
                    ..answer("a successor serves when it says so in time", action)
                }
            }
            Input::SuccessorGone { exit, words } => answer(
                "a successor's end is told of for what it was",
                kin.gone(*exit, words.as_ref()),
            ),
            Input::PredecessorGone => {
                let action = kin.elder.take().map(|_| Action::Promote);
                answer("who is left is promoted", action)
            }
            Input::Wake if runs => Answer {
                rule: "a successor is dismissed when it is late, then killed, and never in a stop",
                action: kin.dismiss(now, &limits),
                ..Answer::default()
            },
            _ => Answer::default(),
        }
    }

    /// Whether what had to come of an input came, and nothing else.
    pub(super) fn compares_kin(&mut self, answer: &Answer, actions: &[Action]) {
        let announces = actions.iter().filter(|it| **it == Action::Announce).count();
        let serves = self.is_open() && self.processes.iter().any(Process::serves);
        let first = self.kin.elder.as_mut().filter(|told| serves && !**told);
        require(
            announces == usize::from(first.is_some()),
            "who follows says so once, when it has a worker that serves and stays",
        );
        if let Some(told) = first {
            *told = true;
        }
        let mut others = actions.iter().filter(|action| is_about_kin(action));
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
fn is_about_kin(action: &Action) -> bool {
    matches!(
        action,
        Action::Reexec
            | Action::RefuseUpgrade { .. }
            | Action::Upgraded { .. }
            | Action::Dismiss { .. }
            | Action::UpgradeFailed { .. }
            | Action::SuccessorGone { .. }
            | Action::Promote
    )
}

/// Whether it is the same. The supervisor may find words where nobody else has any.
fn says(found: &Action, wanted: &Action) -> bool {
    match (found, wanted) {
        (Action::UpgradeFailed { reason: found }, Action::UpgradeFailed { reason: wanted }) => {
            !found.is_empty() && found.contains(wanted)
        }
        _ => found == wanted,
    }
}
