//! Least rates: [`MinRate`], what a client must bring or take on average, and [`SendRate`], how fast it takes what is
//! pending for it.
//!
//! They know no socket and read no clock.

use std::time::Duration;

use crate::time::MonoTime;

/// A client is slow below this multiple of its least rate: where all places are taken, it may lose its own to another.
const SLOW: u64 = 16;

/// How many bytes a second a client must bring or take on average, once a grace is over; 0 for any number.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRate {
    pub(super) rate: u64,
    pub(super) grace: Duration,
}

impl MinRate {
    /// Until when `bytes` since `since` are enough; `None` where it may be as slow as it likes.
    pub(super) fn deadline(self, since: MonoTime, bytes: u64) -> Option<MonoTime> {
        let nanos = bytes.saturating_mul(1_000_000_000).checked_div(self.rate)?;
        Some(since + Duration::from_nanos(nanos).max(self.grace))
    }

    /// The earlier of `soon` and the [deadline](Self::deadline).
    pub(super) fn bound(self, soon: MonoTime, since: MonoTime, bytes: u64) -> MonoTime {
        self.deadline(since, bytes)
            .map_or(soon, |deadline| soon.min(deadline))
    }

    /// Tells whether the client is slow, though not too slow.
    pub(super) fn is_slow(self, since: MonoTime, bytes: u64, now: MonoTime) -> bool {
        let wanted = Self {
            rate: self.rate.saturating_mul(SLOW),
            ..self
        };
        wanted
            .deadline(since, bytes)
            .is_some_and(|deadline| deadline <= now)
    }
}

/// A client's progress since something became pending for it. Only the time in which something is pending counts: a
/// service may be as slow as it likes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendRate {
    since: MonoTime,
    /// When it was last seen to have taken more.
    moved: MonoTime,
    /// Bytes that it has taken.
    taken: u64,
    /// The number of bytes handed over at the beginning.
    handed: u64,
    unsent: u64,
}

impl SendRate {
    /// Begins with a system that was `handed` that many bytes by now, and has not delivered `unsent` of them.
    pub(super) fn new(now: MonoTime, handed: u64, unsent: u64) -> Self {
        Self {
            since: now,
            moved: now,
            taken: 0,
            handed,
            unsent,
        }
    }

    /// Notes what the client has taken by now.
    pub(super) fn note(&mut self, now: MonoTime, handed: u64, unsent: u64) {
        let owed = (handed - self.handed).saturating_add(self.unsent);
        let taken = owed.saturating_sub(unsent);
        if taken > self.taken {
            self.taken = taken;
            self.moved = now;
        }
    }

    /// When it has to have come further: within `timeout`, and before its average rate falls below `least`.
    pub(super) fn due(&self, timeout: Duration, least: MinRate) -> MonoTime {
        least.bound(self.moved + timeout, self.since, self.taken)
    }

    /// Tells whether it is [slow](MinRate::is_slow) on average, or since it last took anything: its system may have
    /// taken much at once, into a large buffer, that the client does not read.
    pub(super) fn is_slow(&self, now: MonoTime, least: MinRate) -> bool {
        least.is_slow(self.since, self.taken, now) || least.is_slow(self.moved, 0, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(seconds)
    }

    const TIMEOUT: Duration = Duration::from_secs(30);
    const LEAST: MinRate = MinRate {
        rate: 500,
        grace: Duration::from_secs(20),
    };
    const NONE: MinRate = MinRate { rate: 0, ..LEAST };

    #[test]
    fn a_client_is_checked_after_progress_and_before_a_low_rate() {
        // What it has taken, by when, and when it has to have taken more.
        for (taken, now, due) in [
            (0, 0, 20),
            (9_999, 15, 20),
            (15_000, 25, 30),
            (1_000_000, 25, 55),
        ] {
            let mut rate = SendRate::new(at(0), 9, 70);
            rate.note(at(now), 9 + taken, 70);
            assert_eq!(rate.due(TIMEOUT, LEAST), at(due), "{taken} by {now}");
        }
    }

    #[test]
    fn bytes_delivered_are_progress_and_bytes_buffered_are_not() {
        let mut rate = SendRate::new(at(0), 0, 1_000_000);
        rate.note(at(5), 500_000, 1_500_000);
        assert_eq!(rate.due(TIMEOUT, LEAST), at(20));
        rate.note(at(15), 500_000, 700_000);
        rate.note(at(40), 500_000, 700_000);
        assert_eq!(rate.due(TIMEOUT, LEAST), at(45));
    }

    #[test]
    fn a_client_is_slow_below_a_multiple_of_the_rate_after_grace() {
        let mut rate = SendRate::new(at(0), 0, 0);
        rate.note(at(5), 80_000, 0);
        assert!(!rate.is_slow(at(9), LEAST));
        rate.note(at(20), 500 * SLOW * 25, 0);
        assert!(!rate.is_slow(at(24), LEAST) && rate.is_slow(at(25), LEAST));
        assert!(!rate.is_slow(at(1000), NONE));
    }

    #[test]
    fn a_client_that_stops_is_slow_however_much_it_took_before() {
        let mut rate = SendRate::new(at(0), 0, 0);
        rate.note(at(1), 500 * SLOW * 60, 0);
        assert!(!rate.is_slow(at(20), LEAST) && rate.is_slow(at(21), LEAST));
        rate.note(at(21), 500 * SLOW * 60 + 1, 0);
        assert!(!rate.is_slow(at(40), LEAST) && rate.is_slow(at(41), LEAST));
        assert!(!rate.is_slow(at(1000), NONE));
    }

    #[test]
    fn without_a_rate_any_progress_will_do() {
        let mut rate = SendRate::new(at(0), 0, 0);
        rate.note(at(500), 1, 0);
        assert_eq!(rate.due(TIMEOUT, NONE), at(530));
    }
}
