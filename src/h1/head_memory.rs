//! [`HeadMemory`]: memory for a request's head, which serves one connection after the other. Nothing of a head is in it.

use bytes::BytesMut;

use super::head::Head;
use super::types::Span;

/// A block larger than this is not kept.
pub(super) const LARGE: usize = 16 * 1024;

/// Memory for a request's head: see [`Conn::release`](super::Conn::release).
#[derive(Debug, Default)]
pub struct HeadMemory {
    pub(super) block: BytesMut,
    pub(super) fields: Vec<(Span, Span)>,
}

impl HeadMemory {
    pub(super) fn is_empty(&self) -> bool {
        self.block.capacity() == 0 && self.fields.capacity() == 0
    }

    /// Takes what it has not from another one.
    pub(super) fn fill(&mut self, other: Self) {
        if self.block.capacity() == 0 {
            self.block = other.block;
        }
        if self.fields.capacity() == 0 {
            self.fields = other.fields;
        }
    }

    /// Takes what it has not from a head; returns a block that is too large.
    pub(super) fn take_from(&mut self, head: Head) -> Option<BytesMut> {
        let Head {
            block, mut fields, ..
        } = head;
        if self.fields.capacity() == 0 {
            fields.clear();
            self.fields = fields;
        }
        // Not where a piece of the body still shares it.
        let mut block = block.try_into_mut().ok()?;
        block.clear();
        if block.capacity() > LARGE {
            return Some(block);
        }
        if self.block.capacity() == 0 {
            self.block = block;
        }
        None
    }
}
