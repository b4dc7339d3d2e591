//! Reactors with a fault each, planted between the world and the real one.
//!
//! They show what the simulator can find; each is a mistake that would be easy to make.

use std::sync::Arc;
use std::time::Duration;

use super::world::World;
use crate::reactor::connection::Phase;
use crate::reactor::host::Host;
use crate::reactor::poller::Polled;
use crate::reactor::run_queue::Entry;
use crate::reactor::{PendingRequest, Place, Reactor};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// An edge that came during a call is forgotten.
    LosesTheEdgeOfACall,
    /// An edge is used up before the read that has emptied the socket.
    LosesAnEdge,
    /// The end that came with the last bytes is not read.
    ForgetsTheHangUp,
    /// A connection waits without a deadline.
    ForgetsADeadline,
    /// The deadline of a head moves with each of its bytes.
    MovesADeadline,
    /// A deadline comes before its time.
    HurriesAClient,
    /// A poll takes as long as it may, whatever is due.
    Oversleeps,
    /// The last request is served first.
    ServesTheLastFirst,
    /// What comes back goes before what waits.
    ServesOneClientOnly,
    /// More are taken than were there.
    TakesWithoutBound,
    /// A request is in the queue twice.
    QueuesTwice,
    /// A share is never given back.
    LeaksAShare,
    /// A byte of a response is lost.
    LosesAByte,
    /// A block of a response is sent twice.
    RepeatsABlock,
    /// The poll is not asked for room.
    ForgetsToAskForRoom,
    /// One connection more than there may be.
    AcceptsOneTooMany,
    /// A connection is closed in the place of another.
    ClosesAnother,
    /// A client is left outside.
    ForgetsTheListener,
    /// A connection that has had its share of a poll is not read again.
    ForgetsTheUnfinished,
    /// What is held back stays, and only the timer ends that.
    ForgetsToLetGo,
    /// What is held back waits for a long call.
    LosesTheTimer,
}

impl Bug {
    pub(super) const ALL: [Self; 21] = [
        Self::LosesTheEdgeOfACall,
        Self::LosesAnEdge,
        Self::ForgetsTheHangUp,
        Self::ForgetsADeadline,
        Self::MovesADeadline,
        Self::HurriesAClient,
        Self::Oversleeps,
        Self::ServesTheLastFirst,
        Self::ServesOneClientOnly,
        Self::TakesWithoutBound,
        Self::QueuesTwice,
        Self::LeaksAShare,
        Self::LosesAByte,
        Self::RepeatsABlock,
        Self::ForgetsToAskForRoom,
        Self::AcceptsOneTooMany,
        Self::ClosesAnother,
        Self::ForgetsTheListener,
        Self::ForgetsTheUnfinished,
        Self::ForgetsToLetGo,
        Self::LosesTheTimer,
    ];
}

