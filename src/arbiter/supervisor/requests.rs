//! Requests that take too long: their worker is told to give one up, and is replaced.

use super::{
    MonoTime, STUCK_GRACE, SignalReason, Step, Supervisor, WorkerSignal, WorkerStage, retire,
};

impl Supervisor {
    /// A worker has been in one request since then: for too long? That of a worker that leaves counts too: it has
    /// no more time than others.
    pub(super) fn in_call(&mut self, id: u64, since: MonoTime, alone: bool, step: &mut Step<'_>) {
        // While the arbiter was stopped, the worker may have been, too.
        let resumed = self.resumed;
        let counted = |from: MonoTime| step.now.since(from.max(resumed));
        let Some(row) = self.table.get_mut(id) else {
            return;
        };
        let Some(timeout) = row.policy.request_timeout else {
            return;
        };
        let hopeless = alone || row.policy.calls == 1;
        let told = row.stuck.filter(|(call, _)| *call == since);
        match (row.stage, told) {
            (WorkerStage::Serving | WorkerStage::Examined | WorkerStage::Leaving, None)
                if counted(since) >= timeout =>
            {
                let why = SignalReason::Stuck(step.now.since(since));
                row.stuck = Some((since, step.now));
                // One that is examined shows its stacks already.
                if row.stage != WorkerStage::Examined {
                    step.out.extend(row.signal(WorkerSignal::Stacks, why));
                }
                step.out
                    .extend(row.signal(WorkerSignal::Expire, SignalReason::Examined));
                if row.stage != WorkerStage::Leaving {
                    row.kill_reason.get_or_insert(why);
                    retire(row, step);
                }
            }
            // Nothing else of this worker can be finished, or is left to be.
            (WorkerStage::Leaving, Some((_, at))) if hopeless && counted(at) >= STUCK_GRACE => {
                row.deadline = Some(step.now);
            }
            _ => {}
        }
    }
}
