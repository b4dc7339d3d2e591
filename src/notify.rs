//! [`Notifier`]: reports the arbiter's state to systemd (`sd_notify(3)`).
//!
//! It turns events into messages and decides nothing. A message that systemd does not receive is no error. Without
//! `NOTIFY_SOCKET` in the environment nothing is sent.
//!
//! | event | message |
//! |---|---|
//! | all workers are ready, also after a reload | `READY=1`, `STATUS=` |
//! | the settings are read again | `RELOADING=1`, `MONOTONIC_USEC=` |
//! | a reload failed | `READY=1`, `STATUS=` with the reason |
//! | a worker came or went | `STATUS=` |
//! | the arbiter stops | `STOPPING=1`; `MAINPID=` where a new arbiter serves after an upgrade |
//! | the arbiter is the only one after an upgrade | `MAINPID=`, `READY=1`, `STATUS=` |
//! | the arbiter is alive | `WATCHDOG=1`, where `WATCHDOG_USEC` asks for it |
//!
//! A unit has one main process. When that ends, or when any process sends `STOPPING=1`, systemd ends the whole unit. So
//! an arbiter has a role in its unit:
//!
//! ```text
//!   Main ── stops while a new one serves: MAINPID= ──▶ Predecessor: sends no more
//!    ▲
//!    └── the old one has ended: MAINPID= ── Successor: sends neither STOPPING=1 nor STATUS=
//! ```

use std::process;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::arbiter::ArbiterEvent;
use crate::trace;

/// The state that the next message depends on.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    ready: usize,
    target: usize,
    /// The new arbiter that serves beside this one.
    successor: Option<u32>,
    /// Whether `READY=1` was sent. Before that, systemd counts the time of the start.
    was_ready: bool,
    stopping: bool,
    role: UnitRole,
}

/// The role of this arbiter in its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UnitRole {
    /// It is the unit's main process.
    #[default]
    Main,
    /// The arbiter before it is the main process, or was until a moment ago.
    Successor,
    /// Another arbiter has become the main process.
    Predecessor,
}

impl Notifier {
    /// The interval at which systemd expects a sign of life: half of its timeout (`sd_watchdog_enabled(3)`).
    pub(crate) fn pulse() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|wait| wait / 2)
    }

    /// Sends the messages of an event.
    pub(crate) fn follow(&mut self, event: &ArbiterEvent) {
        match event {
            ArbiterEvent::Resized { to, .. } => self.target = *to,
            ArbiterEvent::WorkerReady { .. } => self.ready += 1,
            ArbiterEvent::WorkerExited { .. } => self.ready = self.ready.saturating_sub(1),
            ArbiterEvent::Ready { .. } => self.was_ready = true,
            ArbiterEvent::Stopping => self.stopping = true,
            ArbiterEvent::Upgraded { pid } => self.successor = u32::try_from(*pid).ok(),
            ArbiterEvent::UpgradeFailed { .. } => self.successor = None,
            ArbiterEvent::Following { .. } => self.role = UnitRole::Successor,
            ArbiterEvent::Promoted => self.role = UnitRole::Main,
            _ => {}
        }
        if self.role == UnitRole::Predecessor {
            return;
        }
        let status = self.status(event);
        let status = (self.role == UnitRole::Main).then_some(NotifyState::Status(&status));
        let ready = if self.stopping {
            Some(NotifyState::Stopping)
        } else {
            self.was_ready.then_some(NotifyState::Ready)
        };
        match event {
            ArbiterEvent::Ready { .. } | ArbiterEvent::ReloadFailed { .. } => {
                send(ready.into_iter().chain(status));
            }
            ArbiterEvent::WorkerReady { .. }
            | ArbiterEvent::WorkerExited { .. }
            | ArbiterEvent::Resized { .. } => {
                send(status);
            }
            ArbiterEvent::Reloading => {
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    send([NotifyState::Reloading, now]);
                }
            }
            // Only now, since the new arbiter could still have been ended before.
            ArbiterEvent::Stopping => {
                if let Some(pid) = self.successor {
                    self.role = UnitRole::Predecessor;
                    send([NotifyState::MainPid(pid)]);
                } else if self.role == UnitRole::Main {
                    send([NotifyState::Stopping]);
                }
            }
            // systemd may have ignored the earlier messages (`NotifyAccess=`, systemd.service(5)).
            ArbiterEvent::Promoted => {
                let me = NotifyState::MainPid(process::id());
                send([me].into_iter().chain(ready).chain(status));
            }
            ArbiterEvent::Pulse => send([NotifyState::Watchdog]),
            _ => {}
        }
    }

    /// The line that `systemctl status` shows.
    fn status(&self, event: &ArbiterEvent) -> String {
        let status = format!("{} of {} workers serve", self.ready, self.target);
        match event {
            ArbiterEvent::ReloadFailed { reason } => {
                format!("{status}; the last reload failed: {reason}").replace('\n', " ")
            }
            _ => status,
        }
    }
}

fn send<'a>(states: impl IntoIterator<Item = NotifyState<'a>>) {
    let states: Vec<_> = states.into_iter().collect();
    if states.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(&states) {
        trace::debug!("cannot notify the service manager: {error}");
    }
}
