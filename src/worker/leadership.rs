//! [`Leadership`]: what one of several threads holds while it leads, and how the lead passes on.
//!
//! It knows nothing of reactors, services or Python, and no lock of it is held while any of them works.
//!
//! ```text
//!             release, and call the service
//!   leader ─────────────────────────────▶ caller ── resume: it is still there ──▶ leader
//!      ▲                                     │
//!      │ the call lasts                      └───── resume: it is gone ─────▶ standby
//!   watcher ◀──── one of ──── standby
//! ```
//!
//! Releasing it and resuming it cost a short lock each and wake no thread: a call that is over sooner than [`PATIENCE`]
//! keeps the lead. The watcher looks every so often while there is work, more often where calls last, and sleeps when
//! there is none. Where many calls are [`SLOW`], it is woken beforehand.
//!
//! Calls compute one at a time where there is a turn for it (Python's interpreter lock). While one computes, or waits for
//! the turn, one more would only queue behind it. So a call that lasts is one that waits for something else, or is
//! [`SLOW`]; and how long it was is how long it had the turn. Else a single call that was delayed would make all of them
//! queue for the turn, and that would last.
//!
//! *Invariants*: it is held, released, or gone; one standby at most is the watcher, and the others are asleep.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sys::thread_state::ThreadState;
use crate::time::MonoTime;

/// How long a call that waits may take before another thread takes the lead.
const PATIENCE: Duration = Duration::from_micros(100);
/// How long any call may take before another thread takes the lead, and how long calls must be for the watcher to be woken
/// beforehand for the next ones.
const SLOW: Duration = Duration::from_millis(1);
/// The share of slow calls from which on that is done. A few that come together, since their threads were kept from the
/// processor, are no reason.
const HURRY: f32 = 0.25;
/// The weight of the last call in that share is one in this number.
const WEIGHT: f32 = 16.0;
/// How seldom the watcher looks at the most, where a call has lasted of late.
const LOOK: Duration = Duration::from_millis(1);
/// How seldom it looks at the most elsewhere. A look may cost as much as several of the shortest calls.
const GLANCE: Duration = Duration::from_millis(2);
/// The calls of late are so many.
const RECENT: u64 = 1_000;
/// After how many looks at a leader that calls nothing the watcher goes to sleep.
const QUIET: u32 = 3;

#[derive(Debug)]
pub(super) struct Leadership<L> {
    track: Mutex<Track<L>>,
    /// Changed with the lock only.
    calls: AtomicUsize,
    watcher: Condvar,
    standbys: Condvar,
}

/// A call for which the lead was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The count of releases with it.
    number: u64,
    since: MonoTime,
    caller: ThreadState,
}

#[derive(Debug)]
struct Released<L> {
    lead: Box<L>,
    call: Call,
}

#[derive(Debug)]
struct Track<L> {
    /// The lead that was released.
    released: Option<Released<L>>,
    /// How often it was released: whether there is work.
    releases: u64,
    /// The count of releases when last a call lasted.
    lasted: u64,
    /// The share of slow calls: a moving average.
    slow: f32,
    watched: bool,
    /// Whether the watcher sleeps until it is woken.
    asleep: bool,
    /// Standbys beside the watcher.
    waiting: usize,
    over: bool,
}

impl<L> Leadership<L> {
    /// A lead that lies there for the first standby.
    pub(super) fn new(lead: L) -> Self {
        let track = Track {
            released: Some(Released {
                lead: Box::new(lead),
                call: Call {
                    number: 0,
                    since: MonoTime::ZERO,
                    caller: ThreadState::of_this_thread(),
                },
            }),
            releases: 0,
            lasted: 0,
            slow: 0.0,
            watched: false,
            asleep: false,
            waiting: 0,
            over: false,
        };
        Self {
            track: Mutex::new(track),
            calls: AtomicUsize::new(0),
            watcher: Condvar::new(),
            standbys: Condvar::new(),
        }
    }

    /// How many calls are running. Only the leader begins one, so for the leader it only falls.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    /// Releases the lead for a call of the `caller`, which is this thread.
    pub(super) fn release(&self, lead: Box<L>, caller: ThreadState) -> Call {
        let since = MonoTime::now();
        let mut track = self.lock();
        self.count(1);
        track.releases += 1;
        let call = Call {
            number: track.releases,
            since,
            caller,
        };
        track.released = Some(Released { lead, call });
        let wake = track.is_in_hurry() || track.asleep;
        let (watched, waiting) = (track.watched, track.waiting);
        drop(track);
        if watched && wake {
            self.watcher.notify_one();
        } else if !watched && waiting > 0 {
            self.standbys.notify_one();
        }
        call
    }

    /// The call is over: takes the lead up again, if no other thread has it. `took` is how long it had the turn, if there
    /// is one.
    ///
    /// The lead that another call has released is left to that one while a call waits for the turn, as `is_awaited` tells:
    /// to call again at once would take the turn away from it.
    pub(super) fn resume(
        &self,
        call: Call,
        took: Option<Duration>,
        is_awaited: impl Fn() -> bool,
    ) -> Option<Box<L>> {
        let took = took.unwrap_or_else(|| MonoTime::now().since(call.since));
        let mut track = self.lock();
        track.note(took);
        self.count(-1);
        let free = |it: &mut Released<L>| it.call == call || !is_awaited();
        track.released.take_if(free).map(|it| it.lead)
    }

