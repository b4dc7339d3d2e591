//! [`RunQueue`]: the order of complete requests and of connections to accept: first come, first served.
//!
//! It reads and accepts nothing, and asks no clock.
//!
//! ```text
//!   a turn finds it readable ────────────▶ behind all ─┐
//!   a connection waits to be accepted ───▶ behind all ─┼─▶ end of the turn: all of them are due ─▶ next
//!   given back, with a request at once ─▶ later ───────┘
//!   next, and left to other workers for now ─▶ before all, at the end of the turn, if others are here
//! ```
//!
//! *Invariants*: an entry that came after the end of the last turn is not due, so that each turn bounds the number of
//! entries that are taken before the next one; a connection that is given back goes behind all that the next turn finds.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::MonoTime;

/// For how long requests are taken before the reactor is to turn. A new connection waits for a place, and a command for
/// its effect, no longer than that and the running call. Long enough that short calls are not slowed down.
const LAP: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The connection with this key. Its request is complete.
    Request(usize),
    /// The first connection that waits to be accepted, if one still does. The place exists since then.
    Accept(MonoTime),
}

/// Complete requests and newcomers, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct RunQueue {
    pub(super) places: VecDeque<Entry>,
    /// How many of the places are newcomers'.
    newcomers: usize,
    /// How many of the first places may be taken before the next turn.
    pub(super) due: usize,
    /// When the first of them was taken.
    begun: Option<MonoTime>,
    /// Requests that were there when their connections were given back.
    pub(super) later: Vec<usize>,
    /// Places of newcomers that are left to other workers until the turn ends.
    put_off: Vec<MonoTime>,
}

impl RunQueue {
    /// A request that was found in a turn.
    pub(super) fn push(&mut self, key: usize) {
        self.places.push_back(Entry::Request(key));
    }

    /// Has places for `newcomers` connections that wait to be accepted, those with a place already included.
    pub(super) fn expect(&mut self, newcomers: usize, now: MonoTime) {
        while self.newcomers + self.put_off.len() < newcomers {
            self.newcomers += 1;
            self.places.push_back(Entry::Accept(now));
        }
    }

    /// Leaves the next newcomer to other workers for now. The next turn puts it before all other entries; without any
    /// it needs no place.
    pub(super) fn put_off(&mut self, since: MonoTime) {
        self.put_off.push(since);
    }

    /// A turn ends: all that are here are due.
    pub(super) fn end_turn(&mut self) {
        self.places.extend(self.later.drain(..).map(Entry::Request));
        if self.places.is_empty() {
            self.put_off.clear();
        }
        self.newcomers += self.put_off.len();
        for since in self.put_off.drain(..).rev() {
            self.places.push_front(Entry::Accept(since));
        }
        self.due = self.places.len();
        self.begun = None;
    }

    /// Takes the first place; `None` where a turn comes before.
    pub(super) fn next(&mut self, now: MonoTime) -> Option<Entry> {
        if now.since(*self.begun.get_or_insert(now)) >= LAP {
            self.due = 0;
        }
        self.due = self.due.checked_sub(1)?;
        let next = self.places.pop_front()?;
        self.newcomers -= usize::from(matches!(next, Entry::Accept(_)));
        Some(next)
    }

    /// Tells whether no entry has a place, or will have one after the next turn. Newcomers that are put off do not
    /// count.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.later.is_empty()
    }

    /// Tells whether an entry may be taken before the next turn.
    pub(super) fn has_due(&self) -> bool {
        self.due > 0
    }

    /// Tells whether entries wait only for the next turn.
    pub(super) fn awaits_turn(&self) -> bool {
        self.due == 0 && !self.is_empty()
    }

    pub(super) fn requests(&self) -> usize {
        self.places.len() - self.newcomers + self.later.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_micros(micros)
    }

    /// All that may be taken before the next turn, at once.
    fn lap(line: &mut RunQueue) -> Vec<Entry> {
        std::iter::from_fn(|| line.next(at(0))).collect()
    }

    #[test]
    fn a_request_given_back_goes_behind_all_that_a_turn_finds() {
        let mut line = RunQueue::default();
        line.push(1);
        line.push(2);
        line.end_turn();
        assert_eq!(line.next(at(0)), Some(Entry::Request(1)));
        line.later.push(1);
        assert_eq!(lap(&mut line), [Entry::Request(2)]);
        assert!(line.awaits_turn() && !line.has_due());
        line.push(3);
        line.expect(1, at(0));
        line.end_turn();
        let order = [Entry::Request(3), Entry::Accept(at(0)), Entry::Request(1)];
        assert_eq!(lap(&mut line), order);
        assert!(line.is_empty() && !line.awaits_turn());
    }

    #[test]
    fn what_is_found_while_places_are_taken_waits_one_poll() {
        let mut line = RunQueue::default();
        line.push(1);
        line.end_turn();
        line.push(2);
        assert_eq!(line.requests(), 2);
        assert_eq!(lap(&mut line), [Entry::Request(1)]);
        line.end_turn();
        assert_eq!(lap(&mut line), [Entry::Request(2)]);
    }

    #[test]
    fn newcomers_keep_the_places_that_they_have() {
        let mut line = RunQueue::default();
        line.expect(2, at(1));
        line.push(1);
        line.expect(3, at(2));
        line.expect(1, at(3));
        line.end_turn();
        let order = [
            Entry::Accept(at(1)),
            Entry::Accept(at(1)),
            Entry::Request(1),
            Entry::Accept(at(2)),
        ];
        assert_eq!(lap(&mut line), order);
        assert_eq!(line.requests(), 0);
    }

    #[test]
    fn newcomers_that_are_put_off_are_next_in_their_order() {
        let mut line = RunQueue::default();
        line.push(1);
        line.end_turn();
        line.put_off(at(1));
        line.put_off(at(2));
        line.expect(3, at(3));
        assert_eq!(lap(&mut line), [Entry::Request(1)]);
        assert_eq!(lap(&mut line), []);
        line.push(2);
        assert_eq!(line.requests(), 1);
        line.end_turn();
        assert_eq!(line.requests(), 1);
        let order = [
            Entry::Accept(at(1)),
            Entry::Accept(at(2)),
            Entry::Accept(at(3)),
            Entry::Request(2),
        ];
        assert_eq!(lap(&mut line), order);
        line.put_off(at(3));
        assert!(line.is_empty() && !line.awaits_turn());
        line.end_turn();
        assert!(line.is_empty() && !line.has_due());
        assert_eq!(line.requests(), 0);
    }

    #[test]
    fn long_calls_have_a_turn_after_each() {
        let mut line = RunQueue::default();
        (0..3).for_each(|key| line.push(key));
        line.end_turn();
        assert_eq!(line.next(at(7)), Some(Entry::Request(0)));
        assert_eq!(line.next(at(1006)), Some(Entry::Request(1)));
        assert_eq!(line.next(at(1007)), None);
        assert!(line.awaits_turn());
        line.end_turn();
        assert_eq!(line.next(at(5000)), Some(Entry::Request(2)));
        assert_eq!(line.next(at(5000)), None);
    }
}