impl World<'_> {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn plant_before(&mut self) {
        if self.has(Bug::AcceptsOneTooMany) {
            let reactor = self.reactor.get_mut();
            Arc::make_mut(&mut reactor.config)
                .settings
                .worker_connections += 1;
        }
        let corks = &mut self.network.state().corks;
        corks.stays = self.bug == Some(Bug::ForgetsToLetGo);
        corks.loses_timer = self.bug == Some(Bug::LosesTheTimer);
    }

    pub(super) fn plant_before_poll(&self, wait: Duration) {
        let now = self.now();
        let reactor = &mut *self.reactor.borrow_mut();
        match self.bug {
            Some(Bug::Oversleeps) => {
                let _ = reactor.poller.poll(Some(wait), self);
            }
            Some(Bug::LosesTheEdgeOfACall) => {
                for (_, place) in &mut reactor.connections {
                    if let Place::InFlight { edge, .. } = place {
                        *edge = None;
                    }
                }
            }
            Some(Bug::MovesADeadline) => {
                let late = now + self.config.settings.head_timeout;
                for key in heads(reactor) {
                    reactor.deadlines.set(key, late);
                }
            }
            Some(Bug::HurriesAClient) => {
                for key in heads(reactor) {
                    reactor.deadlines.set(key, now);
                }
            }
            Some(Bug::ForgetsTheUnfinished) => reactor.again.clear(),
            Some(Bug::ForgetsTheListener) => {
                reactor
                    .acceptor
                    .entrances
                    .iter_mut()
                    .for_each(|it| it.maybe = false);
            }
            _ => {}
        }
    }

    pub(super) fn plant_after_poll(&self) {
        let reactor = &mut *self.reactor.borrow_mut();
        for (key, place) in &mut reactor.connections {
            let Place::Here(connection) = place else {
                continue;
            };
            let phase = connection.phase;
            let io = connection.io.get_mut();
            match self.bug {
                Some(Bug::LosesAnEdge) => io.transport.readable = false,
                Some(Bug::ForgetsTheHangUp) if io.transport.hung_up => {
                    io.transport.hung_up = false;
                    io.transport.readable = false;
                }
                Some(Bug::ForgetsADeadline) if phase == Phase::Linger => {
                    reactor.deadlines.clear(key);
                }
                Some(Bug::ForgetsToAskForRoom) if connection.polled == Polled::ReadWrite => {
                    let (before, wanted) = (Polled::ReadWrite, Polled::Read);
                    let stream = &connection.io.get_mut().transport.stream;
                    let _ = reactor.poller.register(key, stream, before, wanted);
                }
                _ => {}
            }
        }
        let queue = &mut reactor.queue;
        match self.bug {
            Some(Bug::ServesTheLastFirst) => queue.places.make_contiguous().reverse(),
            Some(Bug::QueuesTwice) => {
                if let Some(first) = queue.places.front().copied() {
                    if matches!(first, Entry::Request(_)) {
                        queue.places.push_back(first);
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn plant_before_next(&self) {
        if self.has(Bug::TakesWithoutBound) {
            let queue = &mut self.reactor.borrow_mut().queue;
            let later = std::mem::take(&mut queue.later);
            queue.places.extend(later.into_iter().map(Entry::Request));
            queue.due = queue.places.len();
        }
    }

    pub(super) fn plant_before_return(&self, request: &mut PendingRequest) {
        let io = request.connection.io.get_mut();
        match self.bug {
            Some(Bug::LosesAByte) if !io.outbox.is_empty() => io.outbox.clear(),
            Some(Bug::RepeatsABlock) if !io.outbox.is_empty() => io.outbox.push(b"again"),
            Some(Bug::LeaksAShare) => {
                let mut share = self.reactor.borrow().totals.files.share();
                share.set(1);
                std::mem::forget(share);
            }
            _ => {}
        }
    }

    pub(super) fn plant_after_return(&self, key: usize) {
        let mut reactor = self.reactor.borrow_mut();
        match self.bug {
            Some(Bug::ServesOneClientOnly) => {
                let later = std::mem::take(&mut reactor.queue.later);
                for key in later {
                    reactor.queue.places.push_front(Entry::Request(key));
                    reactor.queue.due += 1;
                }
            }
            Some(Bug::ClosesAnother) => {
                let mut others = reactor
                    .connections
                    .iter()
                    .filter_map(|(at, place)| match place {
                        Place::Here(it) if at != key && it.phase == Phase::Body => Some(at),
                        _ => None,
                    });
                if let Some(other) = others.next() {
                    reactor.close(other, self);
                }
            }
            _ => {}
        }
    }
}

/// Connections within a head.
fn heads(reactor: &Reactor) -> Vec<usize> {
    let heads = reactor
        .connections
        .iter()
        .filter_map(|(key, place)| match place {
            Place::Here(it) if it.phase == Phase::Head && !it.is_idle() => Some(key),
            _ => None,
        });
    heads.collect()
}
