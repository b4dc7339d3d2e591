//! [`Total`]: how much of something all connections of a reactor have together; each has a [`Share`].
//!
//! A connection may be answered, and end, on another thread, and its share ends there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::upgrades::Upgrades;

/// The sums, over all connections of a reactor, that have a bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Bytes of bodies and responses in files.
    pub(super) files: Total,
    /// Bytes of responses in memory.
    pub(super) responses: Total,
    /// Bytes of memory for heads that are not complete.
    pub(super) heads: Total,
    /// Connections that are read for longer than 64 KiB after their last answer.
    pub(super) lingering: Total,
    /// Connections that calls have taken over.
    pub(super) upgrades: Upgrades,
}

/// A sum of shares. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Total(Arc<AtomicU64>);

impl Total {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self, more: u64, most: u64) -> bool {
        self.get().saturating_add(more) <= most
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share {
            of: self.clone(),
            len: 0,
        }
    }
}

/// One connection's part of a [`Total`], until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Total,
    len: u64,
}

impl Share {
    /// Makes it `len`, whatever that makes of the total.
    pub(super) fn set(&mut self, len: u64) {
        if len >= self.len {
            self.of.0.fetch_add(len - self.len, Ordering::Relaxed);
        } else {
            self.of.0.fetch_sub(self.len - len, Ordering::Relaxed);
        }
        self.len = len;
    }

    /// Makes it `len`, unless the total would exceed `most`; returns whether it did. To be called by the thread that
    /// leads: meanwhile only a response that is being sent takes room.
    pub(super) fn reach(&mut self, len: u64, most: u64) -> bool {
        let fits = self.of.has_room(len.saturating_sub(self.len), most);
        if fits {
            self.set(len);
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_a_total_and_end_with_their_owners() {
        let total = Total::default();
        let (mut one, mut two) = (total.share(), total.share());
        assert!(one.reach(6, 10) && !two.reach(5, 10) && two.reach(4, 10));
        assert_eq!(total.get(), 10);
        two.set(7);
        assert!(!one.reach(7, 10), "there is more than there may be");
        one.set(1);
        assert_eq!(total.get(), 8);
        drop((one, two));
        assert_eq!(total.get(), 0);
    }
}
