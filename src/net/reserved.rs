//! [`Reserved`]: an address that is had and not listened on, with the queues in which its connections wait
//! (`SO_REUSEPORT`, socket(7)): one for each post that a worker can have.
//!
//! It keeps no queue open but for a moment: a queue is its holders', and closed with the last of them.
//!
//! ```text
//!   post 0 ── queue ── worker 1, and worker 3, which is to replace it
//!   post 1 ── queue ── worker 2, killed ──┐
//!             queue ── another arbiter's ─┴─▶ free ──▶ the next post without one, or closed
//! ```
//!
//! *Invariant*: a post keeps its queue while a listener in this process holds it, and shares it with no other post.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

#[derive(Debug)]
pub(super) struct Reserved<Q> {
    /// How long each queue may become.
    pub(super) backlog: u32,
    queues: Mutex<ReservedQueues<Q>>,
}

#[derive(Debug)]
struct ReservedQueues<Q> {
    /// Those that were left behind.
    free: Vec<Arc<Q>>,
    at: BTreeMap<usize, Weak<Q>>,
}

impl<Q> Reserved<Q> {
    pub(super) fn new(backlog: u32, free: Vec<Arc<Q>>) -> Self {
        let at = BTreeMap::new();
        let queues = ReservedQueues { free, at };
        Self {
            backlog,
            queues: Mutex::new(queues),
        }
    }

    /// The queue of a post: that which is there, one that is free, or a new one.
    ///
    /// # Errors
    ///
    /// That of `open`.
    pub(super) fn queue<E>(
        &self,
        post: usize,
        open: impl FnOnce() -> Result<Q, E>,
    ) -> Result<Arc<Q>, E> {
        let mut queues = self.lock();
        queues.at.retain(|_, queue| queue.strong_count() > 0);
        if let Some(queue) = queues.at.get(&post).and_then(Weak::upgrade) {
            return Ok(queue);
        }
        let queue = match queues.free.pop() {
            Some(queue) => queue,
            None => Arc::new(open()?),
        };
        queues.at.insert(post, Arc::downgrade(&queue));
        Ok(queue)
    }

    /// Takes back the queue of a worker that has ended unasked, unless another worker holds it.
    pub(super) fn take_back(&self, queue: &Arc<Q>) {
        if Arc::strong_count(queue) == 1 {
            let mut queues = self.lock();
            let gone = Arc::downgrade(queue);
            queues.at.retain(|_, at| !at.ptr_eq(&gone));
            queues.free.push(Arc::clone(queue));
        }
    }

    /// Closes the free queues: their connections would never be accepted.
    pub(super) fn close_free(&self) {
        self.lock().free.clear();
    }

    fn lock(&self) -> MutexGuard<'_, ReservedQueues<Q>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{BindError, Listener, SocketAccess};

    fn new() -> Result<Listener, BindError> {
        let address = "127.0.0.1:0".parse().unwrap();
        Listener::reserve(&address, 16, SocketAccess::default())
    }

    fn none() -> Result<Listener, BindError> {
        panic!("there is one")
    }

    #[test]
    fn a_post_keeps_its_queue_as_long_as_a_worker_has_it() {
        let reserved = Reserved::new(16, Vec::new());
        let first = reserved.queue(0, new).unwrap();
        let other = reserved.queue(1, new).unwrap();
        let replacement = reserved.queue(0, none).unwrap();
        assert!(Arc::ptr_eq(&first, &replacement) && !Arc::ptr_eq(&first, &other));
        // The replacement holds it still, so it is not free.
        reserved.take_back(&first);
        drop(first);
        assert!(Arc::ptr_eq(&replacement, &reserved.queue(0, none).unwrap()));
        let address = replacement.socket_addr();
        drop(replacement);
        assert_ne!(reserved.queue(0, new).unwrap().socket_addr(), address);
    }

    #[test]
    fn a_queue_left_behind_is_for_the_next_worker_or_closed() {
        let handed_over = Arc::new(new().unwrap());
        let reserved = Reserved::new(16, vec![Arc::clone(&handed_over)]);
        assert!(Arc::ptr_eq(&handed_over, &reserved.queue(0, none).unwrap()));
        reserved.take_back(&handed_over);
        let next = reserved.queue(3, none).unwrap();
        assert!(Arc::ptr_eq(&handed_over, &next));
        drop(next);
        reserved.take_back(&handed_over);
        reserved.close_free();
        assert_eq!(Arc::strong_count(&handed_over), 1);
        reserved.queue(0, new).unwrap();
    }
}
