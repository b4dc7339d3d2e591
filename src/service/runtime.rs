//! [`ServiceRuntime`]: what a service asks of the threads that call it.

use crate::error::Result;

/// The service's runtime, as the threads that call it see it: Python knows each of its threads, and runs the handlers
/// of signals on one of them alone.
///
/// The turn is what a thread must hold while it is in the service: Python's interpreter lock, or nothing. The
/// service takes it by itself, for as long as it needs it: its caller holds nothing, and may wait.
pub trait ServiceRuntime: Sync {
    /// Runs `work`, which spans the part of a thread's life in which it calls the service. To call it elsewhere is
    /// right, and slow where the runtime has to come to know the thread each time.
    fn enter(&self, work: &mut dyn FnMut()) {
        work();
    }

    /// Runs `work` on each of `count` threads that the runtime starts, as it starts its own; returns when all have
    /// ended. `begun` runs on this thread when all are there, and before `work` runs on any; `woken` runs on this
    /// thread whenever a signal may have come, which [`check_signals`](Self::check_signals) is to be told of.
    ///
    /// `None`, by default: the service does not mind which threads call it, and none was started.
    ///
    /// # Errors
    ///
    /// Fails if a thread cannot be started: `work` has not run then.
    fn run_threads(
        &self,
        count: usize,
        work: &(dyn Fn() + Sync),
        begun: &mut dyn FnMut(),
        woken: &mut dyn FnMut(),
    ) -> Option<Result<()>> {
        let _ = (count, work, begun, woken);
        None
    }

    /// Takes the turn for a moment, which shows that it can be had, and runs the handlers of signals that are due
    /// on this thread. To be called between waits: a signal may have come just before one, and not have ended it.
    ///
    /// # Errors
    ///
    /// Fails with the exception that a signal handler of the application raised.
    fn check_signals(&self) -> Result<()> {
        Ok(())
    }

    /// Tells whether one thread at a time has the turn, so that calls that compute wait for each other.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// Tells whether a thread waits for the turn, as far as the runtime sees that.
    fn is_awaited(&self) -> bool {
        false
    }

    /// The times of this thread's turns since it last called this; `None` where they are not counted.
    fn take_turn_times(&self) -> Option<TurnTimes> {
        None
    }
}

/// How long a thread has waited for the turn, and how long it had it, in nanoseconds. While it works without the turn, and
/// does not ask for it, that is neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnTimes {
    /// How long it waited.
    pub waited: u64,
    /// How long it had the turn.
    pub had: u64,
}

/// The runtime of a service that needs none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRuntime;

impl ServiceRuntime for NoRuntime {}
