//! [`Examination`]: the question for the stacks of all workers, until the last of them is there.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use crate::arbiter::completion::Ticket;
use crate::arbiter::worker_order::{ShownStacks, WorkerStacks};
use crate::ipc::worker_signal::WorkerSignal;
use crate::time::MonoTime;

/// How long a worker may take to show its stacks.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Examination {
    ticket: Ticket,
    shown: ShownStacks,
    /// Those that have not answered.
    asked: BTreeSet<i32>,
    until: MonoTime,
}

impl Examination {
    /// Asks these workers, which are there, by process id and number.
    pub(super) fn begin(
        ticket: Ticket,
        shown: ShownStacks,
        workers: impl Iterator<Item = (i32, u64)>,
    ) -> Self {
        let mut asked = BTreeSet::new();
        let mut all = Vec::new();
        for (pid, id) in workers {
            // In a worker without stacks the signal has no effect.
            if WorkerSignal::Stacks.send(pid).is_ok() {
                asked.insert(pid);
            }
            all.push(WorkerStacks {
                id,
                pid,
                text: None,
            });
        }
        all.sort_by_key(|it| it.id);
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = all;
        ticket.take();
        Self {
            ticket,
            shown,
            asked,
            until: MonoTime::now() + PATIENCE,
        }
    }

    /// Takes a worker's stacks, if it still owes some.
    pub(super) fn take(&mut self, pid: i32, text: &str) -> bool {
        let owed = self.asked.remove(&pid);
        if owed {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            let worker = shown.iter_mut().find(|it| it.pid == pid);
            if let Some(worker) = worker {
                worker.text = Some(text.to_owned());
            }
        }
        owed
    }

    /// Waits for a worker no longer: it has gone, or what it shows is for the log.
    pub(super) fn forget(&mut self, pid: i32) {
        self.asked.remove(&pid);
    }

    /// Answers the question, if all is there or the time is over; gives itself back otherwise.
    pub(super) fn proceed(self, now: MonoTime) -> Option<Self> {
        if !self.asked.is_empty() && now < self.until {
            return Some(self);
        }
        self.ticket.finish();
        None
    }
}