    /// Waits for the lead; `None` when there will be none any more. Blocks. `would_queue` tells whether one more call would
    /// only wait for the turn: for the thread of the call that has released the lead, or in general.
    pub(super) fn wait_to_lead(
        &self,
        would_queue: impl Fn(Option<ThreadState>) -> bool,
    ) -> Option<Box<L>> {
        let mut track = self.lock();
        while track.watched && !track.over {
            track.waiting += 1;
            track = wait(&self.standbys, track);
            track.waiting -= 1;
        }
        if track.over {
            return None;
        }
        track.watched = true;
        let (mut releases, mut quiet) = (track.releases, 0);
        let mut look_after = PATIENCE;
        loop {
            if track.over {
                return None;
            }
            let mut next_look = look_after;
            if let Some((call, age)) = track.call_that_may_last() {
                let caller = Some(call.caller).filter(|_| !track.is_in_hurry());
                // The system is asked without the lock.
                drop(track);
                let lasts = age >= SLOW || !would_queue(caller);
                track = self.lock();
                if let Some(it) = track.released.take_if(|it| lasts && it.call == call) {
                    track.lasted = call.number;
                    track.watched = false;
                    return Some(it.lead);
                }
                if track.over {
                    return None;
                }
                // If it is the same call that lies there then, it is slow.
                next_look = next_look.min(SLOW.saturating_sub(age).max(PATIENCE));
            }
            quiet = if releases == track.releases {
                quiet + 1
            } else {
                0
            };
            releases = track.releases;
            if quiet > QUIET && track.released.is_none() {
                track.asleep = true;
                track = wait(&self.watcher, track);
                track.asleep = false;
                (quiet, look_after) = (0, PATIENCE);
            } else {
                track = self
                    .watcher
                    .wait_timeout(track, next_look)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                look_after = (look_after * 2).min(track.longest_look());
            }
        }
    }

    /// There is no lead any more: all standbys are to go.
    pub(super) fn end(&self) {
        let mut track = self.lock();
        track.over = true;
        track.released = None;
        drop(track);
        self.watcher.notify_all();
        self.standbys.notify_all();
    }

    /// Counts a call that begins or ends, with the lock.
    fn count(&self, change: isize) {
        let calls = self.calls.load(Ordering::Relaxed);
        let calls = calls.wrapping_add_signed(change);
        self.calls.store(calls, Ordering::Release);
    }

    /// Held for a few instructions at a time, and never while a thread waits for anything.
    fn lock(&self) -> MutexGuard<'_, Track<L>> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Track<L> {
    /// A call was that long.
    fn note(&mut self, took: Duration) {
        let is_slow = took >= SLOW;
        if is_slow {
            self.lasted = self.releases;
        }
        self.slow += (f32::from(u8::from(is_slow)) - self.slow) / WEIGHT;
    }

    /// The call for which the lead lies there, and its age: if it is no short one, or many are slow.
    fn call_that_may_last(&self) -> Option<(Call, Duration)> {
        let call = self.released.as_ref()?.call;
        let age = MonoTime::now().since(call.since);
        (self.is_in_hurry() || age >= PATIENCE).then_some((call, age))
    }

    /// How seldom the watcher looks at the most.
    fn longest_look(&self) -> Duration {
        if self.releases - self.lasted < RECENT {
            LOOK
        } else {
            GLANCE
        }
    }

    /// Whether calls are slow so often that a standby takes the lead whenever one begins.
    fn is_in_hurry(&self) -> bool {
        self.slow >= HURRY
    }
}

