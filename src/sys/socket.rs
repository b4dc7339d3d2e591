//! What the standard library does not tell of a socket.
//!
//! It changes nothing about one.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

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
