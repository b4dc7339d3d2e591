//! [`Stream`]: an accepted connection, over TCP or a Unix socket, with the same calls for both.
//!
//! Never blocking and never buffering: each method is one system call, and `WouldBlock` is its caller's
//! business.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(test)]
use std::time::Duration;

use bytes::BytesMut;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{self as system, MsgFlags, recv};
use socket2::SockRef;

use crate::sys::sigpipe::shielded;
use crate::sys::{cork, fork, socket};

/// An accepted connection.
///
/// All calls are non-blocking and take `&self`. A write to a peer that has gone is an error and no signal, whatever
/// the process does with `SIGPIPE`. To wait for it, register its descriptor with a poll.
#[derive(Debug)]
pub struct Stream(OwnedFd);

impl Stream {
    /// Takes a socket that is connected, non-blocking and closed on `exec`.
    pub(crate) fn adopt(socket: impl Into<OwnedFd>) -> Self {
        Self(socket.into())
    }

    /// Reads what is there, up to the buffer's length; 0 is the peer's end of output.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`; `WouldBlock` where nothing is there.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buffer, MsgFlags::empty())?)
    }

    /// Reads what is there into the room that `block` has left, behind what it has; 0 is the peer's end of
    /// output, unless there is no room.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`; `WouldBlock` where nothing is there.
    pub fn receive(&self, block: &mut BytesMut) -> io::Result<usize> {
        socket::receive(self, block)
    }

    /// Writes of the slices what the socket takes, which may be less than all, and says how many bytes
    /// that was.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`; `WouldBlock` where the socket has no room.
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with_flags(slices, 0)
    }

    /// Writes with `flags` of send(2).
    fn write_with_flags(&self, slices: &[IoSlice<'_>], flags: libc::c_int) -> io::Result<usize> {
        let (socket, flags) = (SockRef::from(self), flags | libc::MSG_NOSIGNAL);
        match slices {
            [slice] => socket.send_with_flags(slice, flags),
            slices => socket.send_vectored_with_flags(slices, flags),
        }
    }

    /// Writes as [`write_vectored`](Self::write_vectored) does, and has the system hold it back until
    /// [`uncork`](Self::uncork), or for some milliseconds. Over a Unix socket nothing is held back, nor on a thread for which
    /// [`cork`] is not set up.
    pub(crate) fn write_corked(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        cork::send(self, |flags| self.write_with_flags(slices, flags))
    }

    /// Has the system send what it holds back, of all sockets of this thread.
    pub(crate) fn uncork() {
        cork::release();
    }

    /// How long output is held back at the most.
    #[cfg(test)]
    pub(crate) const CORK_LIMIT: Duration = cork::LIMIT;

    /// Sends up to `count` bytes of `file` from `offset` on without copying them through this process
    /// (`sendfile(2)`), moves `offset` past what was sent and says how many bytes that was. The file's own
    /// position neither matters nor moves. 0, where `count` is not, means that the file ends before
    /// `offset`.
    ///
    /// The file is read while the call lasts, so a slow disk delays it; the socket does not.
    ///
    /// # Errors
    ///
    /// Those of `sendfile(2)`; `WouldBlock` where the socket has no room, `InvalidInput` for an offset that no file has.
    pub fn sendfile(
        &self,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        let mut position = i64::try_from(*offset)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "offset out of range"))?;
        // It takes no flag that would keep the signal away.
        let sent = shielded(|| Ok(sendfile64(self, file, Some(&mut position), count)?))?;
        *offset = position.unsigned_abs();
        Ok(sent)
    }

    /// How many bytes the system has taken with these calls and not delivered yet: over TCP, those that the
    /// peer has not acknowledged.
    ///
    /// # Errors
    ///
    /// Where the system does not tell.
    pub fn unsent(&self) -> io::Result<u64> {
        socket::unsent(self)
    }

    /// Has nothing more of it held back, and ends the connection if this process has forked: a child that has the socket as well would keep the client
    /// connected until it ends (close(2)). To be called before the last descriptor of this process goes.
    pub(crate) fn part(&self) {
        cork::forget(self);
        if fork::is_parent() {
            // It fails where the client has gone.
            let _ = SockRef::from(self).shutdown(Shutdown::Both);
        }
    }

    /// Whether the peer has ended its output, or the connection is lost.
    ///
    /// # Errors
    ///
    /// Where the system does not tell.
    pub fn has_hung_up(&self) -> io::Result<bool> {
        socket::has_hung_up(self)
    }

    /// Ends the output, so that the peer reads to an end of file; input goes on.
    ///
    /// # Errors
    ///
    /// Where the connection is lost.
    pub fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }

    /// The socket for a signal handler.
    pub(crate) fn raw(&self) -> RawSocket {
        RawSocket(self.0.as_raw_fd())
    }
}

