//! Time as the crate counts it: [`MonoTime`], nanoseconds of `CLOCK_MONOTONIC`.
//!
//! Not `std::time::Instant`: a heartbeat lives in memory shared between processes, and an `Instant`
//! cannot. Nothing here sleeps.

use std::ops::{Add, Sub};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment on the system's monotonic clock, in nanoseconds since an arbitrary start.
///
/// All processes of a machine read the same clock (`clock_gettime(2)`); it stops while the machine is
/// suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The clock's own start: earlier than every moment that [`MonoTime::now`] gives.
    pub const ZERO: MonoTime = MonoTime(0);

    /// The present moment. One vDSO call, no system call.
    #[must_use]
    pub fn now() -> Self {
        match clock_gettime(ClockId::CLOCK_MONOTONIC) {
            Ok(time) => {
                Self(time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
            }
            // Linux has had this clock since 2.5; clock_gettime(2) has no other way to fail here.
            Err(_) => Self::ZERO,
        }
    }

    /// The moment as a number, for shared memory.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment that [`as_nanos`](Self::as_nanos) gave.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: MonoTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = MonoTime;

    /// Saturates at the clock's end (584 years).
    fn add(self, duration: Duration) -> MonoTime {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        MonoTime(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for MonoTime {
    type Output = MonoTime;

    /// Saturates at the clock's start.
    fn sub(self, duration: Duration) -> MonoTime {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        MonoTime(self.0.saturating_sub(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let earlier = MonoTime::now();
        let later = MonoTime::now();
        assert!(later >= earlier);
        assert_eq!(
            earlier.since(earlier + Duration::from_secs(1)),
            Duration::ZERO
        );
    }

    #[test]
    fn addition_saturates() {
        assert_eq!(
            (MonoTime::from_nanos(5) + Duration::MAX).as_nanos(),
            u64::MAX
        );
        assert_eq!(
            MonoTime::from_nanos(5) - Duration::from_secs(1),
            MonoTime::ZERO
        );
    }
}
