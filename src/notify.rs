//! [`Notifier`]: tells systemd what the arbiter does (`sd_notify(3)`).
//!
//! It is told phases and passes them on; it decides nothing, and a service manager that does not listen is no
//! error. Without `NOTIFY_SOCKET` in the environment it says nothing.
//!
//! | phase | message |
//! |---|---|
//! | all workers are there, also after a reload | `READY=1`, `STATUS=` |
//! | the settings are read again | `RELOADING=1`, `MONOTONIC_USEC=` |
//! | a reload failed | `READY=1`, `STATUS=` with the reason |
//! | a worker came or went | `STATUS=` |
//! | it stops | `STOPPING=1`; `MAINPID=` where a new arbiter serves after an upgrade |
//! | it is alive | `WATCHDOG=1`, where `WATCHDOG_USEC` asks for it |

use std::time::Duration;

use sd_notify::NotifyState;

use crate::arbiter::Phase;
use crate::trace;

/// What systemd was told, as far as the next message needs it.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    ready: usize,
    target: usize,
    /// The new arbiter that serves beside this one.
    successor: Option<u32>,
    /// Whether `READY=1` was said: before that, systemd counts the start.
    was_ready: bool,
}

impl Notifier {
    /// How often systemd wants to hear that the arbiter is alive: half of what it waits
    /// (`sd_watchdog_enabled(3)`).
    pub(crate) fn pulse() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|wait| wait / 2)
    }

    /// Passes a phase on.
    pub(crate) fn follow(&mut self, phase: &Phase) {
        match phase {
            Phase::Resized { to, .. } => self.target = *to,
            Phase::WorkerReady { .. } => self.ready += 1,
            Phase::WorkerExited { .. } => self.ready = self.ready.saturating_sub(1),
            Phase::Upgraded { pid } => self.successor = u32::try_from(*pid).ok(),
            Phase::UpgradeFailed { .. } => self.successor = None,
            _ => {}
        }
        let status = format!("{} of {} workers serve", self.ready, self.target);
        match phase {
            Phase::Ready { .. } => {
                self.was_ready = true;
                say(&[NotifyState::Ready, NotifyState::Status(&status)]);
            }
            Phase::WorkerReady { .. } | Phase::WorkerExited { .. } | Phase::Resized { .. } => {
                say(&[NotifyState::Status(&status)]);
            }
            Phase::Reloading => {
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    say(&[NotifyState::Reloading, now]);
                }
            }
            Phase::ReloadFailed { reason } => {
                let status = format!("{status}; the last reload failed: {reason}");
                let status = status.replace('\n', " ");
                let ready = self.was_ready.then_some(NotifyState::Ready);
                let status = [NotifyState::Status(&status)];
                say(&ready.into_iter().chain(status).collect::<Vec<_>>());
            }
            // Not sooner: with the end of its main process systemd ends the others.
            Phase::Stopping => say(&[match self.successor {
                Some(pid) => NotifyState::MainPid(pid),
                None => NotifyState::Stopping,
            }]),
            Phase::Pulse => say(&[NotifyState::Watchdog]),
            _ => {}
        }
    }
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        trace::debug!("cannot notify the service manager: {error}");
    }
}
