//! [`Transport`]: what a connection's protocol reads from and writes to, and whether it may be read.
//!
//! Nothing between the socket and the protocol has bytes of its own, unless its [`Buffering`] says so, or there is TLS.
//!
//! *Invariants*: an edge is used up only by a read that has found nothing more; nothing here waits.

#[cfg(feature = "_tls")]
mod tls;

#[cfg(feature = "_tls")]
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

#[cfg(test)]
pub(super) use super::simulator::{RawSocket, Stream};
use crate::net;
#[cfg(feature = "_tls")]
use crate::net::tls::Tls;
#[cfg(not(test))]
pub(super) use crate::net::{RawSocket, Stream};
#[cfg(feature = "_tls")]
use crate::service::TlsInfo;
#[cfg(feature = "_tls")]
pub(super) use tls::PlainHttp;

/// How much of a file is read at once where the system does not send it by itself.
const COPIED: usize = 64 * 1024;

/// The buffering between a socket and its protocol: none, unless a method says otherwise.
pub(super) trait Buffering {
    /// Tells whether it has bytes that the socket does not tell of any more.
    fn has_buffered(&self) -> bool {
        false
    }

    /// Tells whether a read that brings less than it could has emptied the socket.
    fn is_emptied_by_a_short_read(&self) -> bool {
        true
    }

    /// Whether it is more than the socket: then there are no bytes of the protocol's on the socket itself.
    fn is_sealed(&self) -> bool {
        !self.is_emptied_by_a_short_read()
    }

    /// Has the socket take what was written and is kept on the way. `false` where the socket does not take all of it.
    /// A failure is left to the next read or write.
    fn flush(&self) -> bool {
        true
    }
}

impl Buffering for net::Stream {}

/// A connection's bytes, in both directions.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(super) struct Transport {
    pub(super) stream: Stream,
    /// True if there may be something to read: an edge that has not been used up.
    pub(super) readable: bool,
    /// True if the peer has shut its side down: a short read is then not the last.
    pub(super) hung_up: bool,
    /// True if files are read and written instead of being sent by the system.
    pub(super) copies_files: bool,
    /// Whether a call has the socket, which it ends by itself.
    detached: bool,
    /// True if the system holds back what is written now.
    pub(super) corked: bool,
    #[cfg(feature = "_tls")]
    tls: Option<Box<RefCell<tls::Session>>>,
}

impl Transport {
    pub(super) fn new(stream: impl Into<Stream>) -> Self {
        Self {
            stream: stream.into(),
            readable: true,
            hung_up: false,
            copies_files: false,
            detached: false,
            corked: false,
            #[cfg(feature = "_tls")]
            tls: None,
        }
    }

    /// Begins TLS, whose first bytes have been read already. An end without `close_notify` is one like any other where
    /// `ragged` says so.
    ///
    /// # Errors
    ///
    /// Those of a [read](Self::read).
    #[cfg(feature = "_tls")]
    pub(super) fn begin_tls(&mut self, tls: &Tls, ragged: bool, first: &[u8]) -> io::Result<()> {
        let Some(session) = tls::Session::new(tls, ragged) else {
            // It must not go on as a plain one.
            self.stream.raw().shut(true);
            return Err(io::ErrorKind::Other.into());
        };
        let session = self.tls.insert(Box::new(RefCell::new(session)));
        session.get_mut().begin_with(first, &self.stream)
    }

    /// What follows is plain: the peer speaks no TLS.
    #[cfg(feature = "_tls")]
    pub(super) fn end_tls(&mut self) {
        self.tls = None;
    }

    /// The facts of a session whose handshake is over.
    #[cfg(feature = "_tls")]
    pub(super) fn tls_info(&self) -> Option<TlsInfo> {
        self.tls.as_ref().map(|tls| tls.borrow().info())
    }

    /// The poll has told of the socket.
    pub(super) fn on_readable(&mut self, hung_up: bool) {
        self.readable = true;
        self.hung_up |= hung_up;
    }

    /// Tells whether a read may bring something.
    pub(super) fn may_read(&self) -> bool {
        #[cfg(feature = "_tls")]
        if self.has_plaintext() {
            return true;
        }
        self.readable || self.stream.has_buffered()
    }

