//! How an arbiter is followed by another one, with a new program and the same listeners.
//!
//! Neither ends the other but where the new one fails to start, or the settings say so: who goes is for people
//! to decide.
//!
//! ```text
//!   Alone ─ USR2 ─▶ Executing ─▶ Starting ─ first worker ready ─▶ Ready: both serve
//!     ▲                │ cannot be executed  │ too late
//!     │                │                     ▼
//!     ├────────────────┘                 Dismissed: TERM, then KILL
//!     └── the new one has gone ◀─────────────┘
//!
//!   Second (this is the new one) ── the old one has gone ──▶ Alone
//! ```

use super::{Action, Duration, Exit, LAST_GRACE, LastWords, Mode, Order, Supervisor, Tick};

/// Who else has the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// Nobody.
    Alone,
    /// The arbiter that has started this one; `announced` once it was told that this one serves.
    Second { announced: bool },
    /// A process that is being made.
    Executing,
    /// The arbiter that this one has started.
    First { pid: i32, heir: Heir },
}

/// How far the new arbiter has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heir {
    /// To be ready by then.
    Starting { until: Option<Tick> },
    /// It has a worker that can serve.
    Ready,
    /// It has failed, and is to be gone by then.
    Dismissed { until: Tick },
    /// It was killed.
    Killed,
}

impl Supervisor {
    /// The arbiter that follows another one.
    pub(in crate::arbiter) fn second(self) -> Self {
        let kin = Kin::Second { announced: false };
        Self { kin, ..self }
    }

    pub(super) fn upgrade(&mut self, out: &mut Vec<Action>) {
        match self.kin {
            Kin::Alone => {
                self.kin = Kin::Executing;
                out.push(Action::Reexec);
            }
            Kin::Second { .. } => out.push(Action::RefuseUpgrade { successor: None }),
            Kin::First { pid, .. } => out.push(Action::RefuseUpgrade {
                successor: Some(pid),
            }),
            Kin::Executing => {}
        }
    }

    pub(super) fn reexecuted(&mut self, now: Tick, pid: i32) {
        let until = self.limits.boot_timeout.map(|timeout| now + timeout);
        let heir = Heir::Starting { until };
        self.kin = Kin::First { pid, heir };
    }

    pub(super) fn reexec_failed(&mut self, reason: String, out: &mut Vec<Action>) {
        self.kin = Kin::Alone;
        out.push(Action::UpgradeFailed { reason });
    }

    pub(super) fn successor_ready(&mut self, now: Tick, out: &mut Vec<Action>) {
        if let Kin::First { pid, heir } = &mut self.kin {
            if matches!(heir, Heir::Starting { .. }) {
                *heir = Heir::Ready;
                out.push(Action::Upgraded { pid: *pid });
                if self.limits.upgrade_retire {
                    self.stop(now, false, None, out);
                }
            }
        }
    }

    /// It is as if it had never been.
    pub(super) fn successor_gone(
        &mut self,
        exit: Exit,
        words: Option<LastWords>,
        out: &mut Vec<Action>,
    ) {
        let Kin::First { pid, heir } = self.kin else {
            return;
        };
        self.kin = Kin::Alone;
        out.push(match heir {
            Heir::Ready => Action::SuccessorGone { pid, exit },
            Heir::Starting { .. } => Action::UpgradeFailed {
                reason: match words {
                    Some(words) => words.sentence,
                    None => format!("the new arbiter {exit} before a worker of it was ready"),
                },
            },
            Heir::Dismissed { .. } | Heir::Killed => Action::UpgradeFailed {
                reason: "the new arbiter had no worker that was ready in time".to_owned(),
            },
        });
    }

    pub(super) fn predecessor_gone(&mut self, out: &mut Vec<Action>) {
        if matches!(self.kin, Kin::Second { .. }) {
            self.kin = Kin::Alone;
            out.push(Action::Promote);
        }
    }

    /// Tells the arbiter before this one that this one serves, once: that one may end for it. So it is not said
    /// for the sake of a worker that leaves as soon as it is ready.
    pub(super) fn announce(&mut self, out: &mut Vec<Action>) {
        if let Kin::Second { announced } = &mut self.kin {
            if !std::mem::replace(announced, true) {
                out.push(Action::Announce);
            }
        }
    }

    /// Backs out a new arbiter that is late.
    pub(super) fn hasten(&mut self, now: Tick, out: &mut Vec<Action>) {
        // One that stops needs somebody to follow it, late or not.
        let (Kin::First { pid, heir }, Mode::Running) = (&mut self.kin, &self.mode) else {
            return;
        };
        let (next, order) = match *heir {
            Heir::Starting { until: Some(until) } if until <= now => {
                let until = now + self.limits.graceful_timeout + LAST_GRACE;
                (Heir::Dismissed { until }, Order::Leave)
            }
            Heir::Dismissed { until } if until <= now => (Heir::Killed, Order::Kill),
            _ => return,
        };
        *heir = next;
        out.push(Action::Dismiss { pid: *pid, order });
    }

    /// When the new arbiter is late.
    pub(super) fn is_late_at(&self) -> Option<Tick> {
        match (&self.mode, self.kin) {
            (Mode::Running, Kin::First { heir, .. }) => match heir {
                Heir::Starting { until } => until,
                Heir::Dismissed { until } => Some(until),
                Heir::Ready | Heir::Killed => None,
            },
            _ => None,
        }
    }

    /// The time for which the arbiter did not run counts against nobody.
    pub(super) fn forgive_heir(&mut self, missed: Duration) {
        if let Kin::First {
            heir: Heir::Starting { until: Some(until) } | Heir::Dismissed { until },
            ..
        } = &mut self.kin
        {
            *until = *until + missed;
        }
    }
}
