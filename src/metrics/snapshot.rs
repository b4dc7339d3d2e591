//! [`Snapshot`]: the numbers of one moment, and whether the server is ready.

use std::fmt;

use crate::arbiter::{ArbiterState, Backlog, Handle, Status, Totals, WorkerStatus};
use crate::ipc::exemplars::Exemplar;
use crate::ipc::scoreboard::WorkerState;

/// What arbiter and workers do. The numbers are read one by one.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    /// Those of all arbiters and workers since the start; `None` before the arbiter runs.
    pub(crate) totals: Option<Totals>,
    /// Requests that are examples of the buckets of `totals.durations`.
    pub(super) exemplars: Vec<Option<Exemplar>>,
    pub(crate) workers: Vec<WorkerStatus>,
    /// How many clients wait at each address.
    pub(crate) backlogs: Vec<Backlog>,
    pub(crate) readiness: Readiness,
}

/// Whether the server answers requests, or why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// The first workers are not there yet: how many of how many.
    Booting(usize, usize),
    /// The server stops.
    Draining,
    /// There are to be no workers (WINCH).
    Quiesced,
    /// All workers have gone, or are starting.
    NoWorker,
}

impl Readiness {
    /// `answers` is whether this arbiter answers for the server: otherwise the one that does is ready, since it was
    /// chosen for that. `follows` is whether it has taken over from another one: it does that with its first worker, and
    /// the server that was ready before is ready then, too.
    fn of(status: &Status, answers: bool, follows: bool) -> Self {
        match status.state {
            _ if !answers => Self::Ready,
            ArbiterState::Starting if follows && status.ready > 0 => Self::Ready,
            ArbiterState::Stopping | ArbiterState::Ended => Self::Draining,
            ArbiterState::Quiesced => Self::Quiesced,
            ArbiterState::Starting => Self::Booting(status.ready, status.target),
            ArbiterState::Serving | ArbiterState::Reloading if status.ready == 0 => Self::NoWorker,
            ArbiterState::Serving | ArbiterState::Reloading => Self::Ready,
        }
    }

    /// That of the arbiter with this handle.
    pub(crate) fn now(handle: &Handle) -> Self {
        Self::of(&handle.status(), handle.is_speaker(), handle.follows())
    }

    pub(crate) fn is_ready(self) -> bool {
        self == Self::Ready
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Booting(ready, target) => {
                write!(
                    f,
                    "not ready: booting, {ready} of {target} workers are ready"
                )
            }
            Self::Draining => f.write_str("not ready: draining, the server stops"),
            Self::Quiesced => f.write_str("not ready: quiesced, there are to be no workers"),
            Self::NoWorker => f.write_str("not ready: no worker is ready"),
        }
    }
}

impl Snapshot {
    /// Asks the system as well.
    pub(crate) fn of(handle: &Handle) -> Self {
        Self {
            readiness: Readiness::now(handle),
            status: handle.status(),
            totals: handle.shared_totals(),
            exemplars: handle.exemplars(),
            workers: handle.workers(),
            backlogs: handle.backlogs(),
        }
    }

    /// How many clients wait at all addresses.
    pub(crate) fn waiting(&self) -> u64 {
        self.backlogs.iter().map(|it| it.waiting).sum()
    }

    /// How many workers are in this state.
    pub(crate) fn workers_in(&self, state: WorkerState) -> usize {
        self.workers.iter().filter(|it| it.state == state).count()
    }

    /// How many requests workers answer now.
    pub(crate) fn in_flight(&self) -> usize {
        self.workers.iter().map(|it| it.current.len()).sum()
    }

    /// How many requests more they could answer at once.
    pub(crate) fn idle_threads(&self) -> usize {
        let serving = self.workers.iter().filter(|it| serves(it.state));
        let free = |it: &WorkerStatus| (it.threads as usize).saturating_sub(it.current.len());
        serving.map(free).sum()
    }
}

fn serves(state: WorkerState) -> bool {
    matches!(state, WorkerState::Ready | WorkerState::Busy)
}

/// The path of a request's target: a query, and an authority with its credentials, may hold secrets.
pub(crate) fn path(target: &str) -> &str {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let target = &target[..end];
    match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find('/').map_or("/", |start| &rest[start..])
        }
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::CommandQueue;

    /// Of an upgrade whose older arbiter leaves early, a probe sees a server that is ready throughout.
    #[test]
    fn who_takes_over_is_ready_with_its_first_worker() {
        let starting = |ready| {
            let mut status = CommandQueue::new().unwrap().handle().status();
            (status.state, status.ready, status.target) = (ArbiterState::Starting, ready, 2);
            status
        };
        assert_eq!(
            Readiness::of(&starting(1), true, false),
            Readiness::Booting(1, 2)
        );
        assert_eq!(Readiness::of(&starting(1), true, true), Readiness::Ready);
        assert_eq!(
            Readiness::of(&starting(0), true, true),
            Readiness::Booting(0, 2)
        );
    }

    #[test]
    fn a_path_has_no_query_and_no_credentials() {
        for (target, shown) in [
            ("/a/b?token=1", "/a/b"),
            ("/a#b?c", "/a"),
            ("http://user:secret@shop/a?b", "/a"),
            ("http://user:secret@shop", "/"),
            ("/see/http://x/y", "/see/http://x/y"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(path(target), shown, "{target}");
        }
    }
}
