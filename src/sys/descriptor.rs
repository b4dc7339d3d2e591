//! Descriptors that change what they lead to.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

/// Has `old` lead to what `new` leads to, from one moment to the next: a call that is under way goes on with what was
/// there (dup3(2)).
pub(crate) fn replace(old: &OwnedFd, new: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: dup3(2) touches no memory; the number stays its owner's, with another file behind it.
    let outcome = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    Errno::result(outcome)?;
    Ok(())
}
