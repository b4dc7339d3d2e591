//! [`Notifier`]: tells systemd what the arbiter does (`sd_notify(3)`).
//!
//! It is told events and passes them on; it decides nothing, and a service manager that does not listen is no
//! error. Without `NOTIFY_SOCKET` in the environment it says nothing.
//!
//! | event | message |
//! |---|---|
//! | all workers are there, also after a reload | `READY=1`, `STATUS=` |
//! | the settings are read again | `RELOADING=1`, `MONOTONIC_USEC=` |
//! | a reload failed | `READY=1`, `STATUS=` with the reason |
//! | a worker came or went | `STATUS=` |
//! | it stops | `STOPPING=1`; `MAINPID=` where a new arbiter serves after an upgrade |
//! | it is the only arbiter after an upgrade | `MAINPID=`, `READY=1`, `STATUS=` |
//! | it is alive | `WATCHDOG=1`, where `WATCHDOG_USEC` asks for it |
//!
//! A unit has one main process, and with its end, or a `STOPPING=1` of anybody, systemd ends all of it. So:
//!
//! ```text
//!   Main ── stops while a new one serves: MAINPID= ──▶ Former: says no more
//!    ▲
//!    └── the old one has gone: MAINPID= ── Second: neither STOPPING=1 nor STATUS=
//! ```

use std::process;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::arbiter::ArbiterEvent;
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
    stopping: bool,
    standing: Standing,
}

/// Whom this arbiter speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// The unit.
    #[default]
    Main,
    /// Itself: the arbiter that it follows is the main process, or was until a moment ago.
    Second,
    /// Nobody: the unit goes on with another one.
    Former,
}

impl Notifier {
    /// How often systemd wants to hear that the arbiter is alive: half of what it waits
    /// (`sd_watchdog_enabled(3)`).
    pub(crate) fn pulse() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|wait| wait / 2)
    }

    /// Passes a event on.
    pub(crate) fn follow(&mut self, event: &ArbiterEvent) {
        match event {
            ArbiterEvent::Resized { to, .. } => self.target = *to,
            ArbiterEvent::WorkerReady { .. } => self.ready += 1,
            ArbiterEvent::WorkerExited { .. } => self.ready = self.ready.saturating_sub(1),
            ArbiterEvent::Ready { .. } => self.was_ready = true,
            ArbiterEvent::Stopping => self.stopping = true,
            ArbiterEvent::Upgraded { pid } => self.successor = u32::try_from(*pid).ok(),
            ArbiterEvent::UpgradeFailed { .. } => self.successor = None,
            ArbiterEvent::Following { .. } => self.standing = Standing::Second,
            ArbiterEvent::Promoted => self.standing = Standing::Main,
            _ => {}
        }
        if self.standing == Standing::Former {
            return;
        }
        let status = self.status(event);
        let status = (self.standing == Standing::Main).then_some(NotifyState::Status(&status));
        let ready = if self.stopping {
            Some(NotifyState::Stopping)
        } else {
            self.was_ready.then_some(NotifyState::Ready)
        };
        match event {
            ArbiterEvent::Ready { .. } | ArbiterEvent::ReloadFailed { .. } => {
                say(ready.into_iter().chain(status));
            }
            ArbiterEvent::WorkerReady { .. }
            | ArbiterEvent::WorkerExited { .. }
            | ArbiterEvent::Resized { .. } => {
                say(status);
            }
            ArbiterEvent::Reloading => {
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    say([NotifyState::Reloading, now]);
                }
            }
            // Not sooner: the new one may be ended yet.
            ArbiterEvent::Stopping => {
                if let Some(pid) = self.successor {
                    self.standing = Standing::Former;
                    say([NotifyState::MainPid(pid)]);
                } else if self.standing == Standing::Main {
                    say([NotifyState::Stopping]);
                }
            }
            // What was said before may not have been heard (`NotifyAccess=`, systemd.service(5)).
            ArbiterEvent::Promoted => {
                let me = NotifyState::MainPid(process::id());
                say([me].into_iter().chain(ready).chain(status));
            }
            ArbiterEvent::Pulse => say([NotifyState::Watchdog]),
            _ => {}
        }
    }

    /// What `systemctl status` shows: one line.
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

fn say<'a>(states: impl IntoIterator<Item = NotifyState<'a>>) {
    let states: Vec<_> = states.into_iter().collect();
    if states.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(&states) {
        trace::debug!("cannot notify the service manager: {error}");
    }
}
