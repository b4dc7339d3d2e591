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
use super::transport::Stream;
use crate::error::{Error, Result};
use crate::net;
use crate::time::MonoTime;

/// Tokens from here on are not connections.
const LISTENERS: usize = usize::MAX / 2;
const WAKE: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    Nothing,
    Read,
    ReadWrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// The descriptor of [`Poller::watch`] is readable.
    Wake,
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

/// Takes connections out of a poll.
#[derive(Debug)]
pub(super) struct Remover(mio::Registry);

impl Remover {
    pub(super) fn remove(&self, socket: BorrowedFd<'_>) {
        // It fails where the socket was never polled.
        let _ = self.0.deregister(&mut SourceFd(&socket.as_raw_fd()));
    }
}

pub(super) struct Poller {
    poll: Poll,
    events: Events,
    found: Vec<Readiness>,
}

impl Poller {
    /// To be made after any fork: an epoll set is shared with children, and so are its edges.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new().map_err(|e| Error::io("cannot make a poll", e))?,
            events: Events::with_capacity(256),
            found: Vec::new(),
        })
    }

    /// Tells of connections that wait at a listener, by its index.
    pub(super) fn listen(&self, index: usize, listener: BorrowedFd<'_>) -> io::Result<()> {
        self.add(listener, Token(LISTENERS + index))
    }

    pub(super) fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.add(fd, WAKE)
    }

    fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), token, mio::Interest::READABLE)
    }

    /// Returns the handle that ends the wait from another thread.
    pub(super) fn waker(&self) -> Result<Waker> {
        mio::Waker::new(self.poll.registry(), WAKER)
            .map(Waker)
            .map_err(|e| Error::io("cannot make a waker", e))
    }

    /// What takes connections out of the poll, from any thread; `None` where the system has no descriptor for it.
    pub(super) fn remover(&self) -> Option<Remover> {
        self.poll.registry().try_clone().ok().map(Remover)
    }

    /// Has a connection polled for `wanted`, that was polled for `before`.
    pub(super) fn register(
        &self,
        key: usize,
        stream: &Stream,
        before: Polled,
        wanted: Polled,
    ) -> io::Result<()> {
        let interest = match wanted {
            Polled::ReadWrite => mio::Interest::READABLE | mio::Interest::WRITABLE,
            Polled::Read | Polled::Nothing => mio::Interest::READABLE,
        };
        let (registry, fd) = (self.poll.registry(), stream.as_fd().as_raw_fd());
        if before == Polled::Nothing {
            registry.register(&mut SourceFd(&fd), Token(key), interest)
        } else {
            registry.reregister(&mut SourceFd(&fd), Token(key), interest)
        }
    }

    /// Waits until something has happened, for `timeout` at the most; tells whether a signal has interrupted that.
    pub(super) fn poll(&mut self, timeout: Option<Duration>, host: &dyn Host) -> Result<bool> {
        let Self { poll, events, .. } = self;
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

    /// Has the system send what it holds back of responses.
    #[expect(
        clippy::unused_self,
        reason = "what is held back is the process's, and a simulated poll's its own"
    )]
    pub(super) fn uncork(&self) {
        net::Stream::uncork();
    }

    /// Waits for the client of a call, or until something else has happened, `until` at the most; tells whether a
    /// signal has interrupted that.
    pub(super) fn wait_for(
        &self,
        call: &BlockedCall<'_>,
        until: MonoTime,
        host: &dyn Host,
    ) -> Result<bool> {
        call.wait(host, Some(self.as_fd()), until)
    }

    /// The epoll set, which is readable while something has happened in it (epoll(7)).
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }

    /// Takes what the last poll has found, to be given [back](Self::restore) as memory for the next time.
    pub(super) fn take(&mut self) -> Vec<Readiness> {
        self.found.extend(self.events.iter().map(ready));
        self.events.clear();
        std::mem::take(&mut self.found)
    }

    pub(super) fn restore(&mut self, mut found: Vec<Readiness>) {
        found.clear();
        self.found = found;
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
