//! [`Acceptor`]: the listeners of a reactor, and what keeps it from accepting.
//!
//! It reads no connection and closes none.
//!
//! ```text
//!   open ── paused: the host says later, or descriptors are short ──▶ open
//!    │ ├── crowded: all places are taken by requests ───────────────▶ open
//!    ▼
//!   draining: the queues are left, or emptied and then closed or refused
//! ```
//!
//! *Invariants*: a listener is asked until it says that no connection waits, since the poll tells of each edge once.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::episode::Episode;
#[cfg(not(test))]
use super::poller::Poller;
#[cfg(test)]
use super::simulator::Poller;
use super::transport::Transport;
use crate::error::{Error, Result};
use crate::net::{Listener, Listeners, QueuePolicy};
use crate::service::{Address, ConnectionInfo};
use crate::time::MonoTime;
use crate::trace;

/// How long an exhausted table of descriptors is given to recover, and a host that is full.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How often a reactor that has no place looks whether a client is slow.
const CROWDED: Duration = Duration::from_secs(1);

/// For how long a draining reactor empties the listeners' queues at the most, where ever more come.
pub(super) const DRAIN_ACCEPT: Duration = Duration::from_millis(400);

/// A source of connections.
pub(super) trait Queue: fmt::Debug + fmt::Display + Send + Sync {
    fn accept(&self) -> io::Result<(Transport, Address)>;

    /// Tells how many connections wait; `None` where the system does not tell.
    fn waiting(&self) -> Option<usize>;

    /// Has new connections refused.
    fn refuse(&self) {}
}

/// A listener, and whether a connection may wait there.
#[derive(Debug)]
pub(super) struct Entrance {
    queue: Arc<dyn Queue>,
    index: usize,
    address: Address,
    pub(super) maybe: bool,
}

#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) entrances: Vec<Entrance>,
    /// Which one is asked first: each has its turn.
    first: usize,
    /// When to ask the host again whether it accepts.
    admit_at: Option<MonoTime>,
    /// True if that is because the host was full: then also when a connection has gone or come back.
    pub(super) full: bool,
    /// Until when no connection is accepted, unless another has gone before, or could go: with time one may be slow.
    crowded: Option<MonoTime>,
    /// While descriptors, or memory for sockets, are short.
    short: Episode,
    /// The treatment of the connections that wait when the reactor drains.
    queues: QueuePolicy,
}

impl Acceptor {
    pub(super) fn open(listeners: &Listeners, poller: &Poller) -> Result<Self> {
        let mut queues: Vec<(Arc<dyn Queue>, Address)> = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.iter().enumerate() {
            poller
                .listen(index, listener.as_fd())
                .map_err(|e| Error::io(format_args!("cannot poll {listener}"), e))?;
            let address = Address::from(&**listener);
            queues.push((Arc::<Listener>::clone(listener), address));
        }
        Ok(Self::over(queues))
    }

    pub(super) fn over(queues: Vec<(Arc<dyn Queue>, Address)>) -> Self {
        let entrances = queues.into_iter().enumerate();
        Self {
            entrances: entrances
                .map(|(index, (queue, address))| Entrance {
                    queue,
                    index,
                    address,
                    maybe: true,
                })
                .collect(),
            first: 0,
            admit_at: None,
            full: false,
            crowded: None,
            short: Episode::default(),
            queues: QueuePolicy::Keep,
        }
    }

    pub(super) fn drain(&mut self, queues: QueuePolicy) {
        self.queues = queues;
        self.crowded = None;
        self.admit_at = None;
        if queues == QueuePolicy::Keep {
            self.abandon();
        }
        for entrance in &mut self.entrances {
            entrance.maybe = true;
        }
    }

    /// The reactor accepts no more: connections that wait in the queues are left to other workers.
    pub(super) fn abandon(&mut self) {
        self.entrances.clear();
    }

    /// A connection may wait at this listener.
    pub(super) fn on_readable(&mut self, index: usize) {
        for entrance in self
            .entrances
            .iter_mut()
            .filter(|entrance| entrance.index == index)
        {
            entrance.maybe = true;
        }
    }

