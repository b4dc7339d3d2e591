//! [`Batch`]: which responses of one turn leave together.
//!
//! Each response that leaves by itself may wake a client, which costs more than many a call. So while other requests of
//! the turn are ready, and calls are short, the system holds a complete response back until no more requests are taken
//! before the next poll. It reads no clock.
//!
//! *Invariants*: a response that is held back leaves before the reactor waits for anything, and, since a timer or
//! another thread sees to it, a millisecond or some three after it was written, whatever calls take.

use std::time::Duration;

/// The weight of the last call in the average is one in this number.
const WEIGHT: u32 = 4;

/// With shorter calls many clients are awake still, and what is saved is less than what holding back costs: it paid from
/// about 15 us on.
const SHORTEST: Duration = Duration::from_micros(20);

/// With longer calls few responses would leave together.
const LONGEST: Duration = Duration::from_micros(250);

/// The length of the longest response that is held back, in bytes: most of a longer one has left before its end is
/// written.
pub(super) const LARGEST: usize = 16 * 1024;

/// How long recent calls took: a moving average.
#[derive(Debug, Default)]
pub(super) struct Batch {
    recent: Duration,
}

impl Batch {
    /// Whether the response to the next request waits for those of the `others` that are ready.
    pub(super) fn holds_back(&self, others: bool) -> bool {
        others && (SHORTEST..=LONGEST).contains(&self.recent)
    }

    /// A call has taken that long.
    pub(super) fn note(&mut self, took: Duration) {
        self.recent = (self.recent / WEIGHT * (WEIGHT - 1)).saturating_add(took / WEIGHT);
    }
}
