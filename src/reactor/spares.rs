//! Memory that busy connections borrow and idle ones give back, so that a thousand idle ones cost no buffers.

use bytes::BytesMut;

use super::exchange::Link;
use crate::h1::Head;

/// How many are kept; more are freed.
const KEPT: usize = 64;
/// Capacity past which a block is freed rather than kept.
const LARGE: usize = 16 * 1024;

/// The pool of a reactor.
#[derive(Debug, Default)]
pub(super) struct Spares {
    heads: Vec<Head>,
    blocks: Vec<BytesMut>,
}

impl Spares {
    /// Gives a connection what it needs to read and answer a request.
    pub(super) fn lend(&mut self, link: &mut Link) {
        if let Some(head) = self.heads.pop() {
            link.http.recycle(head);
        }
        if let Some(block) = self.blocks.pop() {
            link.recycle_block(block);
        }
    }

    /// Takes it back from a connection that has fallen idle.
    pub(super) fn take_back(&mut self, link: &mut Link) {
        if let Some(head) = link.http.release() {
            if self.heads.len() < KEPT {
                self.heads.push(head);
            }
        }
        let block = link.release_block();
        if self.blocks.len() < KEPT && (1..=LARGE).contains(&block.capacity()) {
            self.blocks.push(block);
        }
    }
}
