//! [`Exemplar`]: a request that a bucket of the histogram of durations has an example in, by its id.
//!
//! Each worker has a place for each bucket, in memory that it shares with its arbiter. A place goes with its worker: it is
//! an example, and no count.
//!
//! *Invariants*: an example is read whole or not at all; a thread that finds another one writing leaves its own out.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::ipc::totals::{BUCKETS, bucket};
use crate::sys::mapping::{Mapping, Region, shared};
use crate::sys::seqlock::{SeqLock, load_bytes, store_bytes};
use crate::time::MonoTime;

/// The longest id that is kept, in words of eight bytes: a longer one is no example. `OpenMetrics` allows 128 characters for
/// all labels together.
const WORDS: usize = 13;

/// How long an example stays before another one takes its place.
const FRESH: Duration = Duration::from_secs(1);

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exemplar {
    pub(crate) request_id: String,
    pub(crate) took: Duration,
    pub(crate) finished: MonoTime,
}

shared! {
    struct ExemplarCell {
        lock: SeqLock,
        length: AtomicU32,
        took: AtomicU64,
        /// 0 where there is none.
        finished: AtomicU64,
        id: [AtomicU64; WORDS],
    }

    /// A worker's examples, by bucket.
    pub(super) struct Exemplars {
        cells: [ExemplarCell; BUCKETS],
    }
}

impl Exemplars {
    /// Takes a request for an example, unless its bucket has a fresh one.
    pub(super) fn offer(&self, request_id: &str, took: Duration, finished: MonoTime) {
        let cell = &self.cells[bucket(took)];
        let before = MonoTime::from_nanos(cell.finished.load(Ordering::Relaxed));
        if before != MonoTime::ZERO && finished.since(before) < FRESH
            || request_id.len() > WORDS * 8
        {
            return;
        }
        cell.lock.try_write(|| {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            cell.took.store(nanos, Ordering::Relaxed);
            cell.finished.store(finished.as_nanos(), Ordering::Relaxed);
            cell.length
                .store(request_id.len() as u32, Ordering::Relaxed);
            store_bytes(&cell.id, request_id.as_bytes());
        });
    }

    /// The examples that there are, by bucket.
    pub(super) fn read(&self) -> [Option<Exemplar>; BUCKETS] {
        self.cells.each_ref().map(ExemplarCell::read)
    }

    /// Drops all, also where their worker has died while it wrote.
    pub(super) fn clear(&self) {
        for cell in &self.cells {
            cell.lock
                .write(|| cell.finished.store(0, Ordering::Relaxed));
        }
    }
}

impl ExemplarCell {
    fn read(&self) -> Option<Exemplar> {
        if self.finished.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.lock.read(|| {
            let finished = self.finished.load(Ordering::Relaxed);
            let id = load_bytes(&self.id);
            let length = self.length.load(Ordering::Relaxed) as usize;
            (finished != 0).then(|| Exemplar {
                request_id: String::from_utf8_lossy(&id[..length.min(id.len())]).into_owned(),
                took: Duration::from_nanos(self.took.load(Ordering::Relaxed)),
                finished: MonoTime::from_nanos(finished),
            })
        })?
    }
}

/// The examples of all workers.
#[derive(Debug)]
pub(super) struct ExemplarTable(Region<Exemplars>);

impl ExemplarTable {
    /// A table for that many workers, without an example. Of its memory those pages are in use that were written to.
    pub(super) fn new(workers: usize) -> Result<Self> {
        let length = workers.saturating_mul(size_of::<Exemplars>());
        let memory = Mapping::anonymous(NonZeroUsize::new(length).unwrap_or(NonZeroUsize::MIN))?;
        Ok(Self(memory.region(0, workers)))
    }

    /// Those of the worker with this slot.
    pub(super) fn of(&self, slot: usize) -> &Exemplars {
        &self.0[slot]
    }

    /// The newest examples of the first workers, by bucket.
    pub(super) fn newest(&self, workers: usize) -> [Option<Exemplar>; BUCKETS] {
        let mut newest = [const { None }; BUCKETS];
        for exemplars in self.0.iter().take(workers) {
            for (kept, found) in newest.iter_mut().zip(exemplars.read()) {
                let at = |it: &Option<Exemplar>| it.as_ref().map(|it| it.finished);
                if at(&found) > at(kept) {
                    *kept = found;
                }
            }
        }
        newest
    }

    /// From now on this process only reads it.
    pub(super) fn read_only(&self) -> Result<()> {
        self.0.read_only()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(seconds)
    }

    fn ids(exemplars: &Exemplars) -> Vec<String> {
        let found = exemplars.read().into_iter().flatten();
        found.map(|it| it.request_id).collect()
    }

    #[test]
    fn a_bucket_keeps_an_example_for_a_while() {
        let exemplars = Exemplars::default();
        let short = Duration::from_micros(10);
        exemplars.offer("first", short, at(10));
        exemplars.offer("second", short, at(10));
        exemplars.offer("slow", Duration::from_secs(100), at(10));
        exemplars.offer(&"x".repeat(105), Duration::from_secs(3), at(10));
        assert_eq!(ids(&exemplars), ["first", "slow"]);
        exemplars.offer("third", short, at(12));
        assert_eq!(ids(&exemplars), ["third", "slow"]);
        let [newest, ..] = exemplars.read();
        let newest = newest.unwrap();
        assert_eq!((newest.took, newest.finished), (short, at(12)));
        exemplars.clear();
        assert_eq!(ids(&exemplars), [""; 0]);
    }

    #[test]
    fn a_thread_leaves_its_example_out_where_another_one_writes() {
        let exemplars = Exemplars::default();
        let cell = &exemplars.cells[0];
        cell.lock
            .write(|| exemplars.offer("other", Duration::ZERO, at(1)));
        assert_eq!(ids(&exemplars), [""; 0]);
        exemplars.offer("next", Duration::ZERO, at(1));
        assert_eq!(ids(&exemplars), ["next"]);
    }
}
