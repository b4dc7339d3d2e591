//! [`Transport`]: what a connection's protocol reads from and writes to, and whether it may be read.
//!
//! It is plain: a socket. Another kind, as TLS is, has bytes of its own between the socket and the protocol. All that
//! it would do otherwise has a method here, and no other file of the reactor assumes a socket.
//!
//! *Invariants*: an edge is used up only by a read that has found nothing more; nothing here waits.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};

#[cfg(test)]
use super::simulator;
use crate::net::Stream;

/// How much of a file is read at once where the system does not send it by itself.
const COPIED: usize = 64 * 1024;

/// A connection's bytes, in both directions.
#[derive(Debug)]
pub(super) struct Transport {
    channel: Channel,
    /// Whether there may be something to read: an edge that has not been used up.
    pub(super) readable: bool,
    /// Whether the peer has shut its side down: a short read is then not the last.
    pub(super) hung_up: bool,
}

#[derive(Debug)]
enum Channel {
    Plain(Stream),
    #[cfg(test)]
    Simulated(simulator::Socket),
}

impl Transport {
    /// A socket, and nothing between.
    pub(super) fn plain(stream: Stream) -> Self {
        Self::over(Channel::Plain(stream))
    }

    #[cfg(test)]
    pub(super) fn simulated(socket: simulator::Socket) -> Self {
        Self::over(Channel::Simulated(socket))
    }

    fn over(channel: Channel) -> Self {
        Self {
            channel,
            readable: true,
            hung_up: false,
        }
    }

    /// The poll has told of the socket.
    pub(super) fn on_readable(&mut self, hung_up: bool) {
        self.readable = true;
        self.hung_up |= hung_up;
    }

    /// Whether a read may bring something.
    pub(super) fn may_read(&self) -> bool {
        self.readable || self.has_buffered()
    }

    /// Whether it has bytes that the socket does not tell of any more: over a plain one never.
    fn has_buffered(&self) -> bool {
        match &self.channel {
            Channel::Plain(_) => false,
            #[cfg(test)]
            Channel::Simulated(socket) => socket.has_buffered(),
        }
    }

    /// Whether a read that brings less than it could has emptied the socket: over a plain one it has.
    fn is_emptied_by_a_short_read(&self) -> bool {
        match &self.channel {
            Channel::Plain(_) => true,
            #[cfg(test)]
            Channel::Simulated(socket) => !socket.is_sealed(),
        }
    }

    /// Reads once into the room that `block` has left, and notes whether there may be more; 0 is the peer's end.
    ///
    /// A short read has emptied a plain socket: epoll will tell of more, so there is no second read to be told so
    /// (epoll(7), "Questions and answers"), unless the peer has hung up.
    pub(super) fn read(&mut self, block: &mut BytesMut) -> io::Result<usize> {
        let read = retry(|| match &self.channel {
            Channel::Plain(stream) => stream.receive(block),
            #[cfg(test)]
            Channel::Simulated(socket) => socket.receive(block),
        });
        self.readable = match read {
            Ok(n) => {
                let more = self.hung_up || !self.is_emptied_by_a_short_read();
                block.len() == block.capacity() || (more && n > 0)
            }
            Err(_) => false,
        };
        read
    }

