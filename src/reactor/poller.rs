//! [`Poller`]: what tells the reactor that something can be read, written or accepted.
//!
//! It decides nothing, and no other file of the reactor knows mio.
//!
//! *Invariants*: a socket is registered once, edge-triggered, and told of once for each edge.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Poll, Token};

use super::host::{BlockedCall, Host};
#[cfg(test)]
use super::simulator;
use super::transport::Transport;
use crate::error::{Error, Result};
use crate::time::MonoTime;

/// Tokens from here on are not connections.
const LISTENERS: usize = usize::MAX / 2;
const WAKE: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);

/// What a socket is polled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    Nothing,
    Read,
    ReadWrite,
}

/// Something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// The descriptor of [`Poller::watch`] is readable.
    Wake,
    /// A [`Waker`] was used.
    Waker,
    /// A connection may wait at the listener with this index.
    Listener(usize),
    /// The connection with this key can go on; `None` where there is only room to write.
    Connection(usize, Option<Edge>),
}

/// A socket has something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) hung_up: bool,
}

/// Ends the wait of a [`Reactor::poll`](super::Reactor::poll) from another thread; made by
/// [`Reactor::waker`](super::Reactor::waker).
#[derive(Debug)]
pub struct Waker(mio::Waker);

impl Waker {
    /// The poll that waits now, or the next one that would, ends.
    pub fn wake(&self) {
        // eventfd(2) fails where its counter is full, which wakes as well.
        let _ = self.0.wake();
    }
}

pub(super) enum Poller {
    System {
        poll: Poll,
        events: Events,
    },
    #[cfg(test)]
    Simulated(simulator::Epoll),
}

/// What one poll has found.
pub(super) enum Batch {
    System(Events),
    #[cfg(test)]
    Simulated(Vec<Readiness>),
}

impl Poller {
    /// A poll of the system's. To be made after any fork: an epoll set is shared with children, and so are its edges.
    pub(super) fn new() -> Result<Self> {
        Ok(Self::System {
            poll: Poll::new().map_err(|e| Error::io("cannot make a poll", e))?,
            events: Events::with_capacity(256),
        })
    }

    /// Tells of connections that wait at a listener, by its index.
    pub(super) fn listen(&self, index: usize, listener: BorrowedFd<'_>) -> io::Result<()> {
        self.add(listener, Token(LISTENERS + index), mio::Interest::READABLE)
    }

    /// Tells when `fd` is readable.
    pub(super) fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.add(fd, WAKE, mio::Interest::READABLE)
    }

    fn add(&self, fd: BorrowedFd<'_>, token: Token, interest: mio::Interest) -> io::Result<()> {
        match self {
            Self::System { poll, .. } => {
                let mut source = SourceFd(&fd.as_raw_fd());
                poll.registry().register(&mut source, token, interest)
            }
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// What ends the wait from another thread.
    pub(super) fn waker(&self) -> Result<Waker> {
        match self {
            Self::System { poll, .. } => mio::Waker::new(poll.registry(), WAKER)
                .map(Waker)
                .map_err(|e| Error::io("cannot make a waker", e)),
            #[cfg(test)]
            Self::Simulated(_) => Err(Error::config("a simulated poll has no other thread")),
        }
    }

    /// Has a connection polled for `wanted`, that was polled for `before`.
    pub(super) fn register(
        &self,
        key: usize,
        transport: &Transport,
        before: Polled,
        wanted: Polled,
    ) -> io::Result<()> {
        match self {
            Self::System { poll, .. } => {
                let interest = match wanted {
                    Polled::ReadWrite => mio::Interest::READABLE | mio::Interest::WRITABLE,
                    Polled::Read | Polled::Nothing => mio::Interest::READABLE,
                };
                let (registry, fd) = (poll.registry(), transport.as_fd().as_raw_fd());
                if before == Polled::Nothing {
                    registry.register(&mut SourceFd(&fd), Token(key), interest)
                } else {
                    registry.reregister(&mut SourceFd(&fd), Token(key), interest)
                }
            }
            #[cfg(test)]
            Self::Simulated(readiness) => {
                readiness.register(transport.raw().0, key, wanted == Polled::ReadWrite);
                Ok(())
            }
        }
    }

    /// Waits until something has happened, for `timeout` at the most; tells whether a signal has interrupted that.
    pub(super) fn poll(&mut self, timeout: Option<Duration>, host: &dyn Host) -> Result<bool> {
        let (poll, events) = match self {
            Self::System { poll, events } => (poll, events),
            #[cfg(test)]
            Self::Simulated(readiness) => {
                readiness.poll(timeout);
                return Ok(false);
            }
        };
        let mut outcome = Ok(());
        if timeout == Some(Duration::ZERO) {
            outcome = poll.poll(events, timeout);
        } else {
            host.wait(&mut || outcome = poll.poll(events, timeout));
        }
        match outcome {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(true)
            }
            Err(error) => Err(Error::io("cannot poll", error)),
        }
    }

    /// Waits for the client of a call, or until something else has happened, `until` at the most; tells whether a
    /// signal has interrupted that.
    pub(super) fn wait_for(
        &mut self,
        call: &BlockedCall<'_>,
        until: MonoTime,
        host: &dyn Host,
    ) -> Result<bool> {
        match self {
            // An epoll set is readable itself while it has events (epoll(7)).
            Self::System { poll, .. } => call.wait(host, Some(poll.registry().as_fd()), until),
            #[cfg(test)]
            Self::Simulated(readiness) => {
                readiness.wait_until(until);
                Ok(false)
            }
        }
    }

    /// Takes what was found, to be given [back](Self::restore) as memory for the next time.
    pub(super) fn take(&mut self) -> Batch {
        match self {
            Self::System { events, .. } => {
                Batch::System(std::mem::replace(events, Events::with_capacity(0)))
            }
            #[cfg(test)]
            Self::Simulated(readiness) => Batch::Simulated(readiness.take()),
        }
    }

    pub(super) fn restore(&mut self, batch: Batch) {
        match (self, batch) {
            (Self::System { events, .. }, Batch::System(memory)) => *events = memory,
            #[cfg(test)]
            (Self::Simulated(_) | Self::System { .. }, _) => {}
        }
    }
}

impl Batch {
    /// Tells of each thing that was found.
    pub(super) fn for_each(&self, each: impl FnMut(Readiness)) {
        match self {
            Self::System(events) => events.iter().map(ready).for_each(each),
            #[cfg(test)]
            Self::Simulated(found) => found.iter().copied().for_each(each),
        }
    }
}

fn ready(event: &mio::event::Event) -> Readiness {
    match event.token() {
        WAKE => Readiness::Wake,
        WAKER => Readiness::Waker,
        Token(index) if index >= LISTENERS => Readiness::Listener(index - LISTENERS),
        Token(key) => {
            let hung_up = event.is_read_closed() || event.is_error();
            let edge = (event.is_readable() || hung_up).then_some(Edge { hung_up });
            Readiness::Connection(key, edge)
        }
    }
}
