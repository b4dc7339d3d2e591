//! How attempts slow down while workers die early: [`Backoff`].
//!
//! Two kinds of attempts are told apart. Those for workers that had been ready are *owed*: whatever fails elsewhere,
//! they are made at once, or after a second at the most. All others wait ever longer, but for the first one.

use std::time::Duration;

use crate::time::MonoTime;

/// The pause before the second attempt; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);

/// How long one that is owed waits at the most.
pub(super) const LONGEST_OWED: Duration = Duration::from_secs(1);
/// How many of those that are owed are made at once within that time: a worker that is ready in no time, and crashes
/// then, is not to keep the machine busy.
pub(super) const AT_ONCE: u32 = 16;

/// A count of early deaths, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    pub(super) last: MonoTime,
    not_before: MonoTime,
    /// How many attempts are owed, and from when on.
    owed: usize,
    owed_from: MonoTime,
    /// How many of them there were, and since when.
    burst: (MonoTime, u32),
}

impl Backoff {
    /// One more; gives the pause before the next attempt, `longest` at most.
    pub(super) fn fail(&mut self, now: MonoTime, longest: Duration) -> Duration {
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(16)).min(longest),
        };
        self.failures = self.failures.saturating_add(1);
        self.last = now;
        self.not_before = now + pause;
        pause
    }

    /// One for a worker that had been ready is to be made now, or very soon where there were too many.
    pub(super) fn owe(&mut self, now: MonoTime) {
        let (since, count) = &mut self.burst;
        if now.since(*since) >= LONGEST_OWED {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        let from = if *count > AT_ONCE {
            *since + LONGEST_OWED
        } else {
            now
        };
        self.owe_from(from);
    }

    /// The same after a pause, which grows with each; gives it.
    pub(super) fn owe_after_failure(&mut self, now: MonoTime) -> Duration {
        let pause = self.fail(now, LONGEST_OWED);
        self.owe_from(self.not_before);
        pause
    }

    /// Those that wait already wait no longer for it.
    fn owe_from(&mut self, from: MonoTime) {
        self.owed_from = if self.owed > 0 {
            self.owed_from.min(from)
        } else {
            from
        };
        self.owed += 1;
    }

    /// Whether an attempt may be made now; `trying` if another one is not over.
    pub(super) fn allows(&self, now: MonoTime, trying: bool) -> bool {
        let owed = self.owed > 0 && now >= self.owed_from;
        // While attempts fail, one at a time is made.
        owed || now >= self.not_before && !(trying && self.failures > 1)
    }

    pub(super) fn attempted(&mut self) {
        self.owed = self.owed.saturating_sub(1);
    }

    /// All workers are there: no replacement is owed.
    pub(super) fn all_are_there(&mut self) {
        self.owed = 0;
    }

    /// Attempts have come to something: the next failure is the first one.
    pub(super) fn forget(&mut self) {
        *self = Self {
            owed: self.owed,
            owed_from: self.owed_from,
            burst: self.burst,
            ..Self::default()
        };
    }

    /// When the next attempt may be made that may not be made by now.
    pub(super) fn next(&self, now: MonoTime) -> Option<MonoTime> {
        let owed = (self.owed > 0).then_some(self.owed_from);
        let next = owed.into_iter().chain([self.not_before]);
        next.filter(|next| *next > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_immediate_and_each_next_waits_double() {
        let mut backoff = Backoff::default();
        let longest = Duration::from_secs(30);
        let pauses: Vec<u128> = (0..10)
            .map(|_| backoff.fail(MonoTime::ZERO, longest).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]
        );
        assert_eq!(backoff.next(MonoTime::ZERO), Some(MonoTime::ZERO + longest));
    }

    #[test]
    fn what_is_owed_waits_for_no_failure_and_for_no_other_attempt() {
        let mut backoff = Backoff::default();
        for _ in 0..8 {
            backoff.fail(MonoTime::ZERO, Duration::from_secs(30));
        }
        assert!(!backoff.allows(MonoTime::ZERO, false));
        backoff.owe(MonoTime::ZERO);
        assert!(backoff.allows(MonoTime::ZERO, true));
        backoff.attempted();
        assert!(!backoff.allows(MonoTime::ZERO, true));
        assert_eq!(backoff.owe_after_failure(MonoTime::ZERO), LONGEST_OWED);
        assert_eq!(
            backoff.next(MonoTime::ZERO),
            Some(MonoTime::ZERO + LONGEST_OWED)
        );
        assert!(!backoff.allows(MonoTime::ZERO, false));
        assert!(backoff.allows(MonoTime::ZERO + LONGEST_OWED, true));
        backoff.all_are_there();
        assert!(!backoff.allows(MonoTime::ZERO + LONGEST_OWED, true));
    }

    #[test]
    fn of_what_is_owed_not_everything_is_made_at_once() {
        let mut backoff = Backoff::default();
        for _ in 0..AT_ONCE {
            backoff.owe(MonoTime::ZERO);
            assert!(backoff.allows(MonoTime::ZERO, true));
            backoff.attempted();
        }
        backoff.fail(MonoTime::ZERO, LONGEST_OWED);
        backoff.fail(MonoTime::ZERO, LONGEST_OWED);
        backoff.owe(MonoTime::ZERO);
        assert!(!backoff.allows(MonoTime::ZERO, false));
        assert!(backoff.allows(MonoTime::ZERO + LONGEST_OWED, true));
        backoff.owe(MonoTime::ZERO + LONGEST_OWED);
        assert!(backoff.allows(MonoTime::ZERO + LONGEST_OWED, true));
    }
}
