//! The workers that exist, as the supervisor knows them: one [`WorkerRow`] each, from the wish for it to its
//! end.
//!
//! No process is touched here. A row has one deadline at a time, and its stage says what falls due.
//!
//! ```text
//!   Forking ──▶ Booting ── ready ──▶ Serving ── asked ──▶ Leaving
//!      │           │                    │                    │
//!      │     boot_ │                    │ timeout            │ graceful_timeout, 2 s
//!      │   timeout │                    ▼                    │
//!      ▼           └───────────────▶ Examined ── 0.1 s ──▶ Aborted ── 1 s ──▶ Killed ◀┘
//!    (gone)                                                exited: (gone), from every stage
//! ```
//!
//! *Invariants*: ids, slots and process ids are each held by one row at most; ids only grow.

use super::action::{Action, SignalReason};
use super::policy::{GroupId, Policy, Supervised};
use crate::ipc::worker_signal::WorkerSignal;
use crate::time::MonoTime;

/// Where a worker is in its life, and what its deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerStage {
    /// It was asked for; whether the fork succeeded is not known yet.
    Forking,
    /// It exists. Deadline: it must be ready.
    Booting,
    /// It is ready. Deadline: it must have shown progress.
    Serving,
    /// It was asked to leave. Deadline: it must be gone.
    Leaving,
    /// It was asked for its stacks, and is going to be aborted. Deadline: when.
    Examined,
    /// It was aborted. Deadline: it must be gone.
    Aborted,
    /// It was killed: nothing more can be done.
    Killed,
}

#[derive(Clone, Debug)]
pub(super) struct WorkerRow {
    pub(super) id: u64,
    pub(super) slot: usize,
    pub(super) group: GroupId,
    /// What a worker and its replacement have in common, and no other worker of the group.
    pub(super) queue_id: usize,
    pub(super) generation: u64,
    /// Those settings: it is held to no others.
    pub(super) policy: Policy,
    pub(super) pid: Option<i32>,
    pub(super) stage: WorkerStage,
    pub(super) deadline: Option<MonoTime>,
    pub(super) ready: Option<MonoTime>,
    pub(super) recycle_due: bool,
    /// It is not one of those that are to be there: its replacement is there already, or none follows.
    pub(super) retired: bool,
    /// The request that it was told to give up: since when it has been in it, and when it was told.
    pub(super) stuck: Option<(MonoTime, MonoTime)>,
    pub(super) kill_reason: Option<SignalReason>,
}

impl WorkerRow {
    /// Whether it is being ended, and cannot serve.
    pub(super) fn is_going(&self) -> bool {
        matches!(
            self.stage,
            WorkerStage::Examined | WorkerStage::Aborted | WorkerStage::Killed
        )
    }

    pub(super) fn signal(&self, order: WorkerSignal, why: SignalReason) -> Option<Action> {
        self.pid.map(|pid| Action::Signal {
            pid,
            slot: self.slot,
            order,
            why,
        })
    }
}

/// The rows, oldest first.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<WorkerRow>,
    slots: usize,
    last: u64,
}

impl Table {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            rows: Vec::new(),
            slots,
            last: 0,
        }
    }

    /// Enters a new worker; `None` where all slots are taken.
    pub(super) fn enter(
        &mut self,
        group: GroupId,
        queue_id: usize,
        Supervised { generation, policy }: Supervised,
    ) -> Option<&WorkerRow> {
        let taken = |slot: &usize| self.rows.iter().any(|row| row.slot == *slot);
        let slot = (0..self.slots).find(|slot| !taken(slot))?;
        self.last += 1;
        self.rows.push(WorkerRow {
            id: self.last,
            slot,
            group,
            queue_id,
            generation,
            policy,
            pid: None,
            stage: WorkerStage::Forking,
            deadline: None,
            ready: None,
            recycle_due: false,
            retired: false,
            stuck: None,
            kill_reason: None,
        });
        self.rows.last()
    }

    pub(super) fn remove(&mut self, which: impl FnMut(&WorkerRow) -> bool) -> Option<WorkerRow> {
        let index = self.rows.iter().position(which)?;
        Some(self.rows.remove(index))
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut WorkerRow> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, WorkerRow> {
        self.rows.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, WorkerRow> {
        self.rows.iter_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
