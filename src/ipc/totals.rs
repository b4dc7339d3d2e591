//! [`Totals`]: what all workers of a server have done since its start, in numbers that only grow.
//!
//! The counters outlive the worker that counts, and the arbiter: they lie in a file in memory, whose descriptor and
//! layout an upgrade hands to the next arbiter. Both count there while there are two.
//!
//! ```text
//!   worker ── fetch_add ──▶ a stripe of its own ─┐
//!   arbiter ── restarts ──▶ the first stripe ────┴─▶ the sum of all: Totals
//! ```
//!
//! In front of the stripes lies which of the arbiters that share them answers for the server.
//!
//! *Invariants*: nothing here is ever set back; each number is an atomic of its own, and is read by itself; a layout that
//! this program does not know is not touched.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use crate::access::RefusalCause;
use crate::atomic_enum::{Numbered, numbered};
use crate::error::Result;
use crate::sys::mapping::{Mapping, Region, shared};

/// Which layout of the file this is: it grows with each change of [`Stripe`] or of an enum that counts there.
pub(crate) const LAYOUT: u64 = 3;

/// How many workers count without touching the memory of another: of more, some share a stripe.
const STRIPES: usize = 64;
/// The upper bounds of the buckets, in microseconds; the last bucket has none.
const BOUNDS: [u64; 14] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];
/// How many buckets there are.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;
/// What a histogram takes: the buckets, and at the end the sum in nanoseconds.
const HISTOGRAM: usize = BUCKETS + 1;

/// Why a worker's process was replaced. What a stop, a reload or a smaller number of workers ends does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RestartCause {
    /// It had answered `max_requests`.
    Requests,
    /// It had reached `max_worker_age`.
    Age,
    /// It had reached `max_worker_memory`.
    Memory,
    /// It made no progress within `timeout`, and was aborted.
    Timeout,
    /// It was not ready within `boot_timeout`, and was aborted.
    BootTimeout,
    /// One of its requests had passed `request_timeout`.
    RequestTimeout,
    /// It failed before it was ready.
    BootFailure,
    /// A signal ended it that the arbiter had not sent: a crash, or want of memory.
    Signal,
    /// It ended by itself.
    Exit,
}

numbered!(RestartCause: Requests, Age, Memory, Timeout, BootTimeout, RequestTimeout, BootFailure, Signal, Exit);

shared! {
    struct Header {
        /// The process id of the arbiter that answers for the server; 0 where none has begun to.
        speaker: AtomicI32,
        /// That of the arbiter which has taken the counters over from another one.
        heir: AtomicI32,
    }

    struct Stripe {
        /// By the first digit of the status; 0 where there was none.
        responses: [AtomicU64; 6],
        received: AtomicU64,
        sent: AtomicU64,
        durations: [AtomicU64; HISTOGRAM],
        first_bytes: [AtomicU64; HISTOGRAM],
        queued: [AtomicU64; HISTOGRAM],
        /// Nanoseconds.
        lock_wait: AtomicU64,
        refusals: [AtomicU64; RefusalCause::ALL.len()],
        restarts: [AtomicU64; RestartCause::ALL.len()],
        /// Those that have failed, and those that have not.
        reloads: [AtomicU64; 2],
        upgrades: [AtomicU64; 2],
    }
}

/// What is counted of one answered exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// 0 where there was none; `None` where it was counted before.
    pub(crate) status: Option<u16>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// From the complete head to the end of the response; `None` where there was no head.
    pub(crate) took: Option<Duration>,
    /// From the complete head to the beginning of the service's response.
    pub(crate) first_byte: Option<Duration>,
    /// From the complete request to the beginning of its call.
    pub(crate) queued: Option<Duration>,
    pub(crate) refusal: Option<RefusalCause>,
}

/// The memory that workers and arbiters count in.
pub(crate) struct Counters {
    header: Region<Header>,
    stripes: Region<Stripe>,
}