fn wait<'t, T>(condition: &Condvar, guard: MutexGuard<'t, T>) -> MutexGuard<'t, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};
    use std::thread;

    use super::*;

    fn release<L>(leadership: &Leadership<L>, lead: Box<L>) -> Call {
        leadership.release(lead, ThreadState::of_this_thread())
    }

    #[test]
    fn a_short_call_keeps_the_lead() {
        let leadership = Leadership::new(1);
        let lead = leadership.wait_to_lead(|_| false).unwrap();
        let call = release(&leadership, lead);
        assert_eq!(leadership.calls(), 1);
        assert_eq!(leadership.resume(call, None, || false).as_deref(), Some(&1));
        assert_eq!(leadership.calls(), 0);
    }

    /// Begins a call on this thread, has it last as `lasts` does until a standby has the lead, and tells when that was, with
    /// the beginning.
    fn time_of_pass(
        would_queue: impl Fn(Option<ThreadState>) -> bool + Send + Sync,
        lasts: impl Fn(Receiver<MonoTime>) -> MonoTime,
    ) -> Duration {
        let leadership = Leadership::new(());
        let (tell, told) = mpsc::channel();
        thread::scope(|threads| {
            let lead = leadership.wait_to_lead(|_| false).unwrap();
            let call = release(&leadership, lead);
            threads.spawn(|| {
                leadership.wait_to_lead(&would_queue).unwrap();
                tell.send(MonoTime::now()).unwrap();
            });
            lasts(told).since(call.since)
        })
    }

    #[test]
    fn a_call_that_computes_keeps_the_lead_until_it_is_slow() {
        let compute = |told: Receiver<_>| loop {
            if let Ok(moment) = told.try_recv() {
                return moment;
            }
        };
        let computes = |caller: Option<ThreadState>| !caller.unwrap().is_asleep();
        assert!(time_of_pass(computes, compute) >= SLOW);
    }

    #[test]
    fn nobody_takes_the_lead_to_queue_for_the_turn() {
        let wait = |told: Receiver<_>| told.recv().unwrap();
        assert!(time_of_pass(|_| true, wait) >= SLOW);
        assert!(time_of_pass(|_| false, wait) >= PATIENCE);
    }

    #[test]
    fn a_call_that_waits_for_the_turn_keeps_its_lead() {
        for (awaited, taken) in [(true, None), (false, Some(&1))] {
            let leadership = Leadership::new(1);
            let lead = leadership.wait_to_lead(|_| false).unwrap();
            let first = release(&leadership, lead);
            let lead = leadership.wait_to_lead(|_| false).unwrap();
            let second = release(&leadership, lead);
            let found = leadership.resume(first, None, || awaited);
            assert_eq!(found.as_deref(), taken);
            let found = leadership.resume(second, None, || awaited);
            assert_eq!(found.is_some(), awaited);
        }
    }

    /// Makes so many calls, each so long.
    fn answer<L: Clone>(leadership: &Leadership<L>, lead: &mut Box<L>, times: u64, took: Duration) {
        for _ in 0..times {
            let call = release(leadership, lead.clone());
            *lead = leadership.resume(call, Some(took), || false).unwrap();
        }
    }

    #[test]
    fn slow_calls_are_no_reason_to_hurry_until_they_are_many() {
        let leadership = Leadership::new(1);
        let mut lead = leadership.wait_to_lead(|_| false).unwrap();
        let mut answer = |times, took| {
            answer(&leadership, &mut lead, times, took);
            leadership.lock().is_in_hurry()
        };
        assert!(!answer(4, SLOW));
        assert!(answer(4, SLOW));
        assert!(!answer(40, Duration::ZERO));
        assert!(!answer(2, SLOW));
    }

    #[test]
    fn the_watcher_looks_less_often_where_no_call_has_lasted() {
        let leadership = Leadership::new(());
        let mut lead = leadership.wait_to_lead(|_| false).unwrap();
        let mut answer = |times, took| {
            answer(&leadership, &mut lead, times, took);
            leadership.lock().longest_look()
        };
        assert_eq!(answer(RECENT - 1, Duration::ZERO), LOOK);
        assert_eq!(answer(1, Duration::ZERO), GLANCE);
        assert_eq!(answer(1, SLOW), LOOK);
        assert_eq!(answer(RECENT - 1, Duration::ZERO), LOOK);
        assert_eq!(answer(1, Duration::ZERO), GLANCE);
        // One that lost its lead.
        let call = release(&leadership, lead.clone());
        leadership.wait_to_lead(|_| false).unwrap();
        leadership.resume(call, Some(Duration::ZERO), || false);
        assert_eq!(leadership.lock().longest_look(), LOOK);
    }

    #[test]
    fn a_call_that_lasts_loses_the_lead_to_a_standby() {
        let leadership = Leadership::new(1);
        thread::scope(|threads| {
            let call = release(&leadership, leadership.wait_to_lead(|_| false).unwrap());
            let other = threads.spawn(|| leadership.wait_to_lead(|_| false));
            let lead = other.join().unwrap();
            assert_eq!(lead.as_deref(), Some(&1));
            assert!(leadership.resume(call, None, || false).is_none());
        });
    }

    // Gunicorn: W11
    #[test]
    fn standbys_lead_one_after_the_other_while_calls_last() {
        let leadership = Leadership::new(0);
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    let mut lead = leadership.wait_to_lead(|_| false).unwrap();
                    *lead += 1;
                    let last = *lead == 4;
                    let call = release(&leadership, lead);
                    if last {
                        leadership.end();
                    }
                    // Stays in its call until all have been there.
                    while leadership.calls() < 4 {
                        thread::yield_now();
                    }
                    drop((call, leadership.wait_to_lead(|_| false)));
                });
            }
        });
        assert_eq!(leadership.calls(), 4);
    }

    #[test]
    fn the_end_sends_all_standbys_away() {
        let leadership = Leadership::new(());
        thread::scope(|threads| {
            let lead = leadership.wait_to_lead(|_| false);
            let others: Vec<_> = (0..3)
                .map(|_| threads.spawn(|| leadership.wait_to_lead(|_| false)))
                .collect();
            drop(lead);
            leadership.end();
            for other in others {
                assert!(other.join().unwrap().is_none());
            }
        });
    }
}
