//! What a [`Handle`] asks of single workers, and [`StackRequest`], the question for their stacks.

use std::mem::take;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Handle;
use super::completion::{Completion, Progress};
use super::worker_order::{ShownStacks, WorkerOrder, WorkerStacks};
use crate::error::{Error, Result};

#[expect(
    clippy::must_use_candidate,
    reason = "an order is done whether its end is waited for or not"
)]
impl Handle {
    /// Puts another worker in the place of this one, by its [number](super::WorkerStatus::id), as if it had served for long enough:
    /// it leaves when the other is ready. The command is done when the arbiter has taken note of it, and has failed where no
    /// such worker serves.
    pub fn recycle(&self, worker: u64) -> Completion {
        self.order(WorkerOrder::Recycle(worker))
    }

    /// Kills a worker by its [number](super::WorkerStatus::id) (SIGKILL): its requests are lost, and another takes its place. It is
    /// done when the signal was sent.
    pub fn kill(&self, worker: u64) -> Completion {
        self.order(WorkerOrder::Kill(worker))
    }

    /// Asks for the stacks of the threads of all workers, as they are now, also where C code holds the interpreter. It needs
    /// the arbiter's process; a worker is not told.
    #[must_use = "what is asked for has to be taken"]
    pub fn stacks(&self) -> StackRequest {
        let shown = Arc::default();
        let completion = self.order(WorkerOrder::Stacks(Arc::clone(&shown)));
        StackRequest { completion, shown }
    }
}

/// A question for the stacks of all workers, asked by [`Handle::stacks`](super::Handle::stacks).
#[derive(Clone, Debug)]
pub struct StackRequest {
    completion: Completion,
    shown: ShownStacks,
}

impl StackRequest {
    /// The stacks, by the workers' numbers, if they are there: given once. Never waits.
    ///
    /// # Errors
    ///
    /// Where the question was refused, or the arbiter has ended.
    pub fn take(&self) -> Result<Option<Vec<WorkerStacks>>> {
        match self.completion.progress() {
            Progress::Done => Ok(Some(take(
                &mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner),
            ))),
            Progress::Failed { reason } => Err(Error::new(reason)),
            _ => Ok(None),
        }
    }

    /// Waits until the stacks are there: given once. It takes a second at the most in an arbiter that has nothing else to
    /// do.
    ///
    /// # Errors
    ///
    /// Those of [`Completion::wait`].
    pub fn wait(&self, timeout: Duration) -> Result<Vec<WorkerStacks>> {
        self.completion.wait(timeout)?;
        Ok(self.take()?.unwrap_or_default())
    }
}
