//! Descriptors: to [`adopt`] one by its number, and to [`replace`] what one leads to.
//!
//! *Why adopting is sound*: a descriptor that came through `exec` cannot have had its close-on-exec flag set, and
//! everything that Rust's standard library opens has it set. So a number whose flag is clear is owned by no Rust value,
//! unless the flag was cleared to hand it on; and [`adopt`] sets the flag and remembers the number, so that it cannot be
//! adopted again.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::SFlag;

/// The descriptors that were adopted. They stay in it: a number that is closed may mean something else later.
static ADOPTED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes the descriptor of that number, which another program has handed to this one through `exec`, and has it closed
/// on the next one. Each can be had once. `kind` is what it has to lead to: a socket, or a regular file.
///
/// # Errors
///
/// Why the number is no such descriptor.
pub(crate) fn adopt(fd: RawFd, kind: SFlag) -> Result<OwnedFd, &'static str> {
    let mut adopted = ADOPTED.lock().unwrap_or_else(PoisonError::into_inner);
    if adopted.contains(&fd) {
        return Err("it was taken before");
    }
    // SAFETY: F_GETFD touches no memory and is defined for every number; -1 is its answer for one that is
    // not open.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err("it is not open");
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err("it was not inherited, but opened by this process (close-on-exec is set)");
    }
    // Asked before it is owned: dropping a descriptor closes it, and a mistyped number may be the error log's.
    if kind_of(fd) != Some(kind) {
        return Err(if kind == SFlag::S_IFSOCK {
            "it is not a socket"
        } else {
            "it is not a file"
        });
    }
    adopted.insert(fd);
    drop(adopted);
    // SAFETY: the descriptor is open and, by the argument above, owned by no other value; ADOPTED sees to it that none
    // comes to own it through this function.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    match fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        Ok(_) => Ok(fd),
        Err(_) => Err("it cannot be closed on exec"),
    }
}

fn kind_of(fd: RawFd) -> Option<SFlag> {
    // SAFETY: all bytes zero are a valid `stat`, which is plain integers.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `facts` is a whole `stat` to write to.
    let outcome = unsafe { libc::fstat(fd, &raw mut facts) };
    (outcome == 0).then(|| SFlag::from_bits_truncate(facts.st_mode & libc::S_IFMT))
}

/// Has `old` lead to what `new` leads to, from one moment to the next: a call that is under way goes on with what was
/// there (dup3(2)).
pub(crate) fn replace(old: &OwnedFd, new: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: dup3(2) touches no memory; the number stays its owner's, with another file behind it.
    let outcome = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    Errno::result(outcome)?;
    Ok(())
}
