//! A process of the simulated world: what it is, and what the supervisor can know of it.
//!
//! It decides nothing about itself: the world's dice do.

use super::super::{Duration, Exit, MonoTime, Policy, Supervised, WorkerSignal};

/// The settings that processes are forked with.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    /// Whether workers can boot with them.
    pub(super) good: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "none excludes another")]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) id: u64,
    pub(super) slot: usize,
    pub(super) queue_id: usize,
    pub(super) group: usize,
    pub(super) generation: u64,
    pub(super) policy: Policy,

    /// When it will say that it is ready.
    pub(super) boots: Option<MonoTime>,
    /// It has said so.
    pub(super) booted: bool,
    /// From when on it makes no progress.
    pub(super) hangs: Option<MonoTime>,
    /// When it shows progress next.
    pub(super) beats: Option<MonoTime>,
    /// The request that it is in, since when and how long.
    pub(super) call: Option<(MonoTime, Duration)>,
    pub(super) dies: Option<(MonoTime, Exit)>,
    pub(super) unkillable: bool,
    /// It has died, which the supervisor does not know yet.
    pub(super) gone: bool,

    /// The supervisor knows that it is ready.
    pub(super) ready: bool,
    /// Since when.
    pub(super) since: MonoTime,
    /// It has said that it has served for long enough.
    pub(super) wants_recycling: bool,
    /// It is being replaced for that.
    pub(super) recycle_due: bool,
    /// What it was told last, of that which ends a worker.
    pub(super) told: Option<WorkerSignal>,
    /// The call that it is in is all that it still has to do.
    pub(super) hopeless: bool,
    /// Which call it was told to give up, and when.
    pub(super) expired: Option<(MonoTime, MonoTime)>,
    /// By when it must be told something else.
    pub(super) due: Option<MonoTime>,
}

impl Process {
    pub(super) fn new(
        id: u64,
        (slot, queue_id): (usize, usize),
        group: usize,
        Supervised { generation, policy }: Supervised,
    ) -> Self {
        Self {
            pid: 0,
            id,
            slot,
            queue_id,
            group,
            generation,
            policy,
            boots: None,
            booted: false,
            hangs: None,
            beats: None,
            call: None,
            dies: None,
            unkillable: false,
            gone: false,
            ready: false,
            since: MonoTime::ZERO,
            wants_recycling: false,
            recycle_due: false,
            told: None,
            hopeless: false,
            expired: None,
            due: None,
        }
    }

    pub(super) fn is_hung(&self, now: MonoTime) -> bool {
        self.hangs.is_some_and(|hangs| hangs <= now)
    }

    /// As far as the supervisor can know.
    pub(super) fn serves(&self) -> bool {
        self.ready && self.told.is_none()
    }

    /// It is ready, and was not told to go: one that is examined may be spared.
    pub(super) fn may_serve(&self) -> bool {
        self.ready && matches!(self.told, None | Some(WorkerSignal::Stacks))
    }

    /// It has shown that it lives, `at` that moment.
    pub(super) fn is_alive(&mut self, at: MonoTime) {
        let silence = self.policy.timeout.map(|timeout| at + timeout);
        match self.told {
            None => self.due = self.due.max(silence),
            Some(WorkerSignal::Stacks) => {
                self.told = None;
                self.due = silence;
            }
            _ => {}
        }
    }
}
