//! [`SeqLock`]: lets processes read several words of shared memory as they were at one moment.
//!
//! Its number is odd while the words are written. A reader that sees an odd number, or another one after its reading than
//! before, has read nothing. No reader and no writer waits.
//!
//! *Invariant*: the words are atomics, read and written within [`read`](SeqLock::read), [`write`](SeqLock::write) and
//! [`try_write`](SeqLock::try_write) alone.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::mapping::Shared;

/// How often a reader that met a writer tries again.
const TRIES: usize = 4;

#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct SeqLock(AtomicU32);

// SAFETY: an atomic of an integer, of which every content is valid.
unsafe impl Shared for SeqLock {}

impl SeqLock {
    /// Writes the words, for the one writer that there is. One that died while it wrote is no obstacle.
    pub(crate) fn write(&self, store: impl FnOnce()) {
        let odd = self.0.load(Ordering::Relaxed) | 1;
        self.0.store(odd, Ordering::Relaxed);
        self.finish(odd, store);
    }

    /// Writes the words, unless another thread does so.
    pub(crate) fn try_write(&self, store: impl FnOnce()) {
        let even = self.0.load(Ordering::Relaxed) & !1;
        let (own, failed) = (Ordering::Acquire, Ordering::Relaxed);
        if self.0.compare_exchange(even, even | 1, own, failed).is_ok() {
            self.finish(even | 1, store);
        }
    }

    fn finish(&self, odd: u32, store: impl FnOnce()) {
        fence(Ordering::Release);
        store();
        self.0.store(odd.wrapping_add(1), Ordering::Release);
    }

    /// What `load` makes of the words; `None` where a writer was met each time.
    pub(crate) fn read<T>(&self, load: impl Fn() -> T) -> Option<T> {
        (0..TRIES).find_map(|_| {
            let before = self.0.load(Ordering::Acquire);
            let loaded = load();
            fence(Ordering::Acquire);
            let after = self.0.load(Ordering::Relaxed);
            (before % 2 == 0 && before == after).then_some(loaded)
        })
    }
}

/// Writes bytes to the first of these words, and leaves the others: as many bytes as fit.
pub(crate) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let chunks = bytes.chunks_exact(8);
    let mut last = [0; 8];
    let rest = chunks.remainder();
    if !rest.is_empty() {
        last[..rest.len()].copy_from_slice(rest);
    }
    // A chunk of eight bytes becomes a number in one instruction.
    let numbers = chunks.map(|chunk| chunk.try_into().map_or(0, u64::from_ne_bytes));
    let last = (!rest.is_empty()).then_some(u64::from_ne_bytes(last));
    for (word, number) in words.iter().zip(numbers.chain(last)) {
        word.store(number, Ordering::Relaxed);
    }
}

/// The bytes of these words.
pub(crate) fn load_bytes<const N: usize>(words: &[AtomicU64; N]) -> Vec<u8> {
    let words = words.iter();
    words
        .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn words_are_read_as_one_writer_has_left_them() {
        let (lock, words) = (SeqLock::default(), [const { AtomicU64::new(0) }; 4]);
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=100_000 {
                    let store = || {
                        for word in &words {
                            word.store(number, Ordering::Relaxed);
                        }
                    };
                    lock.write(store);
                }
                ends.store(true, Ordering::Release);
            });
            while !ends.load(Ordering::Acquire) {
                let load = || [0, 1, 2, 3].map(|at: usize| words[at].load(Ordering::Relaxed));
                if let Some(seen) = lock.read(load) {
                    assert!(seen.iter().all(|number| *number == seen[0]), "{seen:?}");
                }
            }
        });
        assert_eq!(
            lock.read(|| words[0].load(Ordering::Relaxed)),
            Some(100_000)
        );
    }

    #[test]
    fn words_of_a_writer_that_died_are_not_read() {
        let lock = SeqLock::default();
        lock.0.store(7, Ordering::Relaxed);
        assert_eq!(lock.read(|| ()), None);
        lock.write(|| ());
        assert_eq!(lock.read(|| ()), Some(()));
    }

    #[test]
    fn bytes_fill_words_and_are_cut_where_these_end() {
        let words = [const { AtomicU64::new(0) }; 2];
        store_bytes(&words, b"123456789");
        assert_eq!(load_bytes(&words), b"123456789\0\0\0\0\0\0\0");
        store_bytes(&words, &[b'x'; 100]);
        assert_eq!(load_bytes(&words), [b'x'; 16]);
    }
}
