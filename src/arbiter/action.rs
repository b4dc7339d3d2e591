//! What the [`Supervisor`](super::supervisor::Supervisor) is told and what it wants done.
//!
//! Only words: nothing here does anything.

use std::time::Duration;

use super::command::Command;
use super::policy::Supervised;
use crate::error::{Error, Kind};
use crate::ipc::link::LastWords;
use crate::ipc::worker_signal::WorkerSignal;
use crate::sys::fork::Exit;
use crate::time::MonoTime;

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
    /// [`Request::LoadConfig`] has found settings that can be used: a new generation for each group, in order.
    Loaded(Vec<Supervised>),
    /// It has not.
    LoadFailed,
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
    /// What has an answer.
    Ask(Request),
    /// Give a worker an order.
    Signal {
        pid: i32,
        slot: usize,
        order: WorkerSignal,
        why: SignalReason,
    },
    /// A worker is going to be replaced.
    Recycle { pid: i32, reason: RecycleReason },
    /// A generation that was on trial is dropped for newer settings.
    Supersede { generation: u64 },
    /// The generation on trial has proven good: the one that was in force before is dropped.
    CommitReload { proven: u64, dropped: u64 },
    /// The generation on trial is dropped, and the one before it is in force again, because of this.
    RevertReload { dropped: u64, reason: String },
    /// Open the arbiter's own logs again.
    ReopenLogs,
    /// As many workers as there are to be can do their work, for the first time.
    Ready,
    /// The number of workers that there are to be, in all groups, has changed.
    Resized { from: usize, to: usize },
    /// Forget a worker that has gone.
    Reaped(ExitReport),
    /// A fork has failed; it is tried again after `retry`.
    ForkRetry { reason: String, retry: Duration },
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

/// What the supervisor asks for: each request is answered by one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Fork a worker of this generation. It has the queue of the one that it is to replace. Answered by
    /// [`Input::Forked`] or [`Input::ForkFailed`].
    Spawn {
        id: u64,
        slot: usize,
        queue_id: usize,
        generation: u64,
    },
    /// Read the settings again. Answered by [`Input::Loaded`] or [`Input::LoadFailed`].
    LoadConfig,
    /// Make a process of the program, as it is now, that is to follow this one. Answered by
    /// [`Input::Reexecuted`] or [`Input::ReexecFailed`].
    Reexec,
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
