//! Accepting: the [`Acceptor`] of a reactor, who comes in through them, and who waits outside.
//!
//! No connection is read here, and none is closed but for another that has no place.
//!
//! ```text
//!   open ── pause: the host says later, or descriptors are short ──▶ open
//!    │ ├── crowded: all places are taken by requests ──────────────▶ open
//!    ▼
//!   drained: the queues are left, or emptied and then closed or refused
//! ```
//!
//! *Invariants*: a gate is asked until it says that nobody waits, since mio tells of each edge once; while
//! somebody is in the line, those who wait outside are accepted one at a time, each in its place of the line,
//! unless the reactor takes its leave; who is left to other workers keeps that place, and for a time only.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Registry, Token};

use super::connection::Connection;
use super::episode::Episode;
use super::host::{Admit, Host};
use super::{LISTENERS, Place, Reactor};
use crate::error::{Error, Result};
use crate::net::{Listener, Listeners, QueuePolicy};
use crate::service::{self, Address};
use crate::time::MonoTime;
use crate::trace;

/// Connections accepted in one turn, if the host lets them all in.
const ACCEPTS_A_TURN: usize = 16;
/// The same where the reactor takes its leave: a whole queue of the longest kind (`somaxconn`, listen(2)), since
/// the calls between two turns may take all the time that there is.
const LAST_ACCEPTS: usize = 4096;
/// How long an exhausted table of descriptors is given to recover.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How often a reactor that has no place looks whether somebody is slow.
const CROWDED: Duration = Duration::from_secs(1);
/// For how long a newcomer who has a place in the line is left to other workers. Those of a line that takes longer
/// than that had the time to come for it, or have a line themselves.
const LEFT_TO_OTHERS: Duration = Duration::from_millis(5);
/// For how long a draining reactor empties the listeners' queues at the most, where ever more come.
pub(super) const DRAIN_ACCEPT: Duration = Duration::from_millis(400);

/// A listener, and whether it may have a connection for us: mio tells of each edge once.
#[derive(Debug)]
struct Gate {
    listener: Arc<Listener>,
    index: usize,
    address: Address,
    maybe: bool,
}

/// The listeners of a reactor, and what keeps it from accepting.
#[derive(Debug)]
pub(super) struct Acceptor {
    all: Vec<Gate>,
    /// Which one is asked first: each has its turn.
    first: usize,
    /// When to ask the host again whether it accepts.
    admit_at: Option<MonoTime>,
    /// Whether that is because the host was full: then also when a connection has gone or come back.
    full: bool,
    /// Until when no connection is accepted, unless another has gone before, or could go: with time one may be slow.
    crowded: Option<MonoTime>,
    /// While descriptors, or memory for sockets, are short.
    short: Episode,
    /// What becomes of those who wait when the reactor takes its leave.
    queues: QueuePolicy,
}

impl Acceptor {
    /// Has `listeners` polled.
    pub(super) fn open(listeners: &Listeners, registry: &Registry) -> Result<Self> {
        let mut all = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.iter().enumerate() {
            registry
                .register(
                    &mut SourceFd(&listener.as_fd().as_raw_fd()),
                    Token(LISTENERS + index),
                    mio::Interest::READABLE,
                )
                .map_err(|e| Error::io(format_args!("cannot poll {listener}"), e))?;
            all.push(Gate {
                listener: Arc::clone(listener),
                index,
                address: Address::from(&**listener),
                maybe: true,
            });
        }
        Ok(Self {
            all,
            first: 0,
            admit_at: None,
            full: false,
            crowded: None,
            short: Episode::default(),
            queues: QueuePolicy::Keep,
        })
    }

    /// Whether all are closed.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The reactor takes its leave.
    pub(super) fn drain(&mut self, queues: QueuePolicy) {
        self.queues = queues;
        self.crowded = None;
        self.admit_at = None;
        if queues == QueuePolicy::Keep {
            self.abandon();
        }
        for gate in &mut self.all {
            gate.maybe = true;
        }
    }

    /// The reactor accepts nobody any more: who waits in the queues is left to others.
    pub(super) fn abandon(&mut self) {
        self.all.clear();
    }

    /// Somebody may wait at this listener.
    pub(super) fn on_readable(&mut self, index: usize) {
        for gate in self.all.iter_mut().filter(|gate| gate.index == index) {
            gate.maybe = true;
        }
    }

    /// When it may be worth to accept, [`MonoTime::ZERO`] being now; `None` where nobody waits or nobody has room.
    pub(super) fn next(&self) -> Option<MonoTime> {
        let somebody = self.all.iter().any(|gate| gate.maybe);
        somebody.then(|| self.admit_at.max(self.crowded).unwrap_or(MonoTime::ZERO))
    }