    /// Writes of the slices what the socket takes, which may be less than all; says how many bytes that was.
    pub(super) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        retry(|| match &self.channel {
            Channel::Plain(stream) => stream.write_vectored(slices),
            #[cfg(test)]
            Channel::Simulated(socket) => socket.write_vectored(slices),
        })
    }

    /// Has the socket take what was written and is kept on the way: over a plain one nothing. `false` where it does
    /// not take all of it. A failure is left to the next read or write.
    pub(super) fn flush(&self) -> bool {
        match &self.channel {
            Channel::Plain(_) => true,
            #[cfg(test)]
            Channel::Simulated(socket) => socket.flush(),
        }
    }

    /// Sends up to `count` bytes of `file` from `offset` on, moves `offset` past what was sent, and says how many
    /// bytes that was; 0 where the file ends before `offset`.
    pub(super) fn send_file(
        &self,
        file: &File,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        let sent = match &self.channel {
            Channel::Plain(stream) => retry(|| stream.sendfile(file.as_fd(), offset, count)),
            #[cfg(test)]
            Channel::Simulated(_) => Err(Errno::EINVAL.into()),
        };
        match sent {
            Err(error) if is_refused(&error) => self.copy_file(file, offset, count),
            sent => sent,
        }
    }

    /// Reads from a file, where the system cannot send it by itself, and sends what the socket takes of it.
    fn copy_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        let mut buffer = vec![0; count.min(COPIED)];
        let read = file.read_at(&mut buffer, *offset)?;
        if read == 0 {
            return Ok(0);
        }
        let sent = self.write_vectored(&[IoSlice::new(&buffer[..read])])?;
        *offset += sent as u64;
        Ok(sent)
    }

    /// How many bytes the system has taken and not delivered yet; 0 where it does not tell.
    pub(super) fn unsent(&self) -> u64 {
        match &self.channel {
            Channel::Plain(stream) => stream.unsent().unwrap_or(0),
            #[cfg(test)]
            Channel::Simulated(socket) => socket.unsent(),
        }
    }

    /// Whether the peer has ended its output, or the connection is lost. Where the system does not tell, a write
    /// will.
    pub(super) fn has_hung_up(&self) -> bool {
        match &self.channel {
            Channel::Plain(stream) => stream.has_hung_up().unwrap_or(false),
            #[cfg(test)]
            Channel::Simulated(socket) => socket.has_hung_up(),
        }
    }

    /// Ends the output; input goes on.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match &self.channel {
            Channel::Plain(stream) => stream.shutdown_write(),
            #[cfg(test)]
            Channel::Simulated(socket) => socket.shutdown_write(),
        }
    }

    /// The socket for a signal handler.
    pub(super) fn raw(&self) -> RawSocket {
        match &self.channel {
            Channel::Plain(stream) => RawSocket(stream.as_fd().as_raw_fd()),
            #[cfg(test)]
            Channel::Simulated(socket) => RawSocket(socket.number()),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.channel {
            Channel::Plain(stream) => stream.as_fd(),
            #[cfg(test)]
            Channel::Simulated(socket) => socket.as_fd(),
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        match &self.channel {
            Channel::Plain(stream) => stream.part(),
            #[cfg(test)]
            Channel::Simulated(socket) => socket.close(),
        }
    }
}

/// A socket as a signal handler may use it (signal-safety(7)): by system calls alone, as long as it is open.
///
/// Over a transport that is not plain nothing can be said so: there it can only be [cut](Self::cut).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawSocket(pub(super) RawFd);

impl RawSocket {
    pub(super) const NONE: Self = Self(-1);

    /// Sends all of `bytes`, and tells whether that was possible.
    pub(super) fn send(self, bytes: &[u8]) -> bool {
        #[cfg(test)]
        if let Some(sent) = simulator::Socket::send_raw(self.0, bytes) {
            return sent;
        }
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        socket::send(self.0, bytes, flags) == Ok(bytes.len())
    }

    /// Ends the output.
    pub(super) fn end_output(self) {
        self.shut(socket::Shutdown::Write);
    }

    /// Ends the connection.
    pub(super) fn cut(self) {
        self.shut(socket::Shutdown::Both);
    }

    fn shut(self, how: socket::Shutdown) {
        #[cfg(test)]
        if simulator::Socket::shut_raw(self.0, how == socket::Shutdown::Both) {
            return;
        }
        // It fails only where the client has gone.
        let _ = socket::shutdown(self.0, how);
    }
}

/// Makes a call again that a signal has interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Whether the system does not send this file by itself (`sendfile(2)`): a file system or a socket that cannot, a
/// kernel that does not know how, a filter of system calls.
fn is_refused(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_call_itself_is_one() {
        for (number, refused) in [
            (Errno::EINVAL, true),
            (Errno::ENOSYS, true),
            (Errno::EPERM, true),
            (Errno::EOPNOTSUPP, true),
            (Errno::EAGAIN, false),
            (Errno::EPIPE, false),
            (Errno::EIO, false),
        ] {
            let error = io::Error::from(number);
            assert_eq!(is_refused(&error), refused, "{error}");
        }
    }
}
