//! Memory that busy connections borrow and idle ones give back, so that a thousand idle ones cost no buffers.
//!
//! A large block is read into once, and a body that fits stays in it until its call is over: no byte of it is moved
//! before, and the allocator is not asked.
//!
//! *Invariants*: what is kept is bounded, by [`KEPT`] and [`KEPT_BYTES`]; a reactor that has been idle keeps nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::h1::HeadMemory;
use crate::time::MonoTime;

/// How many heads and small blocks are kept; more are freed.
const KEPT: usize = 64;
/// How many bytes of large blocks are kept: as many bodies as may wait for their calls where work never ends.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Capacity past which a block is large.
pub(super) const LARGE: usize = 16 * 1024;
/// After how long without a request everything is given back.
const REST: Duration = Duration::from_secs(5);
/// The bytes of one read: a body of the usual `body_buffer`, with its head.
const READ: usize = 64 * 1024 + LARGE;

#[derive(Debug, Default)]
pub(super) struct BufferPool {
    pub(super) heads: Vec<HeadMemory>,
    /// The small ones.
    pub(super) blocks: Vec<BytesMut>,
    large: Vec<BytesMut>,
    /// The capacity of the large ones.
    bytes: usize,
    /// When a request was answered last; `None` since a rest.
    used: Option<MonoTime>,
}

impl BufferPool {
    /// Keeps the memory of a head, if there is room for it.
    pub(super) fn keep_head(&mut self, head: HeadMemory) {
        if self.heads.len() < KEPT {
            self.heads.push(head);
        }
    }

    /// Keeps a small block, if there is room for it.
    pub(super) fn keep_small_block(&mut self, block: BytesMut) {
        if self.blocks.len() < KEPT && (1..=LARGE).contains(&block.capacity()) {
            self.blocks.push(block);
        }
    }

    /// An empty block to read into, the one that was used last.
    pub(super) fn scratch(&mut self) -> BytesMut {
        self.block(READ)
    }

    /// An empty block with room for `len` bytes, at least.
    pub(super) fn block(&mut self, len: usize) -> BytesMut {
        match self.large.iter().rposition(|block| block.capacity() >= len) {
            Some(at) => {
                let block = self.large.swap_remove(at);
                self.bytes -= block.capacity();
                block
            }
            None => BytesMut::with_capacity(len.max(READ)),
        }
    }

    /// Memory for `len` bytes and as many again: a part of a body, which grows.
    pub(super) fn memory(&mut self, len: usize) -> BytesMut {
        if len < LARGE {
            BytesMut::with_capacity(2 * len)
        } else {
            self.block(2 * len)
        }
    }

    /// Keeps the memory of bytes that are no longer needed, if no other value shares them.
    pub(super) fn reclaim(&mut self, bytes: Bytes) {
        if bytes.len() >= LARGE {
            self.reuse(bytes.try_into_mut().ok());
        }
    }

    /// Keeps a block, if it is a large one and there is room for it.
    pub(super) fn reuse(&mut self, block: Option<BytesMut>) {
        let Some(mut block) = block else { return };
        block.clear();
        // From its start, whatever part of it was used last.
        let _ = block.try_reclaim(READ);
        let capacity = block.capacity();
        if capacity >= READ && self.bytes + capacity <= KEPT_BYTES {
            self.bytes += capacity;
            self.large.push(block);
        }
    }

    /// When everything is given back, if nothing is used before.
    pub(super) fn rest_at(&self) -> Option<MonoTime> {
        self.used.map(|used| used + REST)
    }

    /// Notes that a request is answered.
    pub(super) fn note(&mut self, now: MonoTime) {
        self.used = Some(now);
    }

    /// Gives everything back to the allocator, once after some seconds without a request; tells whether it has.
    pub(super) fn rest(&mut self, now: MonoTime) -> bool {
        let rests = self.rest_at().is_some_and(|at| at <= now);
        if rests {
            *self = Self::default();
        }
        rests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_whole_once_no_part_of_it_is_used() {
        let mut pool = BufferPool::default();
        let mut block = pool.scratch();
        let start = block.as_ptr();
        block.extend_from_slice(&vec![7; 2 * LARGE]);
        let head = block.split_to(100).freeze();
        let body = block.freeze();
        pool.reclaim(body.clone());
        assert!(pool.large.is_empty(), "it is being read");
        pool.reclaim(body);
        assert!(pool.large.is_empty(), "the head is a part of it");
        pool.reuse(head.try_into_mut().ok());
        assert_eq!(pool.bytes, READ);
        let again = pool.scratch();
        assert_eq!((again.as_ptr(), again.capacity()), (start, READ));
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn what_is_kept_is_bounded_and_given_back() {
        let mut pool = BufferPool::default();
        let blocks: Vec<_> = (0..100).map(|_| pool.block(1)).collect();
        for block in blocks {
            pool.reuse(Some(block));
        }
        assert_eq!(pool.bytes, pool.large.len() * READ);
        assert!((KEPT_BYTES - READ..=KEPT_BYTES).contains(&pool.bytes));
        pool.reuse(Some(BytesMut::with_capacity(LARGE)));
        assert!(pool.large.iter().all(|block| block.capacity() >= READ));
        assert_eq!(pool.rest_at(), None);
        pool.note(MonoTime::ZERO);
        assert!(!pool.rest(MonoTime::ZERO + REST / 2) && pool.bytes > 0);
        assert!(pool.rest(MonoTime::ZERO + REST));
        assert_eq!((pool.bytes, pool.large.capacity()), (0, 0));
        assert!(!pool.rest(MonoTime::ZERO + REST), "it rests already");
    }

    #[test]
    fn a_block_has_the_room_that_was_asked_for() {
        let mut pool = BufferPool::default();
        let small = pool.block(1);
        let large = pool.block(10 * READ);
        let start = large.as_ptr();
        pool.reuse(Some(large));
        pool.reuse(Some(small));
        assert_eq!(pool.block(READ + 1).as_ptr(), start);
        assert!(pool.block(READ + 1).capacity() > READ);
    }
}
