//! [`LockFile`]: a file that is there to be locked, by one process at a time that has the right to.
//!
//! A lock of flock(2) ends with its process, and asks for no right but to open the file: each process that may read
//! a file can hold its lock. So it is not the file that others are to read, but one beside it that only its owner can open.
//!
//! *Invariants*: a value holds the lock of the file that is at its path; a forked child shares the lock, gives its
//! copy up by dropping it, and removes nothing.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::identity::Identity;

/// How often its former holder may remove it while it is being opened.
const ATTEMPTS: usize = 16;

#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    /// Locked while it is open, here or in a child.
    file: File,
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl LockFile {
    /// Takes the lock that stands for `path`; `None` where another process has it.
    ///
    /// # Errors
    ///
    /// Where its file cannot be made, or is another user's.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        let path = name(path);
        for _ in 0..ATTEMPTS {
            let file = open(&path)?;
            if !lock(&file)? {
                return Ok(None);
            }
            // Its former holder may have removed it meanwhile.
            if is_at(&file, &path) {
                return Ok(Some(Self { path, file }));
            }
        }
        Err(io::Error::other(format!(
            "{} is removed again and again",
            path.display()
        )))
    }

    /// Gives the lock up, and removes its file.
    pub(crate) fn release(self) {
        if is_at(&self.file, &self.path) {
            // If it stays, the next one locks it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the lock's file that stands for `path`: its holder has ended.
pub(crate) fn clear(path: &Path) {
    let _ = fs::remove_file(name(path));
}

/// The name of the lock's file: `server.pid.lock`.
fn name(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(".lock");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let file = options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let facts = file.metadata()?;
    if facts.is_file() && facts.uid() == geteuid().as_raw() {
        return Ok(file);
    }
    Err(io::Error::other(format!(
        "{} is not this user's file",
        path.display()
    )))
}

/// Whether the lock could be had; it is kept until the file is closed.
fn lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock(2) takes a descriptor, which is open here, and touches no memory.
    let outcome = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    match Errno::result(outcome) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), Identity::at(path)) {
        (Ok(open), Ok(named)) => Identity::from(&open) == named,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_lock_is_one_processs_and_nobody_elses_to_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        let first = LockFile::take(&path).unwrap().unwrap();
        let facts = fs::metadata(name(&path)).unwrap();
        assert_eq!(facts.permissions().mode() & 0o777, 0o600);
        assert!(LockFile::take(&path).unwrap().is_none());
        first.release();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let second = LockFile::take(&path).unwrap().unwrap();
        // As if it had been killed.
        drop(second);
        assert!(name(&path).exists());
        LockFile::take(&path).unwrap().unwrap().release();
    }

    #[test]
    fn a_link_or_a_folder_in_its_place_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        std::os::unix::fs::symlink("elsewhere", name(&path)).unwrap();
        assert!(LockFile::take(&path).is_err());
        assert!(!folder.path().join("elsewhere").exists());
        fs::remove_file(name(&path)).unwrap();
        fs::create_dir(name(&path)).unwrap();
        assert!(LockFile::take(&path).is_err());
    }

    #[test]
    fn a_file_of_another_user_is_an_error() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        fs::write(name(&path), "").unwrap();
        std::os::unix::fs::chown(name(&path), Some(65534), None).unwrap();
        let sentence = LockFile::take(&path).unwrap_err().to_string();
        assert!(sentence.ends_with("is not this user's file"), "{sentence}");
    }
}