/// A socket as a signal handler may use it (signal-safety(7)): by system calls alone, as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawSocket(pub(crate) RawFd);

impl RawSocket {
    /// Sends all of `bytes`, and tells whether that was possible.
    pub(crate) fn send(self, bytes: &[u8]) -> bool {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        system::send(self.0, bytes, flags) == Ok(bytes.len())
    }

    /// Ends the output, and where `cut` the connection.
    pub(crate) fn shut(self, cut: bool) {
        let how = if cut {
            system::Shutdown::Both
        } else {
            system::Shutdown::Write
        };
        // It fails only where the client has gone.
        let _ = system::shutdown(self.0, how);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Stream, Stream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (Stream::adopt(a), Stream::adopt(b))
    }

    #[test]
    fn slices_arrive_as_one_run_of_bytes() {
        let (ours, theirs) = pair();
        let n = ours
            .write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")])
            .unwrap();
        assert_eq!(n, 4);
        let mut buffer = [0; 16];
        assert_eq!(theirs.read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"abcd");
    }

    #[test]
    fn a_peer_that_ended_its_output_is_noticed_behind_unread_bytes() {
        for shut in [false, true] {
            let (ours, theirs) = pair();
            theirs.write_vectored(&[IoSlice::new(b"more")]).unwrap();
            assert!(!ours.has_hung_up().unwrap());
            if shut {
                theirs.shutdown_write().unwrap();
            } else {
                drop(theirs);
            }
            assert!(ours.has_hung_up().unwrap());
        }
    }

    #[test]
    fn a_read_of_nothing_would_block_and_does_not() {
        let (ours, _theirs) = pair();
        let error = ours.read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_is_received_stands_behind_what_the_block_has() {
        let (ours, theirs) = pair();
        theirs.write_vectored(&[IoSlice::new(b"cdefgh")]).unwrap();
        let mut block = BytesMut::with_capacity(6);
        block.extend_from_slice(b"ab");
        assert_eq!(ours.receive(&mut block).unwrap(), 4);
        assert_eq!(block, "abcdef");
        assert_eq!(ours.receive(&mut block).unwrap(), 0, "there is no room");
        block.clear();
        assert_eq!(ours.receive(&mut block).unwrap(), 2);
        assert_eq!(block, "gh");
        let error = ours.receive(&mut block).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        assert_eq!(ours.receive(&mut block).unwrap(), 0);
    }

    #[test]
    fn after_the_end_of_output_the_peer_can_still_answer() {
        let (ours, theirs) = pair();
        ours.shutdown_write().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(theirs.read(&mut buffer).unwrap(), 0);
        theirs.write_vectored(&[IoSlice::new(b"x")]).unwrap();
        assert_eq!(ours.read(&mut buffer).unwrap(), 1);
    }

    #[test]
    fn a_connection_ends_for_its_peer_though_another_process_has_it() {
        let (ours, theirs) = pair();
        // As a child has it.
        let _copy = ours.as_fd().try_clone_to_owned().unwrap();
        fork::notice_children().unwrap();
        let forked = format!("{:?}", fork::fork(|| fork::vanish(0)));
        assert!(forked.starts_with("Parent"), "{forked}");
        ours.part();
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn what_the_peer_has_not_read_is_unsent() {
        let (ours, theirs) = pair();
        assert_eq!(ours.unsent().unwrap(), 0);
        ours.write_vectored(&[IoSlice::new(b"abcd")]).unwrap();
        assert!(ours.unsent().unwrap() >= 4);
        theirs.read(&mut [0; 16]).unwrap();
        assert_eq!(ours.unsent().unwrap(), 0);
    }

    #[test]
    fn a_file_is_sent_from_the_offset_and_its_position_stays() {
        let (ours, theirs) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut offset = 4;
        assert_eq!(ours.sendfile(file.as_fd(), &mut offset, 3).unwrap(), 3);
        assert_eq!(offset, 7);
        assert_eq!(file.stream_position().unwrap(), 10);
        let mut buffer = [0; 16];
        assert_eq!(theirs.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"456");
        offset = 10;
        assert_eq!(ours.sendfile(file.as_fd(), &mut offset, 3).unwrap(), 0);
    }

    #[test]
    fn an_offset_past_what_a_file_can_have_is_an_error() {
        let (ours, _theirs) = pair();
        let file = tempfile::tempfile().unwrap();
        let mut offset = u64::MAX;
        let error = ours.sendfile(file.as_fd(), &mut offset, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
