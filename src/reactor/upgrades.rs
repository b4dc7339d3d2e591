//! [`Upgrades`]: the connections that calls have taken over, until the calls return.
//!
//! *Invariants*: a socket is known here only while its connection has it open; once they are shut down, each later one
//! is, too.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::poller::Remover;
use super::transport::{RawSocket, Stream};

/// The connections of one reactor that calls have taken over. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Upgrades(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    remover: Option<Remover>,
    sockets: Mutex<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    taken: Slab<RawSocket>,
    shut: bool,
}

impl Upgrades {
    pub(super) fn new(remover: Option<Remover>) -> Self {
        Self(Arc::new(Inner {
            remover,
            sockets: Mutex::default(),
        }))
    }

    /// A call takes this connection over: it is polled no more.
    pub(super) fn begin(&self, stream: &Stream) -> Upgrade {
        if let Some(remover) = &self.0.remover {
            remover.remove(stream.as_fd());
        }
        let mut sockets = self.0.lock();
        if sockets.shut {
            stream.raw().shut(true);
        }
        let key = sockets.taken.insert(stream.raw());
        let of = Arc::clone(&self.0);
        Upgrade { of, key }
    }

    /// Shuts all of them down, and those to come.
    pub(super) fn shut(&self) {
        let mut sockets = self.0.lock();
        sockets.shut = true;
        for (_, socket) in &sockets.taken {
            socket.shut(true);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection that a call has taken over. To be dropped before its socket is closed.
#[derive(Debug)]
pub(super) struct Upgrade {
    of: Arc<Inner>,
    key: usize,
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        self.of.lock().taken.remove(self.key);
    }
}