impl Counters {
    /// New ones, at zero. The descriptor is for the next arbiter; there is none where the system gives no file in memory,
    /// and that one starts at zero.
    pub(crate) fn new() -> Result<(Self, Option<OwnedFd>)> {
        let (memory, fd) = match Mapping::file(c"oxicorn totals", length()) {
            Ok((memory, fd)) => (memory, Some(fd)),
            Err(_) => (Mapping::anonymous(length())?, None),
        };
        Ok((Self::within(&memory), fd))
    }

    /// Those of the arbiter before this one, with the layout [`LAYOUT`].
    pub(crate) fn inherited(fd: &OwnedFd) -> Result<Self> {
        Ok(Self::within(&Mapping::of_file(fd, length())?))
    }

    fn within(memory: &Arc<Mapping>) -> Self {
        Self {
            header: memory.region(0, 1),
            stripes: memory.region(size_of::<Header>(), STRIPES),
        }
    }

    /// Counts an exchange that the worker with this slot has answered.
    pub(crate) fn count(&self, slot: usize, exchange: Counted) {
        let Counted {
            status,
            received,
            sent,
            took,
            first_byte,
            queued,
            refusal,
        } = exchange;
        let stripe = &self.stripes[slot % STRIPES];
        if let Some(status) = status {
            self.count_response(slot, status);
        }
        if received > 0 {
            add(&stripe.received, received);
        }
        add(&stripe.sent, sent);
        observe(&stripe.durations, took);
        observe(&stripe.first_bytes, first_byte);
        observe(&stripe.queued, queued);
        if let Some(refusal) = refusal {
            add(&stripe.refusals[refusal.number() as usize], 1);
        }
    }

    /// Counts a response with this status, 0 where there is none, of the worker with this slot.
    pub(crate) fn count_response(&self, slot: usize, status: u16) {
        let class = usize::from(status / 100).min(5);
        add(&self.stripes[slot % STRIPES].responses[class], 1);
    }

    /// Counts nanoseconds that the threads of the worker with this slot have waited for Python's interpreter lock.
    pub(crate) fn count_lock_wait(&self, slot: usize, nanos: u64) {
        if nanos > 0 {
            add(&self.stripes[slot % STRIPES].lock_wait, nanos);
        }
    }

    pub(crate) fn count_restart(&self, cause: RestartCause) {
        add(&self.stripes[0].restarts[cause.number() as usize], 1);
    }

    pub(crate) fn count_reload(&self, succeeded: bool) {
        add(&self.stripes[0].reloads[usize::from(succeeded)], 1);
    }

    pub(crate) fn count_upgrade(&self, succeeded: bool) {
        add(&self.stripes[0].upgrades[usize::from(succeeded)], 1);
    }

    /// The process id of the arbiter that answers for the server.
    pub(crate) fn speaker(&self) -> i32 {
        self.header[0].speaker.load(Ordering::Acquire)
    }

    /// From now on the arbiter with this process id answers for the server.
    pub(crate) fn set_speaker(&self, arbiter: i32) {
        self.header[0].speaker.store(arbiter, Ordering::Release);
    }

    /// The process id of the arbiter that has taken the counters over last.
    pub(crate) fn heir(&self) -> i32 {
        self.header[0].heir.load(Ordering::Acquire)
    }

    pub(crate) fn set_heir(&self, arbiter: i32) {
        self.header[0].heir.store(arbiter, Ordering::Release);
    }

    /// From now on this process only reads them: a write ends it.
    pub(crate) fn read_only(&self) -> Result<()> {
        self.stripes.read_only()
    }

