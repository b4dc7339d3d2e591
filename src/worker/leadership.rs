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
//! Releasing it and resuming it cost a short lock each and wake no thread: a call that is over sooner
//! than [`PATIENCE`] keeps the lead. The watcher looks every so often while there is work and sleeps when
//! there is none. Once calls have been [`SLOW`], it is woken beforehand.
//!
//! *Invariants*: it is held, released, or gone; one standby at most is the watcher, and the others
//! are asleep.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::MonoTime;

/// How long a call may take before another thread takes the lead.
const PATIENCE: Duration = Duration::from_micros(100);
/// How long a call must have taken for the watcher to be woken beforehand for the next ones. Much longer than
/// a thread that was woken may keep this one from its processor: waking it would give the reason to do so again.
const SLOW: Duration = Duration::from_millis(1);
/// For how many short calls after a slow one that goes on.
const HURRY: u32 = 4;
/// How seldom the watcher looks at the most, where it has found short calls only.
const LOOK: Duration = Duration::from_millis(1);
/// After how many looks at a leader that calls nothing the watcher goes to sleep.
const QUIET: u32 = 3;

#[derive(Debug)]
pub(super) struct Leadership<L> {
    track: Mutex<Track<L>>,
    calls: AtomicUsize,
    watcher: Condvar,
    standbys: Condvar,
}

#[derive(Debug)]
struct Track<L> {
    /// The lead that was released, and when.
    released: Option<(Box<L>, MonoTime)>,
    /// How often it was released: whether there is work.
    releases: u64,
    hurry: u32,
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
            released: Some((Box::new(lead), MonoTime::from_nanos(0))),
            releases: 0,
            hurry: 0,
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
        self.calls.load(Ordering::SeqCst)
    }

    /// Releases the lead for a call; tells when that began.
    pub(super) fn release(&self, lead: Box<L>) -> MonoTime {
        let now = MonoTime::now();
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut track = self.lock();
        track.released = Some((lead, now));
        track.releases += 1;
        let wake = track.hurry > 0 || track.asleep;
        let (watched, waiting) = (track.watched, track.waiting);
        drop(track);
        if watched && wake {
            self.watcher.notify_one();
        } else if !watched && waiting > 0 {
            self.standbys.notify_one();
        }
        now
    }

    /// The call that began then is over: takes the lead up again, if no other thread has it.
    pub(super) fn resume(&self, since: MonoTime) -> Option<Box<L>> {
        let slow = MonoTime::now().since(since) >= SLOW;
        let mut track = self.lock();
        track.hurry = if slow {
            HURRY
        } else {
            track.hurry.saturating_sub(1)
        };
        self.calls.fetch_sub(1, Ordering::SeqCst);
        track.released.take().map(|(lead, _)| lead)
    }

    /// Waits for the lead; `None` when there will be none any more. Blocks.
    pub(super) fn wait_to_lead(&self) -> Option<Box<L>> {
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
            if let Some((lead, since)) = track.released.take() {
                let age = MonoTime::now().since(since);
                if track.hurry > 0 || age >= PATIENCE {
                    track.watched = false;
                    return Some(lead);
                }
                track.released = Some((lead, since));
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
                    .wait_timeout(track, look_after)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                look_after = (look_after * 2).min(LOOK);
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

    /// Held for a few instructions at a time, and never while a thread waits for anything.
    fn lock(&self) -> MutexGuard<'_, Track<L>> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'t, T>(condition: &Condvar, guard: MutexGuard<'t, T>) -> MutexGuard<'t, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_short_call_keeps_the_lead() {
        let leadership = Leadership::new(1);
        let lead = leadership.wait_to_lead().unwrap();
        let since = leadership.release(lead);
        assert_eq!(leadership.calls(), 1);
        assert_eq!(leadership.resume(since).as_deref(), Some(&1));
        assert_eq!(leadership.calls(), 0);
    }

    #[test]
    fn a_call_that_lasts_loses_the_lead_to_a_standby() {
        let leadership = Leadership::new(1);
        thread::scope(|threads| {
            let since = leadership.release(leadership.wait_to_lead().unwrap());
            let other = threads.spawn(|| leadership.wait_to_lead());
            let lead = other.join().unwrap();
            assert_eq!(lead.as_deref(), Some(&1));
            assert!(leadership.resume(since).is_none());
        });
    }

    // Gunicorn: W11
    #[test]
    fn standbys_lead_one_after_the_other_while_calls_last() {
        let leadership = Leadership::new(0);
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    let mut lead = leadership.wait_to_lead().unwrap();
                    *lead += 1;
                    let last = *lead == 4;
                    let since = leadership.release(lead);
                    if last {
                        leadership.end();
                    }
                    // Stays in its call until all have been there.
                    while leadership.calls() < 4 {
                        thread::yield_now();
                    }
                    drop((since, leadership.wait_to_lead()));
                });
            }
        });
        assert_eq!(leadership.calls(), 4);
    }

    #[test]
    fn the_end_sends_all_standbys_away() {
        let leadership = Leadership::new(());
        thread::scope(|threads| {
            let lead = leadership.wait_to_lead();
            let others: Vec<_> = (0..3)
                .map(|_| threads.spawn(|| leadership.wait_to_lead()))
                .collect();
            drop(lead);
            leadership.end();
            for other in others {
                assert!(other.join().unwrap().is_none());
            }
        });
    }
}
