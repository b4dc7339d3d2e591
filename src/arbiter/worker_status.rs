//! [`WorkerStatus`]: one worker as a handle tells of it.

use std::sync::Arc;
use std::time::Duration;

use super::Handle;
use crate::ipc::scoreboard::{Scoreboard, WorkerState};
use crate::sys::memory;
use crate::time::MonoTime;

/// A worker that is there. The numbers are read one by one: together they are no snapshot of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its number, from 1 on; a replacement has a number of its own.
    pub id: u64,
    /// The name of its group: `main` for the first.
    pub group: Arc<str>,
    /// The number of the generation of settings that it was started with, from 1 on; a reload begins a new one.
    pub generation: u64,
    /// Its process id; 0 in the instant of its fork.
    pub pid: i32,
    /// How many requests it may answer at once.
    pub threads: u32,
    /// How long ago it was forked.
    pub age: Duration,
    /// How long ago it last showed that it makes progress.
    pub silence: Duration,
    /// What it is doing.
    pub state: WorkerState,
    /// How many connections it has open.
    pub connections: u32,
    /// How many requests it has answered.
    pub requests: u64,
    /// The requests that it is answering now, the oldest first.
    pub current: Vec<CurrentRequest>,
}

impl WorkerStatus {
    /// Its resident memory now, in bytes, as `/proc` tells it (`proc_pid_statm(5)`); `None` where it has gone, or `/proc`
    /// is hidden.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        (self.pid > 0).then(|| memory::resident(self.pid))?
    }
}

/// A request that a worker is answering.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentRequest {
    /// Its method, cut to 20 bytes; empty in the instant when the worker writes it.
    pub method: String,
    /// Its target, cut to its first bytes (at least 108); empty in the instant when the worker writes it.
    pub target: String,
    /// How long ago its call began.
    pub age: Duration,
    /// The thread that is in it, by the number under which debuggers and Python list it (`pthread_self(3)`).
    pub thread: u64,
}

impl Handle {
    /// The workers that are there, by their numbers.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let groups = self.group_names();
        self.scoreboard()
            .map_or_else(Vec::new, |it| workers(it, groups))
    }
}

fn workers(scoreboard: &Scoreboard, groups: &[Arc<str>]) -> Vec<WorkerStatus> {
    let now = MonoTime::now();
    let mut workers: Vec<WorkerStatus> = scoreboard
        .workers()
        .map(|slot| {
            let mut calls: Vec<_> = slot.calls().collect();
            calls.sort_by_key(|call| call.started);
            let current = calls.into_iter().map(|call| {
                let (method, target) = call.request.unwrap_or_default();
                CurrentRequest {
                    method,
                    target,
                    age: now.since(call.started),
                    thread: call.thread,
                }
            });
            WorkerStatus {
                id: slot.id(),
                group: groups.get(slot.group()).cloned().unwrap_or_default(),
                generation: slot.generation(),
                pid: slot.pid(),
                threads: slot.threads(),
                age: now.since(slot.started()),
                silence: now.since(slot.heard()),
                state: slot.state(),
                connections: slot.connections(),
                requests: slot.requests(),
                current: current.collect(),
            }
        })
        .collect();
    workers.sort_by_key(|worker| worker.id);
    workers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::totals::Counters;

    #[test]
    fn workers_are_told_by_number_with_their_groups_and_requests() {
        let (counters, _) = Counters::new().unwrap();
        let scoreboard = Scoreboard::new(4, 2, counters).unwrap();
        let groups = ["main".into(), "consumer".into()];
        let start = MonoTime::now();
        scoreboard.assign(0, 7, 1, 2, start);
        scoreboard.assign(2, 3, 0, 2, start);
        scoreboard.slot(2).set_generation(5);
        let slot = scoreboard.own_slot(0);
        slot.set_state(WorkerState::Ready);
        let first = slot.begin_request(start, "GET", "/first");
        let _ = slot.begin_request(start + Duration::from_nanos(1), "POST", "/second");
        let told = workers(&scoreboard, &groups);
        assert_eq!(told.iter().map(|it| it.id).collect::<Vec<_>>(), [3, 7]);
        assert_eq!(
            (&*told[0].group, told[0].state),
            ("main", WorkerState::Starting)
        );
        assert_eq!((told[0].generation, told[0].threads), (5, 2));
        assert_eq!(
            (&*told[1].group, told[1].state),
            ("consumer", WorkerState::Busy)
        );
        let targets = |worker: &WorkerStatus| -> Vec<String> {
            let current = worker.current.iter();
            current.map(|request| request.target.clone()).collect()
        };
        assert_eq!(targets(&told[1]), ["/first", "/second"]);
        slot.end_request(first, MonoTime::now());
        let told = workers(&scoreboard, &groups);
        assert_eq!(
            (targets(&told[1]), told[1].requests),
            (vec!["/second".into()], 1)
        );
    }
}