    /// Tells whether there is plaintext that was not read, or the end of TLS.
    #[cfg(feature = "_tls")]
    pub(super) fn has_plaintext(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.borrow().has_buffered())
    }

    /// Reads once into the room that `block` has left, and notes whether there may be more; 0 is the peer's end.
    ///
    /// A short read has emptied a plain socket: epoll will tell of more, so there is no second read to be told so
    /// (epoll(7), "Questions and answers"), unless the peer has hung up.
    ///
    /// # Errors
    ///
    /// Those of the socket. After `WouldBlock` over TLS another read [may](Self::may_read) find more at once.
    pub(super) fn read(&mut self, block: &mut BytesMut) -> io::Result<usize> {
        #[cfg(feature = "_tls")]
        if let Some(tls) = &mut self.tls {
            let (stream, edge, last) = (&self.stream, &mut self.readable, self.hung_up);
            return retry(|| tls.get_mut().read(stream, block, edge, last));
        }
        let read = retry(|| self.stream.receive(block));
        self.readable = match read {
            Ok(n) => {
                let more = self.hung_up || !self.stream.is_emptied_by_a_short_read();
                block.len() == block.capacity() || (more && n > 0)
            }
            Err(_) => false,
        };
        read
    }

    /// Writes of the slices what the socket takes, which may be less than all; says how many bytes that was.
    pub(super) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "_tls")]
        if let Some(tls) = &self.tls {
            return tls.borrow_mut().write_vectored(&self.stream, slices);
        }
        if self.corked {
            return retry(|| self.stream.write_corked(slices));
        }
        retry(|| self.stream.write_vectored(slices))
    }

    /// Sends up to `count` bytes of `file` from `offset` on, moves `offset` past what was sent, and says how many
    /// bytes that was; 0 where the file ends before `offset`.
    pub(super) fn send_file(
        &self,
        file: &File,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        if self.copies_files || self.is_encrypted() {
            if !self.flush() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            return self.copy_file(file, offset, count);
        }
        match retry(|| self.stream.sendfile(file.as_fd(), offset, count)) {
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

    /// Makes the socket one that blocks, for a call that has another descriptor of it: from now on nothing is read or
    /// written here, and nothing ended.
    pub(super) fn detach(&mut self) -> io::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.stream, FcntlArg::F_GETFL)?);
        fcntl(&self.stream, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
        self.detached = true;
        Ok(())
    }

    /// Tells how many bytes were taken and are not delivered yet, as far as the system tells.
    pub(super) fn unsent(&self) -> u64 {
        let unsent = self.stream.unsent().unwrap_or(0);
        #[cfg(feature = "_tls")]
        if let Some(tls) = &self.tls {
            return unsent + tls.borrow().pending();
        }
        unsent
    }

    /// Has the socket take what was written and is kept on the way. `false` where the socket does not take all of it.
    /// A failure is left to the next read or write.
    pub(super) fn flush(&self) -> bool {
        #[cfg(feature = "_tls")]
        if let Some(tls) = &self.tls {
            return tls.borrow_mut().push(&self.stream).unwrap_or(true);
        }
        self.stream.flush()
    }

    /// Whether bytes in the socket are not those of the protocol: only a read or a write of the transport's makes sense.
    pub(super) fn is_encrypted(&self) -> bool {
        #[cfg(feature = "_tls")]
        if self.tls.is_some() {
            return true;
        }
        self.stream.is_sealed()
    }

    /// Says that what was written is all, where the transport has a word for it that is not the connection's end: else
    /// a response that ends with its connection could be cut unnoticed (RFC 9112 §9.8).
    #[cfg_attr(
        not(feature = "_tls"),
        expect(clippy::unused_self, reason = "only TLS has such a word")
    )]
    pub(super) fn say_end(&self) {
        #[cfg(feature = "_tls")]
        if let Some(tls) = &self.tls {
            tls.borrow_mut().close(&self.stream);
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if !self.detached {
            self.stream.part();
        }
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

/// Tells whether the system does not send this file by itself (`sendfile(2)`): a file system or a socket that cannot, a
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
