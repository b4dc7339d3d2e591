//! The connections' deadlines: one each, moved often, rarely met.
//!
//! It reads no clock and makes no system call.
//!
//! Moving a deadline later costs two stores: the heap keeps the earlier entry, and finds out when that
//! comes up that it is not due. So a kept connection, whose deadline moves with every request, touches the
//! heap once in a keep-alive period.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::MonoTime;

/// One optional deadline for each key. Keys are small integers, as a slab gives them.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    pub(super) entries: Vec<Entry>,
    heap: BinaryHeap<Reverse<(MonoTime, usize)>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) at: Option<MonoTime>,
    /// The one heap entry of this key that counts.
    queued: Option<MonoTime>,
}

impl Deadlines {
    pub(super) fn set(&mut self, key: usize, at: MonoTime) {
        if key >= self.entries.len() {
            self.entries.resize(key + 1, Entry::default());
        }
        let entry = &mut self.entries[key];
        entry.at = Some(at);
        if entry.queued.is_none_or(|queued| at < queued) {
            entry.queued = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// Moves the deadline of `key` to `at`, if it has one and it is later.
    pub(super) fn advance(&mut self, key: usize, at: MonoTime) {
        if self.entries.get(key).and_then(|entry| entry.at) > Some(at) {
            self.set(key, at);
        }
    }

    pub(super) fn clear(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.at = None;
        }
    }

    /// When to look again: never later than the first deadline.
    pub(super) fn next(&self) -> Option<MonoTime> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one key whose deadline has come, and with it the deadline.
    pub(super) fn expired(&mut self, now: MonoTime) -> Option<usize> {
        while let Some(&Reverse((queued, key))) = self.heap.peek() {
            if queued > now {
                return None;
            }
            self.heap.pop();
            let entry = &mut self.entries[key];
            if entry.queued != Some(queued) {
                continue;
            }
            entry.queued = None;
            match entry.at {
                Some(at) if at <= now => {
                    entry.at = None;
                    return Some(key);
                }
                Some(at) => self.set(key, at),
                None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> MonoTime {
        MonoTime::from_nanos(n)
    }

    fn all(deadlines: &mut Deadlines, now: u64) -> Vec<usize> {
        std::iter::from_fn(|| deadlines.expired(at(now))).collect()
    }

    #[test]
    fn deadlines_come_due_in_order() {
        let mut deadlines = Deadlines::default();
        deadlines.set(2, at(20));
        deadlines.set(0, at(10));
        deadlines.set(1, at(30));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(all(&mut deadlines, 25), [0, 2]);
        assert_eq!(deadlines.next(), Some(at(30)));
    }

    #[test]
    fn a_deadline_that_moved_later_is_not_met_early() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, at(10));
        deadlines.set(0, at(50));
        assert_eq!(all(&mut deadlines, 49), [] as [usize; 0]);
        assert_eq!(all(&mut deadlines, 50), [0]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_that_moved_earlier_is_met_once() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, at(50));
        deadlines.set(0, at(10));
        assert_eq!(all(&mut deadlines, 10), [0]);
        assert_eq!(all(&mut deadlines, 60), [] as [usize; 0]);
    }

    #[test]
    fn an_advanced_deadline_is_never_moved_later() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, at(50));
        deadlines.set(1, at(10));
        (0..3).for_each(|key| deadlines.advance(key, at(20)));
        assert_eq!(all(&mut deadlines, 19), [1]);
        assert_eq!(all(&mut deadlines, 60), [0]);
    }

    #[test]
    fn a_cleared_deadline_never_comes_and_its_key_is_free() {
        let mut deadlines = Deadlines::default();
        deadlines.set(3, at(10));
        deadlines.clear(3);
        deadlines.set(3, at(40));
        assert_eq!(all(&mut deadlines, 39), [] as [usize; 0]);
        assert_eq!(all(&mut deadlines, 40), [3]);
    }

    #[test]
    fn moving_a_deadline_later_does_not_grow_the_heap() {
        let mut deadlines = Deadlines::default();
        for n in 1..1000 {
            deadlines.set(0, at(n));
        }
        assert_eq!(deadlines.heap.len(), 1);
    }
}
