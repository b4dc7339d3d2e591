//! What the standard library does not tell of a socket, and a read into uninitialized memory.
//!
//! It changes nothing about one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use bytes::BytesMut;
use nix::errno::Errno;

/// `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`.
const LISTEN: u8 = 10;

/// Whether the peer has ended its output, or the connection is lost (`POLLRDHUP`, poll(2)): also where there is
/// something to read before that.
pub(crate) fn has_hung_up(socket: impl AsFd) -> io::Result<bool> {
    let mut asked = libc::pollfd {
        fd: socket.as_fd().as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: the call reads and writes the one structure that it is given, and does not wait.
    let outcome = unsafe { libc::poll(&raw mut asked, 1, 0) };
    Errno::result(outcome)?;
    Ok(asked.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0)
}

/// How many bytes the system has taken from us and not yet delivered: over TCP, those that the peer has not
/// acknowledged (`SIOCOUTQ`, tcp(7)).
pub(crate) fn unsent(socket: impl AsFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one `int` to where the last argument points, which is ours.
    let outcome =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    Errno::result(outcome)?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Reads once, behind what `block` has and into the room that it has left; 0 is the peer's end of output, if
/// there is any room.
pub(crate) fn receive(socket: impl AsFd, block: &mut BytesMut) -> io::Result<usize> {
    let room = block.spare_capacity_mut();
    let (start, len) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: recv(2) writes `len` bytes at the most from `start` on, which are the block's own.
    let taken = unsafe { libc::recv(socket.as_fd().as_raw_fd(), start, len, 0) };
    let taken = usize::try_from(Errno::result(taken)?).unwrap_or(0);
    // SAFETY: that number of bytes of the room was just written.
    unsafe { block.set_len(block.len() + taken) };
    Ok(taken)
}

/// How many connections wait for a listening socket to accept them; `None` where the system does not tell, as for
/// a Unix socket (`TCP_INFO`, tcp(7)).
pub(crate) fn waiting(socket: impl AsFd) -> Option<usize> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the option writes at most `length` bytes to `info`, which are ours, and their number to `length`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(outcome).ok()?;
    // SAFETY: the structure holds integers only, for which every byte that was zero or written is a valid value.
    let info = unsafe { info.assume_init() };
    // Of a listening socket that is the length of its queue (tcp_get_info in the kernel's net/ipv4/tcp.c).
    (info.tcpi_state == LISTEN).then_some(info.tcpi_unacked as usize)
}
