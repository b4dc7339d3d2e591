//! What tests put in the system's place: each is the system's own, or the simulated one.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use bytes::BytesMut;

use super::network::{Epoll, Socket, send_raw, shut_raw};
use crate::error::{Error, Result};
use crate::net;
use crate::reactor::Waker;
use crate::reactor::host::{BlockedCall, Host};
use crate::reactor::poller::{self, Polled, Readiness};
use crate::reactor::transport::Buffering;
use crate::time::MonoTime;

/// A poll.
pub(in crate::reactor) enum Poller {
    System(poller::Poller),
    Simulated(Epoll),
}

impl Poller {
    pub(in crate::reactor) fn new() -> Result<Self> {
        poller::Poller::new().map(Self::System)
    }

    pub(in crate::reactor) fn listen(&self, index: usize, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Self::System(poller) => poller.listen(index, fd),
            Self::Simulated(_) => Ok(()),
        }
    }

    pub(in crate::reactor) fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Self::System(poller) => poller.watch(fd),
            Self::Simulated(_) => Ok(()),
        }
    }

    pub(in crate::reactor) fn waker(&self) -> Result<Waker> {
        match self {
            Self::System(poller) => poller.waker(),
            Self::Simulated(_) => Err(Error::config("a simulated poll has no other thread")),
        }
    }

    pub(in crate::reactor) fn remover(&self) -> Option<poller::Remover> {
        match self {
            Self::System(poller) => poller.remover(),
            Self::Simulated(_) => None,
        }
    }

    pub(in crate::reactor) fn register(
        &self,
        key: usize,
        stream: &Stream,
        before: Polled,
        wanted: Polled,
    ) -> io::Result<()> {
        match self {
            Self::System(poller) => poller.register(key, stream, before, wanted),
            Self::Simulated(epoll) => {
                epoll.register(stream.raw().0, key, wanted == Polled::ReadWrite);
                Ok(())
            }
        }
    }

    pub(in crate::reactor) fn poll(
        &mut self,
        timeout: Option<Duration>,
        host: &dyn Host,
    ) -> Result<bool> {
        match self {
            Self::System(poller) => poller.poll(timeout, host),
            Self::Simulated(epoll) => {
                epoll.poll(timeout);
                Ok(false)
            }
        }
    }

    pub(in crate::reactor) fn uncork(&self) {
        match self {
            Self::System(poller) => poller.uncork(),
            Self::Simulated(epoll) => epoll.uncork(),
        }
    }

    pub(in crate::reactor) fn wait_for(
        &self,
        call: &BlockedCall<'_>,
        until: MonoTime,
        host: &dyn Host,
    ) -> Result<bool> {
        match self {
            Self::System(poller) => poller.wait_for(call, until, host),
            Self::Simulated(epoll) => {
                epoll.wait_until(until);
                Ok(false)
            }
        }
    }

    pub(in crate::reactor) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::System(poller) => poller.as_fd(),
            Self::Simulated(_) => unreachable!("a simulated poll has no descriptor"),
        }
    }

    pub(in crate::reactor) fn take(&mut self) -> Vec<Readiness> {
        match self {
            Self::System(poller) => poller.take(),
            Self::Simulated(epoll) => epoll.take(),
        }
    }

    pub(in crate::reactor) fn restore(&mut self, found: Vec<Readiness>) {
        if let Self::System(poller) = self {
            poller.restore(found);
        }
    }
}

/// A socket.
#[derive(Debug)]
pub(in crate::reactor) enum Stream {
    System(net::Stream),
    Simulated(Socket),
}

impl From<net::Stream> for Stream {
    fn from(stream: net::Stream) -> Self {
        Self::System(stream)
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::Simulated(socket)
    }
}

impl Stream {
    pub(in crate::reactor) fn receive(&self, block: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::System(stream) => stream.receive(block),
            Self::Simulated(socket) => socket.receive(block),
        }
    }

    #[cfg(feature = "_tls")]
    pub(in crate::reactor) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::System(stream) => stream.read(buffer),
            Self::Simulated(socket) => {
                let mut block = BytesMut::with_capacity(buffer.len());
                let n = socket.receive(&mut block)?;
                buffer[..n].copy_from_slice(&block);
                Ok(n)
            }
        }
    }

    pub(in crate::reactor) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::System(stream) => stream.write_vectored(slices),
            Self::Simulated(socket) => socket.write_vectored(slices),
        }
    }

    pub(in crate::reactor) fn write_corked(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::System(stream) => stream.write_corked(slices),
            Self::Simulated(socket) => socket.write_corked(slices),
        }
    }

    pub(in crate::reactor) fn sendfile(
        &self,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        match self {
            Self::System(stream) => stream.sendfile(file, offset, count),
            Self::Simulated(_) => Err(nix::errno::Errno::EINVAL.into()),
        }
    }

    pub(in crate::reactor) fn unsent(&self) -> io::Result<u64> {
        match self {
            Self::System(stream) => stream.unsent(),
            Self::Simulated(socket) => Ok(socket.unsent()),
        }
    }

    pub(in crate::reactor) fn has_hung_up(&self) -> io::Result<bool> {
        match self {
            Self::System(stream) => stream.has_hung_up(),
            Self::Simulated(socket) => Ok(socket.has_hung_up()),
        }
    }

    pub(in crate::reactor) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::System(stream) => stream.shutdown_write(),
            Self::Simulated(socket) => socket.shutdown_write(),
        }
    }

    pub(in crate::reactor) fn part(&self) {
        match self {
            Self::System(stream) => stream.part(),
            Self::Simulated(socket) => socket.close(),
        }
    }

    pub(in crate::reactor) fn raw(&self) -> RawSocket {
        match self {
            Self::System(stream) => RawSocket(stream.raw().0),
            Self::Simulated(socket) => RawSocket(socket.number()),
        }
    }
}

impl Buffering for Stream {
    fn has_buffered(&self) -> bool {
        matches!(self, Self::Simulated(socket) if socket.has_buffered())
    }

    fn is_emptied_by_a_short_read(&self) -> bool {
        !matches!(self, Self::Simulated(socket) if socket.is_sealed())
    }

    fn flush(&self) -> bool {
        match self {
            Self::System(stream) => stream.flush(),
            Self::Simulated(socket) => socket.flush(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::System(stream) => stream.as_fd(),
            Self::Simulated(socket) => socket.as_fd(),
        }
    }
}

/// A socket as a signal handler may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) struct RawSocket(pub(in crate::reactor) i32);

impl RawSocket {
    pub(in crate::reactor) fn send(self, bytes: &[u8]) -> bool {
        send_raw(self.0, bytes).unwrap_or_else(|| net::RawSocket(self.0).send(bytes))
    }

    pub(in crate::reactor) fn shut(self, cut: bool) {
        if !shut_raw(self.0, cut) {
            net::RawSocket(self.0).shut(cut);
        }
    }
}
