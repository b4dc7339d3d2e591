//! What an open file is, by its descriptor: how it may be used, and the file system that it is on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::statfs::fstatfs;

/// Another descriptor for the open file with the number `fd`, which other code owns.
///
/// # Errors
///
/// A number that is not open.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<File> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is not -1, and borrowed for `fcntl(2)` alone, which answers EBADF if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(borrowed.try_clone_to_owned()?.into())
}

/// Whether the mode that the file was opened in allows reading.
pub(crate) fn is_readable(file: impl AsFd) -> bool {
    fcntl(file, FcntlArg::F_GETFL).is_ok_and(|flags| {
        let flags = OFlag::from_bits_truncate(flags);
        flags & OFlag::O_ACCMODE != OFlag::O_WRONLY && !flags.contains(OFlag::O_PATH)
    })
}

/// The kind of the file system that a file is on: a magic number of `statfs(2)`.
///
/// # Errors
///
/// As of fstatfs(2), and a number that does not fit.
pub(crate) fn file_system(file: impl AsFd) -> io::Result<u32> {
    let facts = fstatfs(file)?;
    u32::try_from(facts.filesystem_type().0).map_err(io::Error::other)
}
