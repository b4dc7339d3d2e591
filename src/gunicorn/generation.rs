//! [`Generation`]: the settings of one reading, with the hooks that its configuration file has set; and which of them is
//! in force.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::functions::HookFunctions;
use crate::arbiter::ArbiterEvent;
use crate::config::Settings;
use crate::hooks::ServerInfo;
use crate::python::gunicorn_names::LoggerSettings;

/// The name under which settings have the hooks of their file.
pub(super) const OBJECT: &str = "server hooks";

/// The settings of one reading, with their hooks.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    number: u64,
    pub(super) settings: Arc<Settings>,
    pub(super) functions: HookFunctions,
    pub(super) loggers: LoggerSettings,
}

impl Generation {
    pub(super) fn of(settings: &Settings, loggers: &LoggerSettings) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);

        let functions = settings.object::<HookFunctions>(OBJECT);
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            settings: Arc::new(settings.clone()),
            functions: functions.cloned().unwrap_or_default(),
            loggers: loggers.clone(),
        }
    }

    /// Whether both are of one reading.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.number == other.number
    }

    /// Whether the objects of this process show other settings. They show these from now on.
    pub(super) fn is_new_to_objects(&self) -> bool {
        static SHOWN: AtomicU64 = AtomicU64::new(0);

        SHOWN.swap(self.number, Ordering::Relaxed) != self.number
    }
}

/// What the hooks of this process are called with: one arbiter is in a process at a time.
#[derive(Debug)]
pub(super) struct State {
    pub(super) server: Option<ServerInfo>,
    /// What is in force; in a worker, what it was forked of.
    pub(super) current: Option<Generation>,
    /// What was read, and is not in force yet.
    pub(super) read: Option<Generation>,
    /// What was in force before the reload that is tried.
    before: Option<Generation>,
    /// Whether a reload reads settings.
    is_reading: bool,
    /// The number of the worker that this process is, until its end was told.
    pub(super) worker: Option<u64>,
    /// Whether it was told that this worker leaves at once.
    pub(super) is_leaving: bool,
    /// The number of workers that a hook was told last.
    pub(super) workers_told: Option<usize>,
}

static STATE: Mutex<State> = Mutex::new(State {
    server: None,
    current: None,
    read: None,
    before: None,
    is_reading: false,
    worker: None,
    is_leaving: false,
    workers_told: None,
});

/// No Python runs while this lock is held, and only the arbiter's or the worker's own threads take it.
pub(super) fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Follows what happens to the arbiter, whose settings are in force from the moment when workers are forked of them.
    pub(super) fn follow(&mut self, server: &ServerInfo, event: &ArbiterEvent) {
        self.server = Some(server.clone());
        match event {
            ArbiterEvent::Starting => self.current = self.read.take(),
            ArbiterEvent::Reloading => self.is_reading = true,
            ArbiterEvent::Reloaded { .. } => {
                self.is_reading = false;
                if let Some(read) = self.read.take() {
                    let before = self.current.replace(read);
                    // Of several reloads that are tried, what was before the first one is kept.
                    self.before = self.before.take().or(before);
                }
            }
            ArbiterEvent::ReloadFailed { .. } if self.is_reading => {
                self.is_reading = false;
                self.read = None;
            }
            ArbiterEvent::ReloadFailed { .. } => {
                if let Some(before) = self.before.take() {
                    self.current = Some(before);
                }
            }
            ArbiterEvent::Ready { .. } => self.before = None,
            _ => {}
        }
    }
}
