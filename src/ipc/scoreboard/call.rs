//! [`Call`]: a request that a worker is answering, as the other processes see it.
//!
//! *Invariants*: a place belongs to one call at a time; a request's text is read whole or not at all.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::sys::mapping::shared;
use crate::sys::seqlock::{SeqLock, load_bytes, store_bytes};
use crate::sys::stacks;
use crate::time::MonoTime;

/// How much of "METHOD target" is kept, in words of eight bytes.
const WORDS: usize = 16;
/// The longest method that is kept, in bytes. The longest registered one has 17 (RFC 3253).
const METHOD: usize = 20;

/// A running call of a worker's service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// When it began.
    pub started: MonoTime,
    /// The thread that is in it, by the number under which debuggers and Python list it (`pthread_self(3)`).
    pub thread: u64,
    /// Whether it has taken its connection over, and may last for long: `request_timeout` is not for it.
    pub upgraded: bool,
    /// Method and target, both cut to their first bytes (about 120 together). `None` in the instant when
    /// the worker writes them.
    pub request: Option<(String, String)>,
}

shared! {
    /// One running call of a worker. Neighbours are written by different threads.
    pub(super) struct CallCell {
        /// 0 while the place is free.
        started: AtomicU64,
        /// `pthread_self(3)` of the thread.
        thread: AtomicU64,
        /// Of lengths and text.
        lock: SeqLock,
        lengths: AtomicU32,
        /// 1 for a call that has taken its connection over.
        upgraded: AtomicU32,
        text: [AtomicU64; WORDS],
    }
}

impl CallCell {
    /// Takes the place, unless another call has it.
    pub(super) fn claim(&self, now: MonoTime) -> bool {
        // The exchange alone would fetch the neighbours' lines for writing.
        self.started.load(Ordering::Relaxed) == 0
            && self
                .started
                .compare_exchange(
                    0,
                    now.as_nanos().max(1),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// The call has taken its connection over.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(1, Ordering::Relaxed);
    }

    /// Gives the place up.
    pub(super) fn end(&self) {
        if self.upgraded.load(Ordering::Relaxed) != 0 {
            self.upgraded.store(0, Ordering::Relaxed);
        }
        self.started.store(0, Ordering::Release);
    }

    pub(super) fn sign(&self) {
        self.thread.store(stacks::this_thread(), Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.started.store(0, Ordering::Relaxed);
        self.upgraded.store(0, Ordering::Relaxed);
        // Its worker may have died while it wrote.
        self.lock.write(|| self.lengths.store(0, Ordering::Relaxed));
    }

    pub(super) fn read(&self) -> Option<Call> {
        match self.started.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Call {
                started: MonoTime::from_nanos(nanos),
                thread: self.thread.load(Ordering::Relaxed),
                upgraded: self.upgraded.load(Ordering::Relaxed) != 0,
                request: self.request(),
            }),
        }
    }

    pub(super) fn write(&self, method: &[u8], target: &[u8]) {
        let mut bytes = [0; WORDS * 8];
        let method = &method[..method.len().min(METHOD)];
        let target = &target[..target.len().min(bytes.len() - method.len())];
        let end = method.len() + target.len();
        bytes[..method.len()].copy_from_slice(method);
        bytes[method.len()..end].copy_from_slice(target);

        let lengths = method.len() as u32 | (target.len() as u32) << 8;
        self.lock.write(|| {
            self.lengths.store(lengths, Ordering::Relaxed);
            store_bytes(&self.text, &bytes[..end.next_multiple_of(8)]);
        });
    }

    fn request(&self) -> Option<(String, String)> {
        let read = || (self.lengths.load(Ordering::Relaxed), load_bytes(&self.text));
        let (lengths, bytes) = self.lock.read(read)?;
        let method = (lengths & 0xff) as usize;
        let end = method + (lengths >> 8) as usize;
        let text = |range| bytes.get(range).map(String::from_utf8_lossy);
        let (method, target) = (text(0..method)?, text(method..end)?);
        (end > 0).then(|| (method.into_owned(), target.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(method: &str, target: &str) -> CallCell {
        let cell = CallCell::default();
        assert!(cell.claim(MonoTime::from_nanos(2)));
        cell.write(method.as_bytes(), target.as_bytes());
        cell
    }

    fn request(cell: &CallCell) -> Option<(String, String)> {
        cell.read()?.request
    }

    #[test]
    fn a_long_target_is_cut() {
        let cell = begun("VERSION-CONTROL-AND-MORE", &"/x".repeat(500));
        let (method, target) = request(&cell).unwrap();
        assert_eq!(method, "VERSION-CONTROL-AND-");
        assert_eq!(target, "/x".repeat((WORDS * 8 - METHOD) / 2));
    }

    #[test]
    fn text_of_a_call_is_not_that_of_the_next_one() {
        let cell = begun("GET", "/");
        cell.clear();
        assert_eq!(request(&cell), None);
        assert!(cell.claim(MonoTime::from_nanos(3)));
        cell.write(b"GET", b"/again");
        assert_eq!(request(&cell), Some(("GET".into(), "/again".into())));
    }
}
