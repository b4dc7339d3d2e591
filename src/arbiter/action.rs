//! What the [`Supervisor`](super::supervisor::Supervisor) is told and what it wants done.
//!
//! Only words: nothing here does anything.

use std::time::Duration;

use super::command::Command;
use crate::error::{Error, Kind};
use crate::ipc::link::LastWords;
use crate::ipc::worker_signal::WorkerSignal;
use crate::sys::fork::Exit;
use crate::time::MonoTime;

/// The settings that supervision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// The target at the start, and after a reload.
    pub(super) workers: usize,
    /// How long a ready worker may be without progress; `None` is for ever.
    pub(super) timeout: Option<Duration>,
    /// How long a request may take; `None` is for ever.
    pub(super) request_timeout: Option<Duration>,
    /// How old a worker may grow before it is replaced; `None` is as old as it likes.
    pub(super) max_worker_age: Option<Duration>,
    /// After how many requests a worker is replaced; `None` is never.
    pub(super) max_requests: Option<u64>,
    /// How many more those may be, at random: so that not all workers are replaced at the same time.
    pub(super) max_requests_jitter: u64,
    /// Of how many bytes of resident memory a worker is replaced; `None` is never.
    pub(super) max_worker_memory: Option<u64>,
    /// How many requests a worker answers at once.
    pub(super) calls: usize,
    /// How long a worker may take to be ready; `None` is for ever.
    pub(super) boot_timeout: Option<Duration>,
    /// How long a worker that was asked to leave may take.
    pub(super) graceful_timeout: Duration,
    /// Whether the arbiter stops when the one that it has started to follow it is ready.
    pub(super) upgrade_retire: bool,
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
    Beat { id: u64, at: MonoTime },
    /// Worker `id` has served for long enough: it is to be replaced, and serves until it is.
    RecycleDue { id: u64, reason: RecycleReason },
    /// Worker `id` has been in a request since then; `alone` where it has nothing else to do.
    InCall {
        id: u64,
        since: MonoTime,
        alone: bool,
    },
    /// [`Action::LoadConfig`] has found settings that can be used.
    Loaded(Limits),
    /// A process ended. `ready` is whether it had said so, even if no [`Input::Ready`] came of it.
    Exited {
        pid: i32,
        exit: Exit,
        ready: bool,
        words: Option<LastWords>,
    },
    /// The process of the next arbiter was made.
    Reexecuted { pid: i32 },
    /// It was not.
    ReexecFailed { reason: String },
    /// The next arbiter has a worker that can serve.
    SuccessorReady,
    /// The next arbiter has ended.
    SuccessorGone {
        exit: Exit,
        words: Option<LastWords>,
    },
    /// The arbiter that has started this one has ended.
    PredecessorGone,
    /// Everything else that is known has been said: look at the deadlines.
    Wake,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Fork a worker, and report [`Input::Forked`] or [`Input::ForkFailed`]. It has the queue of the one that it
    /// is to replace.
    Spawn {
        id: u64,
        slot: usize,
        queue_id: usize,
    },
    /// Give a worker an order.
    Signal {
        pid: i32,
        slot: usize,
        order: WorkerSignal,
        why: SignalReason,
    },
    /// A worker is going to be replaced.
    Recycle { pid: i32, reason: RecycleReason },
    /// Read the settings again, and report [`Input::Loaded`] if they can be used. What is in force stays at
    /// hand, unless it is on trial itself: then what was before it does, and it is given up for them.
    LoadConfig,
    /// The new settings have proven good: what was in force before can go.
    CommitReload,
    /// The new settings are given up for what was in force before, because of this.
    RevertReload { reason: String },
    /// Open the arbiter's own logs again.
    ReopenLogs,
    /// As many workers as there are to be can do their work, for the first time.
    Ready,
    /// The number of workers that there are to be has changed.
    Resized { from: usize, to: usize },
    /// Forget a worker that has gone.
    Reaped(ExitReport),
    /// A fork has failed; it is tried again after `retry`.
    ForkRetry { reason: String, retry: Duration },
    /// Make a process of the program, as it is now, that is to follow this one, and report
    /// [`Input::Reexecuted`] or [`Input::ReexecFailed`].
    Reexec,
    /// There are two arbiters already: the other one is this process, or this one's predecessor.
    RefuseUpgrade { successor: Option<i32> },
    /// The new arbiter serves.
    Upgraded { pid: i32 },
    /// The new arbiter is not ready in time: end it.
    StopSuccessor { pid: i32, order: WorkerSignal },
    /// There is no new arbiter after all.
    UpgradeFailed { reason: String },
    /// The new arbiter has ended, after it had served.
    SuccessorGone { pid: i32, exit: Exit },
    /// Tell the arbiter that has started this one that this one serves.
    NotifyPredecessor,
    /// This arbiter is the only one from now on.
    Promote,
    /// Stop listening, since the arbiter is about to end.
    StopListening,
    /// End: with the cause where it was a failure. Processes may be left only if they cannot be killed.
    Exit(Result<(), Failure>),
}

/// Why a worker is sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalReason {
    /// The arbiter stops.
    Stop,
    /// There are to be fewer workers, or another one does its work.
    Retired,
    /// It has been in a request for so long.
    Stuck(Duration),
    /// It has shown no progress for so long.
    Silent(Duration),
    /// It was not ready within the time for it.
    NotReady(Duration),
    /// It was asked to leave, or aborted, and did not go.
    Overdue,
    /// What follows where the reason was told with an order before.
    Examined,
    /// The logs are opened again.
    Logs,
}

/// Why a worker has served for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecycleReason {
    /// So many requests.
    Requests(u64),
    /// So much time.
    Age(Duration),
    /// So many bytes of memory.
    Memory(u64),
}

/// A worker that has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExitReport {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) slot: usize,
    pub(super) exit: Exit,
    pub(super) words: Option<String>,
    /// What we had ended it for, if we had.
    pub(super) kill_reason: Option<SignalReason>,
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

impl Failure {
    /// Why, in a sentence.
    pub(super) fn into_sentence(self) -> String {
        match self {
            Self::App(sentence) | Self::Boot(sentence) | Self::Fork(sentence) => sentence,
        }
    }
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
