//! What the [`Supervisor`](super::supervisor::Supervisor) is told and what it wants done.
//!
//! Only words: nothing here does anything.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::command::Command;
use crate::clock::Tick;
use crate::error::{Error, Kind};
use crate::sys::fork::Exit;
use crate::sys::link::LastWords;

/// The settings that supervision needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The target at the start.
    pub(super) workers: usize,
    /// The most processes at once, leaving ones included.
    pub(super) slots: usize,
    /// How long a ready worker may be without progress; `None` is for ever.
    pub(super) timeout: Option<Duration>,
    /// How long a worker may take to be ready; `None` is for ever.
    pub(super) boot_timeout: Option<Duration>,
    /// How long a worker that was asked to leave may take.
    pub(super) graceful_timeout: Duration,
}

/// What has happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// The arbiter was told to do something.
    Command(Command),
    /// The fork of worker `id` succeeded.
    Forked { id: u64, pid: i32 },
    /// It did not.
    ForkFailed { id: u64, reason: String },
    /// Worker `id` can do its work.
    Ready { id: u64 },
    /// Worker `id` made progress.
    Beat { id: u64, at: Tick },
    /// A process ended. `ready` is whether it had said so, even if no [`Input::Ready`] came of it.
    Exited {
        pid: i32,
        exit: Exit,
        ready: bool,
        words: Option<LastWords>,
    },
    /// Everything else that is known has been said: look at the deadlines.
    Wake,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Fork a worker, and report [`Input::Forked`] or [`Input::ForkFailed`].
    Spawn { id: u64, slot: usize },
    /// Send a signal.
    Signal {
        pid: i32,
        slot: usize,
        signal: Signal,
        why: Why,
    },
    /// Forget a worker that has gone.
    Bury(Obituary),
    /// A fork has failed; it is tried again after `retry`.
    Regret { reason: String, retry: Duration },
    /// Stop listening, since the arbiter is about to end.
    StopListening,
    /// End: with the cause where it was a failure. Processes may be left only if they cannot be killed.
    Exit(Result<(), Failure>),
}

/// Why a worker is sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The arbiter stops.
    Stop,
    /// There are to be fewer workers.
    Retired,
    /// It has shown no progress for so long.
    Silent(Duration),
    /// It was not ready within the time for it.
    NotReady(Duration),
    /// It was asked to leave, or aborted, and did not go.
    Overdue,
}

/// A worker that has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obituary {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) slot: usize,
    pub(super) exit: Exit,
    pub(super) words: Option<String>,
    /// What we had ended it for, if we had.
    pub(super) doom: Option<Why>,
    /// After how long the next attempt is made, where it died early.
    pub(super) retry: Option<Duration>,
}

/// Why the arbiter could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A worker did not find its application.
    App(String),
    /// A worker failed before it was ready, for another reason.
    Boot(String),
    /// There can be no worker.
    Fork(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::App(sentence) => Error::app(sentence),
            Failure::Boot(sentence) => Error::boot(sentence),
            Failure::Fork(sentence) => Error::of(Kind::Io, sentence),
        }
    }
}
