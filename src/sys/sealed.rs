//! [`seal`] and [`unseal`]: a few bytes that another program reads by a descriptor, and that no program can change.
//!
//! What is secret can go to a program in this way: an environment variable, an argument and a file are seen by others.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::sigpipe::shielded;

/// That nothing of the file changes any more.
fn seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

/// A file in memory (`memfd_create(2)`) with these bytes, for the program that this process executes next: it stays open
/// then.
///
/// # Errors
///
/// Where the system gives no such file.
pub(crate) fn seal(name: &CStr, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_ALLOW_SEALING)?);
    // Past RLIMIT_FSIZE this fails, and would end the process by SIGXFSZ.
    shielded(|| file.write_all(bytes))?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
    Ok(file)
}

/// The bytes of a file that [`seal`] has made; `None` for every other file, and for another number of bytes.
pub(crate) fn unseal<const N: usize>(fd: OwnedFd) -> Option<[u8; N]> {
    let found = fcntl(&fd, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    let file = File::from(fd);
    let is_whole = file.metadata().ok()?.len() == N as u64;
    if !is_whole || !found.is_ok_and(|found| found.contains(seals())) {
        return None;
    }
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_are_read_whole_and_never_changed() {
        let file = seal(c"test", b"secret").unwrap();
        assert!(file.write_at(b"S", 0).is_err());
        assert!(file.set_len(3).is_err());
        let fd = || OwnedFd::from(file.try_clone().unwrap());
        assert_eq!(unseal(fd()), Some(*b"secret"));
        assert_eq!(unseal::<5>(fd()), None);
        let mut open = tempfile::tempfile().unwrap();
        open.write_all(b"secret").unwrap();
        assert_eq!(unseal::<6>(open.into()), None);
    }
}
