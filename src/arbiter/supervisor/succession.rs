//! How an arbiter is followed by another one, with a new program and the same listeners.
//!
//! Neither ends the other but where the new one fails to start, or the settings say so: people decide which one goes.
//!
//! ```text
//!   Alone ─ USR2 ─▶ Executing ─▶ Starting ─ first worker ready ─▶ Ready: both serve
//!     ▲                │ cannot be executed  │ too late
//!     │                │                     ▼
//!     ├────────────────┘                 Stopping: TERM, then KILL
//!     └── the new one has gone ◀─────────────┘
//!
//!   Second (this is the new one) ── the old one has gone ──▶ Alone
//! ```

use super::{
    Action, Duration, Exit, LAST_GRACE, LastWords, Mode, MonoTime, Request, Step, Supervisor,
    WorkerSignal,
};

/// The other arbiter that has the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpgradeState {
    Alone,
    /// The arbiter that has started this one; `notified` once it was told that this one serves.
    HasPredecessor {
        notified: bool,
    },
    Executing,
    HasSuccessor {
        pid: i32,
        successor: SuccessorState,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SuccessorState {
    /// To be ready by then.
    Starting {
        until: Option<MonoTime>,
    },
    Ready,
    /// It has failed, and is to be gone by then.
    Stopping {
        until: MonoTime,
    },
    Killed,
}

impl Supervisor {
    /// The arbiter that follows another one.
    pub(in crate::arbiter) fn with_predecessor(self) -> Self {
        let upgrade = UpgradeState::HasPredecessor { notified: false };
        Self { upgrade, ..self }
    }

    pub(super) fn upgrade(&mut self, out: &mut Vec<Action>) {
        match self.upgrade {
            UpgradeState::Alone => {
                self.upgrade = UpgradeState::Executing;
                out.push(Action::Ask(Request::Reexec));
            }
            UpgradeState::HasPredecessor { .. } => {
                out.push(Action::RefuseUpgrade { successor: None });
            }
            UpgradeState::HasSuccessor { pid, .. } => out.push(Action::RefuseUpgrade {
                successor: Some(pid),
            }),
            UpgradeState::Executing => {}
        }
    }

    pub(super) fn reexecuted(&mut self, now: MonoTime, pid: i32) {
        let until = self.policy().boot_timeout.map(|timeout| now + timeout);
        let successor = SuccessorState::Starting { until };
        self.upgrade = UpgradeState::HasSuccessor { pid, successor };
    }

    pub(super) fn reexec_failed(&mut self, reason: String, out: &mut Vec<Action>) {
        self.upgrade = UpgradeState::Alone;
        out.push(Action::UpgradeFailed { reason });
    }

    pub(super) fn successor_ready(&mut self, step: &mut Step<'_>) {
        if let UpgradeState::HasSuccessor { pid, successor } = &mut self.upgrade {
            if matches!(successor, SuccessorState::Starting { .. }) {
                *successor = SuccessorState::Ready;
                step.out.push(Action::Upgraded { pid: *pid });
                if self.policy().upgrade_retire {
                    self.stop(false, None, step);
                }
            }
        }
    }

    pub(super) fn successor_gone(
        &mut self,
        exit: Exit,
        words: Option<LastWords>,
        out: &mut Vec<Action>,
    ) {
        let UpgradeState::HasSuccessor { pid, successor } = self.upgrade else {
            return;
        };
        self.upgrade = UpgradeState::Alone;
        out.push(match successor {
            SuccessorState::Ready => Action::SuccessorGone { pid, exit },
            SuccessorState::Starting { .. } => Action::UpgradeFailed {
                reason: match words {
                    Some(words) => words.sentence,
                    None => format!("the new arbiter {exit} before a worker of it was ready"),
                },
            },
            SuccessorState::Stopping { .. } | SuccessorState::Killed => Action::UpgradeFailed {
                reason: "the new arbiter had no worker that was ready in time".to_owned(),
            },
        });
    }

    pub(super) fn predecessor_gone(&mut self, out: &mut Vec<Action>) {
        if matches!(self.upgrade, UpgradeState::HasPredecessor { .. }) {
            self.upgrade = UpgradeState::Alone;
            out.push(Action::Promote);
        }
    }

    /// Tells the arbiter before this one that this one serves, once: that one may end for it. So it is not said
    /// for the sake of a worker that leaves as soon as it is ready.
    pub(super) fn notify_predecessor(&mut self, out: &mut Vec<Action>) {
        if let UpgradeState::HasPredecessor { notified } = &mut self.upgrade {
            if !std::mem::replace(notified, true) {
                out.push(Action::NotifyPredecessor);
            }
        }
    }

    pub(super) fn enforce_upgrade(&mut self, step: &mut Step<'_>) {
        let grace = self.policy().graceful_timeout;
        // An arbiter that stops needs its successor, late or not.
        let (UpgradeState::HasSuccessor { pid, successor }, Mode::Running) =
            (&mut self.upgrade, &self.mode)
        else {
            return;
        };
        let (next, order) = match *successor {
            SuccessorState::Starting { until: Some(until) } if until <= step.now => {
                let until = step.now + grace + LAST_GRACE;
                (SuccessorState::Stopping { until }, WorkerSignal::Leave)
            }
            SuccessorState::Stopping { until } if until <= step.now => {
                (SuccessorState::Killed, WorkerSignal::Kill)
            }
            _ => return,
        };
        *successor = next;
        step.out.push(Action::StopSuccessor { pid: *pid, order });
    }

    pub(super) fn successor_deadline(&self) -> Option<MonoTime> {
        match (&self.mode, self.upgrade) {
            (Mode::Running, UpgradeState::HasSuccessor { successor, .. }) => match successor {
                SuccessorState::Starting { until } => until,
                SuccessorState::Stopping { until } => Some(until),
                SuccessorState::Ready | SuccessorState::Killed => None,
            },
            _ => None,
        }
    }

    pub(super) fn forgive_successor(&mut self, missed: Duration) {
        if let UpgradeState::HasSuccessor {
            successor:
                SuccessorState::Starting { until: Some(until) } | SuccessorState::Stopping { until },
            ..
        } = &mut self.upgrade
        {
            *until = *until + missed;
        }
    }
}
