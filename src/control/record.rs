//! [`Control`]: what an arbiter's events tell, and no handle: listeners, counts, and the settings in force.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use crate::arbiter::ArbiterEvent;
use crate::config::Settings;
use crate::ipc::profile::ProfileChannel;
use crate::net::Listeners;
use crate::time::MonoTime;

/// A share of the record, for the arbiter's observer and for its reload.
#[derive(Clone, Debug)]
pub(crate) struct Control(pub(super) Rc<RefCell<Record>>);

#[derive(Debug)]
pub(super) struct Record {
    pub(super) begun: MonoTime,
    pub(super) listeners: Vec<ListenerRecord>,
    pub(super) spawned: u64,
    pub(super) exited: u64,
    pub(super) reloads: u64,
    /// Whether another arbiter has the control socket as well, since that was last said.
    pub(super) shares: Option<bool>,
    /// Those in force.
    pub(super) settings: Settings,
    /// What a reload has read.
    read: Option<Settings>,
    trial: Option<Trial>,
    /// Whether a reload reads settings.
    loads: bool,
    last_worker: u64,
    pub(super) profile: Arc<ProfileChannel>,
    /// Until when a profile is being taken.
    pub(super) profiles_until: Rc<Cell<MonoTime>>,
}

/// What was in force before the settings that are tried, and the last worker that has it.
#[derive(Debug)]
struct Trial {
    before: Settings,
    last_worker: u64,
}

#[derive(Debug)]
pub(super) struct ListenerRecord {
    pub(super) address: String,
    pub(super) kind: &'static str,
    pub(super) fd: RawFd,
}

impl Control {
    pub(super) fn new(settings: Settings, profile: Arc<ProfileChannel>) -> Self {
        Self(Rc::new(RefCell::new(Record {
            begun: MonoTime::now(),
            listeners: Vec::new(),
            spawned: 0,
            exited: 0,
            reloads: 0,
            shares: None,
            settings,
            read: None,
            trial: None,
            loads: false,
            last_worker: 0,
            profile,
            profiles_until: Rc::new(Cell::new(MonoTime::ZERO)),
        })))
    }

    /// How workers are told to sample their stacks.
    pub(crate) fn profile(&self) -> Arc<ProfileChannel> {
        Arc::clone(&self.0.borrow().profile)
    }

    /// A reload has read these settings, and may put them in force.
    pub(crate) fn read(&self, settings: &Settings) {
        self.0.borrow_mut().read = Some(settings.clone());
    }

    /// Takes note of an event.
    pub(crate) fn on_event(&self, event: &ArbiterEvent) {
        self.0.borrow_mut().on_event(event);
    }
}

impl Record {
    fn on_event(&mut self, event: &ArbiterEvent) {
        match event {
            ArbiterEvent::Started { listeners } => self.listeners = described(listeners),
            ArbiterEvent::WorkerSpawned { id, .. } => {
                self.spawned += 1;
                self.last_worker = *id;
            }
            ArbiterEvent::WorkerReady { id, .. } => {
                self.trial.take_if(|trial| *id > trial.last_worker);
            }
            ArbiterEvent::WorkerExited { .. } => self.exited += 1,
            ArbiterEvent::Reloading => {
                self.loads = true;
                self.read = None;
            }
            ArbiterEvent::Reloaded { listeners } => {
                self.reloads += 1;
                self.loads = false;
                self.listeners = described(listeners);
                if let Some(read) = self.read.take() {
                    let before = std::mem::replace(&mut self.settings, read);
                    let last_worker = self.last_worker;
                    // What is in force again after several trials is what was there before the first.
                    let trial = self.trial.get_or_insert(Trial {
                        before,
                        last_worker,
                    });
                    trial.last_worker = last_worker;
                }
            }
            ArbiterEvent::ReloadFailed { .. } => {
                let refused = std::mem::take(&mut self.loads);
                if let Some(trial) = self.trial.take_if(|_| !refused) {
                    self.settings = trial.before;
                }
            }
            ArbiterEvent::Upgrading => self.shares = Some(true),
            ArbiterEvent::UpgradeFailed { .. } | ArbiterEvent::Promoted => {
                self.shares = Some(false);
            }
            _ => {}
        }
    }
}

fn described(listeners: &Listeners) -> Vec<ListenerRecord> {
    let record = listeners.iter().map(|listener| ListenerRecord {
        address: listener.to_string(),
        kind: match listener.socket_addr() {
            None => "unix",
            Some(address) if address.is_ipv6() => "tcp6",
            Some(_) => "tcp",
        },
        fd: listener.as_fd().as_raw_fd(),
    });
    record.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_in_force_through_failed_reloads() {
        let settings = |workers| {
            let mut settings = Settings::default();
            settings.workers = workers;
            settings
        };
        let control = Control::new(settings(1), ProfileChannel::new().unwrap());
        let tell = |event| control.on_event(&event);
        let shown = || control.0.borrow().settings.workers;
        let spawned = |id| ArbiterEvent::WorkerSpawned { id, pid: 1 };
        let failed = || ArbiterEvent::ReloadFailed {
            reason: String::new(),
        };
        let reloaded = || ArbiterEvent::Reloaded {
            listeners: Listeners::default(),
        };
        tell(spawned(1));
        // Refused as they are read.
        tell(ArbiterEvent::Reloading);
        tell(failed());
        assert_eq!(shown(), 1);
        // Tried, and given up.
        for workers in [2, 3] {
            tell(ArbiterEvent::Reloading);
            control.read(&settings(workers));
            tell(reloaded());
            assert_eq!(shown(), workers);
        }
        tell(spawned(2));
        tell(failed());
        assert_eq!(shown(), 1);
        // Proven: what fails later changes nothing.
        tell(ArbiterEvent::Reloading);
        control.read(&settings(4));
        tell(reloaded());
        tell(spawned(3));
        tell(ArbiterEvent::WorkerReady { id: 3, pid: 1 });
        tell(ArbiterEvent::Reloading);
        tell(failed());
        assert_eq!(shown(), 4);
        assert_eq!(control.0.borrow().reloads, 3);
    }
}
