//! [`Policy`]: the bounds of the workers of one group; [`GroupId`]: which group that is.
//!
//! Only values: nothing here does anything.

use std::time::Duration;

use crate::config::Settings;

/// A kind of worker that an arbiter runs, by its place in the arbiter's list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId(pub(super) usize);

impl GroupId {
    /// The one that signals without a name act on, and that has the arbiter's listeners.
    pub(super) const FIRST: Self = Self(0);
}

/// A generation that is to be supervised: its number, which no other one has, and its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supervised {
    pub(super) generation: u64,
    pub(super) policy: Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// The target at the start, and after a reload.
    pub(super) workers: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) max_worker_age: Option<Duration>,
    pub(super) max_requests: Option<u64>,
    /// How many more those may be, at random: so that not all workers are replaced at the same time.
    pub(super) max_requests_jitter: u64,
    pub(super) max_worker_memory: Option<u64>,
    /// How many requests a worker answers at once.
    pub(super) calls: usize,
    pub(super) boot_timeout: Option<Duration>,
    pub(super) graceful_timeout: Duration,
    /// Whether the arbiter stops when the one that it has started to follow it is ready.
    pub(super) upgrade_retire: bool,
}

impl Policy {
    /// That of the settings, for workers that answer `calls` requests at once.
    pub(super) fn of(settings: &Settings, calls: usize) -> Self {
        Self {
            workers: settings.workers,
            timeout: unless_zero(settings.timeout),
            request_timeout: unless_zero(settings.request_timeout),
            max_requests: unless_zero(settings.max_requests),
            max_requests_jitter: settings.max_requests_jitter,
            max_worker_age: unless_zero(settings.max_worker_age),
            max_worker_memory: unless_zero(settings.max_worker_memory),
            calls,
            boot_timeout: unless_zero(settings.boot_timeout),
            graceful_timeout: settings.graceful_timeout,
            upgrade_retire: settings.upgrade_retire,
        }
    }
}

/// What bounds something; zero bounds nothing.
pub(super) fn unless_zero<T: Default + PartialEq>(bound: T) -> Option<T> {
    (bound != T::default()).then_some(bound)
}
