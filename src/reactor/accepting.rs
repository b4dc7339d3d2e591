//! Accepting, as the reactor does it: which connection comes in, and which one makes room for it.
//!
//! *Invariants*: while requests wait, connections are accepted one at a time, each in its place of the queue, unless
//! the reactor drains; a connection that is left to other workers keeps that place, and for a time only.

use std::time::Duration;

use super::connection::Connection;
use super::host::{Admit, Host};
use super::{Place, Reactor};
use crate::time::MonoTime;
use crate::trace;

/// Connections accepted in one turn, if the host lets them all in.
const ACCEPTS_A_TURN: usize = 16;
/// The same for a reactor that drains: a whole queue of the longest kind (`somaxconn`, listen(2)), since
/// the calls between two turns may take all the time that there is.
const LAST_ACCEPTS: usize = 4096;
/// For how long a connection with a place in the queue is left to other workers. After that time they have had the
/// chance to accept it, or have queues themselves.
const LEFT_TO_OTHERS: Duration = Duration::from_millis(5);

impl Reactor {
    /// Accepts what the host lets in, from each listener in turn, until a request is queued: another thread
    /// may be free for the other connections. A reactor that drains accepts all.
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

    /// Gives places in the queue to connections that wait to be accepted: this reactor's share of them.
    pub(super) fn expect(&mut self, host: &dyn Host, now: MonoTime) {
        if self.draining.is_none() && !self.acceptor.is_shut(now) {
            let waiting = self.acceptor.waiting(self.queue.requests().max(1));
            self.queue.expect(host.share(waiting), now);
        }
    }

    /// Accepts the connection at the front of the queue, with a place `since` then, if one still waits. Returns its key
    /// if it has sent a complete request.
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

    /// At which listener one more connection may come in, that may have a place in the queue `since` then; `None`
    /// where there is none, or no room.
    fn let_in(&mut self, since: Option<MonoTime>, host: &dyn Host, now: MonoTime) -> Option<usize> {
        if self.acceptor.is_shut(now) {
            return None;
        }
        let position = self.acceptor.reopen()?;
        // What waits in the listener's queue when the server leaves is answered, and nothing comes after it.
        if self.draining.is_some() {
            return Some(position);
        }
        match host.admit(now, self.connections.len()) {
            Admit::Accept => {}
            Admit::Later(pause) => match since {
                None => {
                    self.acceptor.pause(now, pause);
                    return None;
                }
                Some(since) if now.since(since) < LEFT_TO_OTHERS => {
                    self.queue.put_off(since);
                    return None;
                }
                Some(_) => {}
            },
            Admit::Full => {
                self.acceptor.fill_up(now);
                return None;
            }
            Admit::Closed => {
                self.acceptor.abandon();
                return None;
            }
        }
        if !self.has_room(now) {
            self.acceptor.crowd(now);
            return None;
        }
        Some(position)
    }

    /// Tells whether one more connection may be open, in the place of another if need be.
    fn has_room(&self, now: MonoTime) -> bool {
        self.connections.len() < self.config.settings.worker_connections.max(1)
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

    /// Accepts at this listener; the connection's key if it has sent a complete request.
    fn accept_from(&mut self, position: usize, host: &dyn Host, now: MonoTime) -> Option<usize> {
        let (transport, info) = self.acceptor.accept(position, now)?;
        let full = self.connections.len() >= self.config.settings.worker_connections.max(1);
        if full && self.draining.is_none() {
            if let Some(key) = self.eviction_candidate(now) {
                trace::debug!("worker_connections is reached: closing a connection to make room");
                self.close(key, host);
            }
        }
        let connection =
            Connection::new(transport, info, &self.config, &self.http, &self.totals, now);
        let key = self.connections.insert(Place::Here(Box::new(connection)));
        host.connections(self.connections.len());
        let ready = self.run(key, host, now, Connection::advance);
        ready.then_some(key)
    }
}