    /// Whether nobody is to be let in for a while. A host that was full is asked again each time.
    fn is_shut(&self, now: MonoTime) -> bool {
        let is_before = |at: MonoTime| now < at;
        self.crowded.is_some_and(is_before) || !self.full && self.admit_at.is_some_and(is_before)
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

    /// How many wait to be accepted; at least `least` where somebody does and the system does not tell.
    fn waiting(&mut self, least: usize) -> usize {
        let mut waiting = 0;
        for gate in self.all.iter_mut().filter(|gate| gate.maybe) {
            let count = gate.listener.waiting();
            gate.maybe = count != Some(0);
            waiting += count.unwrap_or(least);
        }
        waiting
    }

    /// Which gate is to be asked next.
    fn turn(&self) -> Option<usize> {
        let count = self.all.len();
        let mut order = (0..count).map(|n| (self.first + n) % count);
        order.find(|&at| self.all[at].maybe)
    }

    /// Closes those at which nobody waits any more; all of them where the time is `over`.
    fn close(&mut self, over: bool) {
        let refuse = self.queues == QueuePolicy::DrainAndClose;
        self.all.retain(|gate| {
            let stays = gate.maybe && !over;
            if !stays && refuse {
                gate.listener.refuse();
            }
            stays
        });
    }
}

impl Reactor {
    /// Accepts what the host lets in, from each listener in turn, until somebody is in the line: what else is in
    /// the queue may find another thread free. A reactor that takes its leave accepts all.
    pub(super) fn accept(&mut self, host: &dyn Host, now: MonoTime) {
        let most = match self.draining {
            None => ACCEPTS_A_TURN,
            Some(_) => LAST_ACCEPTS,
        };
        for _ in 0..most {
            if self.draining.is_none() && !self.queue.is_empty() {
                break;
            }
            let Some(position) = self.let_in(None, host, now) else {
                // Where the host is full they have to wait as requests do.
                if self.acceptor.full {
                    self.expect(host, now);
                }
                break;
            };
            if let Some(key) = self.accept_from(position, host, now) {
                self.queue.push(key);
            }
        }
        if let Some(until) = self.draining {
            self.acceptor.close(now >= until);
        }
    }

    /// Gives places in the line to those who wait outside: this reactor's share of them.
    pub(super) fn expect(&mut self, host: &dyn Host, now: MonoTime) {
        if self.draining.is_none() && !self.acceptor.is_shut(now) {
            let waiting = self.acceptor.waiting(self.queue.requests().max(1));
            self.queue.expect(host.share(waiting), now);
        }
    }

    /// Accepts whoever has come to the front of the line, with a place `since` then, if there is still somebody; its
    /// key if it has sent a complete request.
    pub(super) fn welcome(
        &mut self,
        since: MonoTime,
        host: &dyn Host,
        now: MonoTime,
    ) -> Option<usize> {
        if self.draining.is_some() {
            return None;
        }
        let position = self.let_in(Some(since), host, now)?;
        self.accept_from(position, host, now)
    }

    /// At which gate one more may come in, who may have a place in the line `since` then; `None` where there is none,
    /// or no room.
    fn let_in(&mut self, since: Option<MonoTime>, host: &dyn Host, now: MonoTime) -> Option<usize> {
        if self.acceptor.is_shut(now) {
            return None;
        }
        self.acceptor.admit_at = None;
        self.acceptor.crowded = None;
        self.acceptor.full = false;
        let position = self.acceptor.turn()?;
        // Who waits in the queue when the server leaves is answered, and nobody comes after them.
        if self.draining.is_some() {
            return Some(position);
        }
        match host.admit(now, self.connections.len()) {
            Admit::Accept => {}
            Admit::Later(pause) => match since {
                None => {
                    self.acceptor.admit_at = Some(now + pause);
                    return None;
                }
                Some(since) if now.since(since) < LEFT_TO_OTHERS => {
                    self.queue.put_off(since);
                    return None;
                }
                Some(_) => {}
            },
            Admit::Full => {
                self.acceptor.full = true;
                self.acceptor.admit_at = Some(now + EXHAUSTED);
                return None;
            }
            Admit::Closed => {
                self.acceptor.abandon();
                return None;
            }
        }
        if !self.has_room(now) {
            self.acceptor.crowded = Some(now + CROWDED);
            return None;
        }
        Some(position)
    }

    /// Whether one more connection may be open, in the place of another if need be.
    fn has_room(&self, now: MonoTime) -> bool {
        self.connections.len() < self.config.worker_connections.max(1)
            || self.eviction_candidate(now).is_some()
    }

    /// The connection that goes first where a new one needs a place. Looks at all of them: that is for the
    /// worst hour only, and less than accepting costs.
    fn eviction_candidate(&self, now: MonoTime) -> Option<usize> {
        let here = self
            .connections
            .iter()
            .filter_map(|(key, place)| match place {
                Place::Here(connection) => Some((key, connection)),
                Place::InFlight { .. } => None,
            });
        let known = here.filter_map(|(key, connection)| {
            Some((connection.eviction_rank(now, &self.config)?, key))
        });
        known.min().map(|(_, key)| key)
    }

    /// Accepts at this gate; the connection's key if it has sent a complete request.
    fn accept_from(&mut self, position: usize, host: &dyn Host, now: MonoTime) -> Option<usize> {
        self.acceptor.first = position + 1;
        let gate = &mut self.acceptor.all[position];
        match gate.listener.accept() {
            Ok((stream, peer)) => {
                let full = self.connections.len() >= self.config.worker_connections.max(1);
                if full && self.draining.is_none() {
                    if let Some(key) = self.eviction_candidate(now) {
                        trace::debug!(
                            "worker_connections are open: closing one that can be spared"
                        );
                        self.close(key, host);
                    }
                }
                let gate = &self.acceptor.all[position];
                let peer = peer.map_or(Address::Unix(None), Address::Ip);
                let info = service::ConnectionInfo::new(peer, gate.index, gate.address.clone());
                let connection = Connection::new(stream, info, &self.config, &self.totals, now);
                let key = self.connections.insert(Place::Here(Box::new(connection)));
                host.connections(self.connections.len());
                let ready = self.run(key, host, now, Connection::advance);
                return ready.then_some(key);
            }
            Err(error) => match error.kind() {
                // The second: another worker has ended the listening, since the server stops (shutdown(2)).
                io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput => gate.maybe = false,
                // The client has left the queue (accept(2), "Error handling").
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                _ => {
                    if self.acceptor.short.begins(now) {
                        trace::error!("cannot accept on {}: {error}", gate.listener);
                    }
                    self.acceptor.admit_at = Some(now + EXHAUSTED);
                }
            },
        }
        None
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
