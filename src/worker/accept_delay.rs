//! [`AcceptDelay`]: leaves new connections to workers that have fewer, for a moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::WorkerContext;
use crate::reactor::Admit;
use crate::time::MonoTime;

/// How often a worker with more connections than the others looks whether they have caught up.
const RETRY: Duration = Duration::from_millis(1);
/// For how long it leaves new connections to them.
const LIMIT: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct AcceptDelay {
    /// Since when, in nanoseconds; 0 while it does not.
    since: AtomicU64,
}

impl AcceptDelay {
    /// May one more connection be accepted, as far as the other workers are concerned?
    pub(super) fn admit(&self, context: &WorkerContext, now: MonoTime, open: usize) -> Admit {
        if context.orders.is_broken_off() {
            return Admit::Closed;
        }
        let least = context.least_loaded_other();
        let since = match self.since.load(Ordering::Relaxed) {
            0 => now,
            nanos => MonoTime::from_nanos(nanos),
        };
        let lighter = least.is_some_and(|least| open as u64 > u64::from(least));
        if !lighter || now.since(since) >= LIMIT {
            self.since.store(0, Ordering::Relaxed);
            return Admit::Accept;
        }
        self.since.store(since.as_nanos(), Ordering::Relaxed);
        Admit::Later(RETRY)
    }
}