    pub(crate) fn read(&self) -> Totals {
        let sum = |number: &dyn Fn(&Stripe) -> &AtomicU64| {
            let stripes = self.stripes.iter();
            stripes
                .map(|stripe| number(stripe).load(Ordering::Relaxed))
                .sum::<u64>()
        };
        let histogram = |of: fn(&Stripe) -> &[AtomicU64; HISTOGRAM]| {
            let mut counts = 0;
            let buckets = (0..=BOUNDS.len()).map(|bucket| {
                counts += sum(&|stripe| &of(stripe)[bucket]);
                (
                    BOUNDS.get(bucket).copied().map(Duration::from_micros),
                    counts,
                )
            });
            Durations {
                buckets: buckets.collect(),
                sum: Duration::from_nanos(sum(&|stripe| &of(stripe)[HISTOGRAM - 1])),
            }
        };
        let outcomes = |of: fn(&Stripe) -> &[AtomicU64; 2]| Outcomes {
            failed: sum(&|stripe| &of(stripe)[0]),
            succeeded: sum(&|stripe| &of(stripe)[1]),
        };
        let responses = [0, 1, 2, 3, 4, 5].map(|class| sum(&|stripe| &stripe.responses[class]));
        Totals {
            requests: responses.iter().sum(),
            responses,
            received: sum(&|stripe| &stripe.received),
            sent: sum(&|stripe| &stripe.sent),
            durations: histogram(|stripe| &stripe.durations),
            first_bytes: histogram(|stripe| &stripe.first_bytes),
            queued: histogram(|stripe| &stripe.queued),
            lock_wait: Duration::from_nanos(sum(&|stripe| &stripe.lock_wait)),
            refusals: by_cause(|at| sum(&|stripe| &stripe.refusals[at])),
            restarts: by_cause(|at| sum(&|stripe| &stripe.restarts[at])),
            reloads: outcomes(|stripe| &stripe.reloads),
            upgrades: outcomes(|stripe| &stripe.upgrades),
        }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.read().fmt(f)
    }
}

fn by_cause<C: Numbered + Ord>(count: impl Fn(usize) -> u64) -> BTreeMap<C, u64> {
    let causes = C::ALL.iter();
    causes
        .map(|&cause| (cause, count(cause.number() as usize)))
        .collect()
}

fn add(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}

fn observe(histogram: &[AtomicU64; HISTOGRAM], took: Option<Duration>) {
    let Some(took) = took else { return };
    add(&histogram[bucket(took)], 1);
    add(&histogram[HISTOGRAM - 1], nanos(took));
}

/// Which bucket a duration falls into.
pub(super) fn bucket(took: Duration) -> usize {
    let nanos = nanos(took);
    let bucket = BOUNDS.iter().position(|bound| nanos <= bound * 1000);
    bucket.unwrap_or(BOUNDS.len())
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

fn length() -> NonZeroUsize {
    let length = size_of::<Header>() + STRIPES * size_of::<Stripe>();
    NonZeroUsize::new(length).unwrap_or(NonZeroUsize::MIN)
}

/// What all workers of a server have done since its start: also those that have ended, and those of the arbiters before
/// this one. No number of it is ever smaller later.
///
/// The numbers are read one by one: together they are no snapshot of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Requests that were answered or refused, or that ended because their client left.
    pub requests: u64,
    /// The same by the first digit of their status, from 1 to 5; at 0 those without one.
    pub responses: [u64; 6],
    /// Bytes of request bodies that were received, without framing.
    pub received: u64,
    /// Bytes of response bodies that were sent, without framing.
    pub sent: u64,
    /// The durations of requests with a complete head.
    pub durations: Durations,
    /// From the complete head to the beginning of the service's response, of requests that were answered by it.
    pub first_bytes: Durations,
    /// From the complete request to the beginning of its call, of requests that were called.
    pub queued: Durations,
    /// How long the threads of threaded workers have waited for Python's interpreter lock where the server asked for it: to begin a call, to
    /// go on with one after it had read or written for it, and to see that the lock can be had.
    pub lock_wait: Duration,
    /// Requests that the server answered in its service's place, by the reason. Each is among `requests` as well.
    pub refusals: BTreeMap<RefusalCause, u64>,
    /// Workers that were replaced, by the reason.
    pub restarts: BTreeMap<RestartCause, u64>,
    /// Reloads, by whether the new settings were taken.
    pub reloads: Outcomes,
    /// Upgrades, by whether the next arbiter was ready.
    pub upgrades: Outcomes,
}

