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

/// The settings that supervision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// The target at the start, and after a reload.
    pub(super) workers: usize,
    /// How long a ready worker may be without progress; `None` is without a bound.
    pub(super) timeout: Option<Duration>,
    /// How long a request may take; `None` is without a bound.
    pub(super) request_timeout: Option<Duration>,
    /// How old a worker may grow before it is replaced; `None` is without a bound.
    pub(super) max_worker_age: Option<Duration>,
    /// After how many requests a worker is replaced; `None` is never.
    pub(super) max_requests: Option<u64>,
    /// How many more those may be, at random: so that not all workers are replaced at the same time.
    pub(super) max_requests_jitter: u64,
    /// Of how many bytes of resident memory a worker is replaced; `None` is never.
    pub(super) max_worker_memory: Option<u64>,
    /// How many requests a worker answers at once.
    pub(super) calls: usize,
    /// How long a worker may take to be ready; `None` is without a bound.
    pub(super) boot_timeout: Option<Duration>,
    /// How long a worker that was asked to leave may take.
    pub(super) graceful_timeout: Duration,
    /// Whether the arbiter stops when the one that it has started to follow it is ready.
    pub(super) upgrade_retire: bool,
}

impl Policy {
    /// The default policy of workers that answer `calls` requests at once.
    pub(super) fn new(calls: usize) -> Self {
        let default = Settings::default();
        Self {
            workers: default.workers,
            timeout: unless_zero(default.timeout),
            request_timeout: unless_zero(default.request_timeout),
            max_requests: None,
            max_requests_jitter: 0,
            max_worker_age: None,
            max_worker_memory: None,
            calls,
            boot_timeout: unless_zero(default.boot_timeout),
            graceful_timeout: default.graceful_timeout,
            upgrade_retire: default.upgrade_retire,
        }
    }
}

/// A duration that bounds something; zero bounds nothing.
pub(super) fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}
