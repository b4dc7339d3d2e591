//! How attempts slow down while workers die early: [`Backoff`].
//!
//! It never delays the replacement of one worker that died: the first attempt after a death is always made
//! at once.

use std::time::Duration;

use crate::clock::Tick;

/// The pause before the second attempt; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);

/// A count of early deaths, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Tick,
    not_before: Tick,
}

impl Backoff {
    /// One more; gives the pause before the next attempt, `longest` at most.
    pub(super) fn fail(&mut self, now: Tick, longest: Duration) -> Duration {
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(16)).min(longest),
        };
        self.failures = self.failures.saturating_add(1);
        self.last = now;
        self.not_before = now + pause;
        pause
    }

    /// Whether attempts are being slowed down.
    pub(super) fn is_on(&self) -> bool {
        self.failures > 1
    }

    /// When the last one was.
    pub(super) fn last(&self) -> Tick {
        self.last
    }

    /// When the next attempt may be made.
    pub(super) fn not_before(&self) -> Tick {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once_and_each_further_one_waits_twice_as_long() {
        let mut backoff = Backoff::default();
        let longest = Duration::from_secs(30);
        let pauses: Vec<u128> = (0..10)
            .map(|_| backoff.fail(Tick::ZERO, longest).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]
        );
        assert_eq!(backoff.not_before(), Tick::ZERO + longest);
    }
}