/// How often something has succeeded, and how often it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// How often it has succeeded.
    pub succeeded: u64,
    /// How often it has failed.
    pub failed: u64,
}

/// A histogram of durations. Those of a request go from its complete head to the end of its response, unless it is
/// described otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Durations {
    /// Upper bounds, from the smallest to `None`, and how many requests took that long or less.
    pub buckets: Vec<(Option<Duration>, u64)>,
    /// All of them together.
    pub sum: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: Counted = Counted {
        status: Some(200),
        received: 3,
        sent: 5,
        took: Some(Duration::from_millis(7)),
        first_byte: Some(Duration::from_millis(2)),
        queued: None,
        refusal: None,
    };

    #[test]
    fn the_workers_counts_are_summed() {
        let (counters, _) = Counters::new().unwrap();
        counters.count(0, ANSWERED);
        counters.count(1, ANSWERED);
        counters.count(STRIPES + 1, ANSWERED);
        counters.count_restart(RestartCause::Age);
        counters.count_lock_wait(0, 5);
        counters.count_lock_wait(2, 6);
        let totals = counters.read();
        assert_eq!((totals.requests, totals.responses[2]), (3, 3));
        assert_eq!((totals.received, totals.sent), (9, 15));
        assert_eq!(totals.durations.sum, Duration::from_millis(21));
        assert_eq!(totals.first_bytes.sum, Duration::from_millis(6));
        assert_eq!(totals.queued.buckets.last(), Some(&(None, 0)));
        let within = |micros| {
            let mut buckets = totals.durations.buckets.iter();
            let bound = Some(Duration::from_micros(micros));
            buckets.find(|(found, _)| *found == bound).unwrap().1
        };
        assert_eq!((within(5_000), within(10_000)), (0, 3));
        assert_eq!(totals.durations.buckets.last(), Some(&(None, 3)));
        assert_eq!(totals.restarts[&RestartCause::Age], 1);
        assert_eq!(totals.refusals[&RefusalCause::TooSlow], 0);
        assert_eq!(totals.lock_wait, Duration::from_nanos(11));
    }

    #[test]
    fn a_refusal_without_a_head_has_no_duration() {
        let (counters, _) = Counters::new().unwrap();
        counters.count(
            0,
            Counted {
                status: Some(0),
                took: None,
                refusal: Some(RefusalCause::Malformed),
                ..ANSWERED
            },
        );
        let totals = counters.read();
        assert_eq!((totals.requests, totals.responses[0]), (1, 1));
        counters.count(
            0,
            Counted {
                status: None,
                ..ANSWERED
            },
        );
        assert_eq!((counters.read().requests, counters.read().sent), (1, 10));
        assert_eq!(totals.durations.buckets.last(), Some(&(None, 0)));
        assert_eq!(totals.refusals[&RefusalCause::Malformed], 1);
    }

    #[test]
    fn the_next_arbiter_goes_on_from_the_same_numbers() {
        let (counters, fd) = Counters::new().unwrap();
        counters.count(0, ANSWERED);
        let next = Counters::inherited(&fd.unwrap()).unwrap();
        next.count(0, ANSWERED);
        assert_eq!(next.read(), counters.read());
        assert_eq!(next.read().requests, 2);
        next.set_speaker(7);
        assert_eq!(counters.speaker(), 7);
    }

    #[test]
    fn another_layout_has_another_number() {
        // A change here asks for another LAYOUT.
        assert_eq!((LAYOUT, size_of::<Stripe>()), (3, 640));
    }
}
