//! [`CallTimeAverage`]: whether the calls of a sync worker take so long that no connection should be kept for it.
//!
//! It closes nothing and reads no clock.

use std::cell::Cell;
use std::time::Duration;

use crate::time::MonoTime;

/// The last call's weight in the average is one in this number.
const WEIGHT: u32 = 4;

/// How long recent calls took: a moving average.
#[derive(Debug)]
pub(super) struct CallTimeAverage {
    /// What is too long; `None` where nothing is.
    limit: Option<Duration>,
    recent: Cell<Duration>,
    since: Cell<Option<MonoTime>>,
}

impl CallTimeAverage {
    /// For a worker among `workers`: where it is alone, a connection that waits for it loses nothing.
    /// A limit of zero is none.
    pub(super) fn new(limit: Duration, workers: usize) -> Self {
        Self {
            limit: Some(limit).filter(|limit| workers > 1 && !limit.is_zero()),
            recent: Cell::default(),
            since: Cell::default(),
        }
    }

    pub(super) fn begin(&self, now: MonoTime) {
        self.since.set(Some(now));
    }

    pub(super) fn end(&self, now: MonoTime) {
        self.recent.set(self.average(now));
        self.since.set(None);
    }

    /// Whether recent calls were too long, if the running one ends now.
    pub(super) fn is_long(&self, now: impl FnOnce() -> MonoTime) -> bool {
        self.limit.is_some_and(|limit| self.average(now()) > limit)
    }

    fn average(&self, now: MonoTime) -> Duration {
        let recent = self.recent.get();
        let took = self.since.get().map_or(recent, |since| now.since(since));
        (recent / WEIGHT * (WEIGHT - 1)).saturating_add(took / WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_millis(millis)
    }

    /// After calls of these durations in milliseconds, what does the next one look like when it answers?
    fn is_long(average: &CallTimeAverage, calls: &[u64]) -> bool {
        let Some((last, before)) = calls.split_last() else {
            return false;
        };
        for call in before {
            average.begin(at(0));
            average.end(at(*call));
        }
        average.begin(at(0));
        let long = average.is_long(|| at(*last));
        average.end(at(*last));
        long
    }

    #[test]
    fn calls_are_long_when_their_moving_average_is() {
        for (calls, long) in [
            (&[1, 1, 1, 1][..], false),
            (&[199], false),
            (&[201], true),
            (&[60; 4], false),
            (&[60; 8], true),
            (&[1000, 1], true),
            (&[1000, 1, 1, 1, 1, 1, 1, 1], false),
        ] {
            assert_eq!(
                is_long(&CallTimeAverage::new(LIMIT, 2), calls),
                long,
                "{calls:?}"
            );
        }
    }

    #[test]
    fn a_single_worker_or_one_without_a_limit_keeps_connections() {
        for average in [
            CallTimeAverage::new(LIMIT, 1),
            CallTimeAverage::new(Duration::ZERO, 4),
        ] {
            assert!(!is_long(&average, &[10_000; 8]));
        }
    }
}
