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
    Command(Command),
    Forked {
        id: u64,
        pid: i32,
    },
    ForkFailed {
        id: u64,
        reason: String,
    },
    Ready {
        id: u64,
    },
    Beat {
        id: u64,
        at: MonoTime,
    },
    /// Worker `id` has served for long enough: it is to be replaced, and serves until it is.
    RecycleDue {
        id: u64,
        reason: RecycleReason,
    },
    /// Worker `id` has been in a request since then; `alone` where it has nothing else to do.
    InCall {
        id: u64,
        since: MonoTime,
        alone: bool,
    },
    /// [`Request::LoadConfig`] has found settings that can be used: a new generation for each group, in order.
    Loaded(Vec<Supervised>),
    LoadFailed,
    /// A process ended. `ready` is whether it had said so, even if no [`Input::Ready`] came of it.
    Exited {
        pid: i32,
        exit: Exit,
        ready: bool,
        words: Option<LastWords>,
    },
    Reexecuted {
        pid: i32,
    },
    ReexecFailed {
        reason: String,
    },
    /// The next arbiter has a worker that can serve.
    SuccessorReady,
    SuccessorGone {
        exit: Exit,
        words: Option<LastWords>,
    },
    PredecessorGone,
    /// Everything else that is known has been said: look at the deadlines.
    Wake,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Ask(Request),
    Signal {
        pid: i32,
        slot: usize,
        order: WorkerSignal,
        why: SignalReason,
    },
    Recycle {
        pid: i32,
        reason: RecycleReason,
    },
    /// A generation that was on trial is dropped for newer settings.
    Supersede {
        generation: u64,
    },
    /// The generation on trial has proven good: the one that was in force before is dropped.
    CommitReload {
        proven: u64,
        dropped: u64,
    },
    /// The generation on trial is dropped, and the one before it is in force again, because of this.
    RevertReload {
        dropped: u64,
        reason: String,
    },
    ReopenLogs,
    /// As many workers as there are to be can do their work, for the first time.
    Ready,
    /// The number of workers that there are to be, in all groups, has changed.
    Resized {
        from: usize,
        to: usize,
    },
    Reaped(ExitReport),
    /// A fork has failed; it is tried again after `retry`.
    ForkRetry {
        reason: String,
        retry: Duration,
    },
    /// There are two arbiters already: the other one is this process, or this one's predecessor.
    RefuseUpgrade {
        successor: Option<i32>,
    },
    Upgraded {
        pid: i32,
    },
    /// The new arbiter is not ready in time: end it.
    StopSuccessor {
        pid: i32,
        order: WorkerSignal,
    },
    UpgradeFailed {
        reason: String,
    },
    /// The new arbiter has ended, after it had served.
    SuccessorGone {
        pid: i32,
        exit: Exit,
    },
    /// Tell the arbiter that has started this one that this one serves.
    NotifyPredecessor,
    /// This arbiter is the only one from now on.
    Promote,
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
    Logs,
}

/// Why a worker has served for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecycleReason {
    Requests(u64),
    Age(Duration),
    Memory(u64),
    /// Someone has asked for it.
    Asked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExitReport {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) slot: usize,
    pub(super) exit: Exit,
    pub(super) words: Option<String>,
    /// What we had ended it for, if we had.
    pub(super) kill_reason: Option<SignalReason>,
    /// Whether it was asked to leave before, which is no fault of its.
    pub(super) asked_to_leave: bool,
    /// After how long the next attempt is made, where it died early.
    pub(super) retry: Option<Duration>,
}

/// Why the arbiter could not go on, in a sentence: a worker did not find its application (`App`) or failed in another way
/// before it was ready (`Boot`), or there can be no worker (`Io`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) sentence: String,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::of(failure.kind, failure.sentence)
    }
}