    /// When it may be worth to accept, [`MonoTime::ZERO`] being now; `None` where no connection waits.
    pub(super) fn next(&self) -> Option<MonoTime> {
        let some = self.entrances.iter().any(|entrance| entrance.maybe);
        some.then(|| self.admit_at.max(self.crowded).unwrap_or(MonoTime::ZERO))
    }

    /// Tells whether no connection is to be let in for a while. A host that was full is asked again each time.
    pub(super) fn is_shut(&self, now: MonoTime) -> bool {
        let is_before = |at: MonoTime| now < at;
        self.crowded.is_some_and(is_before) || !self.full && self.admit_at.is_some_and(is_before)
    }

    /// The time of a pause is over: the listener that is to be asked next, if there is one.
    pub(super) fn reopen(&mut self) -> Option<usize> {
        self.admit_at = None;
        self.crowded = None;
        self.full = false;
        let count = self.entrances.len();
        let mut order = (0..count).map(|n| (self.first + n) % count);
        order.find(|&at| self.entrances[at].maybe)
    }

    /// The host accepts nothing before `pause` is over.
    pub(super) fn pause(&mut self, now: MonoTime, pause: Duration) {
        self.admit_at = Some(now + pause);
    }

    /// The host has no room.
    pub(super) fn fill_up(&mut self, now: MonoTime) {
        self.full = true;
        self.admit_at = Some(now + EXHAUSTED);
    }

    pub(super) fn crowd(&mut self, now: MonoTime) {
        self.crowded = Some(now + CROWDED);
    }

    /// A connection has gone, or could go where `room` says so.
    pub(super) fn make_room(&mut self, room: bool) {
        self.crowded = self.crowded.filter(|_| !room);
    }

    /// A host that was full may have room again.
    pub(super) fn retry_admission(&mut self) {
        if std::mem::take(&mut self.full) {
            self.admit_at = None;
        }
    }

    /// Tells how many connections wait to be accepted; at least `least` where some may and the system does not tell.
    pub(super) fn waiting(&mut self, least: usize) -> usize {
        let mut waiting = 0;
        for entrance in self.entrances.iter_mut().filter(|entrance| entrance.maybe) {
            let count = entrance.queue.waiting();
            entrance.maybe = count != Some(0);
            waiting += count.unwrap_or(least);
        }
        waiting
    }

    pub(super) fn accept(
        &mut self,
        position: usize,
        now: MonoTime,
    ) -> Option<(Transport, ConnectionInfo)> {
        self.first = position + 1;
        let entrance = &mut self.entrances[position];
        let error = match entrance.queue.accept() {
            Ok((transport, peer)) => {
                let info = ConnectionInfo::new(peer, entrance.index, entrance.address.clone());
                return Some((transport, info));
            }
            Err(error) => error,
        };
        match error.kind() {
            // The second: another worker has ended the listening, since the server stops (shutdown(2)).
            io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput => entrance.maybe = false,
            // The client has left the queue (accept(2), "Error handling").
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
            _ => {
                if self.short.begins(now) {
                    trace::error!("cannot accept on {}: {error}", entrance.queue);
                }
                self.admit_at = Some(now + EXHAUSTED);
            }
        }
        None
    }

    /// Closes those at which no connection waits any more; all of them where the time is `over`.
    pub(super) fn close(&mut self, over: bool) {
        let refuse = self.queues == QueuePolicy::DrainAndClose;
        self.entrances.retain(|entrance| {
            let stays = entrance.maybe && !over;
            if !stays && refuse {
                entrance.queue.refuse();
            }
            stays
        });
    }
}

impl Queue for Listener {
    fn accept(&self) -> io::Result<(Transport, Address)> {
        let (stream, peer) = self.accept()?;
        let peer = peer.map_or(Address::Unix(None), Address::Ip);
        Ok((Transport::new(stream), peer))
    }

    fn waiting(&self) -> Option<usize> {
        self.waiting()
    }

    fn refuse(&self) {
        self.refuse();
    }
}

impl From<&Listener> for Address {
    fn from(listener: &Listener) -> Self {
        match listener.socket_addr() {
            Some(address) => Self::Ip(address),
            None => Self::Unix(listener.unix_path().map(Into::into)),
        }
    }
}
