//! [`LogFile`]: a file that is appended to, and can be opened again where its path leads by then.
//!
//! No line is lost or split by it: what is being written goes to the file that was open when it began. A file
//! that cannot be opened again leaves the old one in its place. The new file takes the old one's number (dup3(2)), so
//! that who writes takes no lock: a child that is forked while another thread opens it again can write, too.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf, absolute};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchown, geteuid};

use super::append;
use crate::error::Result;
use crate::sys::{descriptor, shield};

/// The log files of this process.
static OPEN: Mutex<Vec<Weak<LogFile>>> = Mutex::new(Vec::new());
/// Who is to own them, where that is somebody else.
static OWNER: Mutex<Option<(u32, u32)>> = Mutex::new(None);

/// Opens all log files of this process again, after somebody has moved them away (`logrotate`). One that cannot be
/// opened is logged, and written to as before.
pub fn reopen() {
    for file in open_files() {
        file.reopen();
    }
}

/// Gives all log files of this process, and those that it opens again, to a user and a group: to whom its workers
/// become, so that they can open them again as well. Only root can (chown(2)); for another user it does nothing.
pub(crate) fn give_to(uid: u32, gid: u32) {
    *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = Some((uid, gid));
    for file in open_files() {
        give(file.as_fd(), &file.path);
    }
}

fn open_files() -> Vec<Arc<LogFile>> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|file| file.strong_count() > 0);
    open.iter().filter_map(Weak::upgrade).collect()
}

/// Makes an open file its owner's.
fn give(fd: BorrowedFd<'_>, path: &Path) {
    let owner = *OWNER.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((uid, gid)) = owner.filter(|_| geteuid().is_root()) else {
        return;
    };
    // The terminal, the null device and pipes stay whose they are.
    if !fstat(fd).is_ok_and(|facts| is_regular(&facts)) {
        return;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if let Err(errno) = fchown(fd, Some(uid), Some(gid)) {
        crate::trace::warning!(
            "the log {} stays with its owner, and workers cannot open it again: {errno}",
            path.display()
        );
    }
}

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    /// Absolute: the process may change its folder meanwhile.
    path: PathBuf,
    /// Which log it is, for an error's sentence.
    which: &'static str,
    file: OwnedFd,
}

impl LogFile {
    /// Opens it. [`reopen`](fn@reopen) reaches it as long as it exists.
    pub(super) fn open(path: &Path, which: &'static str) -> Result<Arc<Self>> {
        let file = append(path, which)?;
        give(file.as_fd(), path);
        let log = Arc::new(Self {
            file: file.into(),
            path: absolute(path).unwrap_or_else(|_| path.to_owned()),
            which,
        });
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Arc::downgrade(&log));
        drop(open);
        Ok(log)
    }

    /// Opens the path again.
    fn reopen(&self) {
        match append(&self.path, self.which) {
            Ok(file) => {
                give(file.as_fd(), &self.path);
                if let Err(error) = descriptor::replace(&self.file, &file) {
                    let path = self.path.display();
                    crate::trace::error!("cannot change over to {path}: {error}");
                }
            }
            Err(error) => crate::trace::error!("{error}; the file that was open stays in use"),
        }
    }

    /// Whether it is a file, and neither a pipe nor a device.
    pub(super) fn is_regular(&self) -> bool {
        fstat(&self.file).is_ok_and(|facts| is_regular(&facts))
    }
}

impl AsFd for LogFile {
    /// The file that is open now.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        shield::write_all(&self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_regular(facts: &FileStat) -> bool {
    facts.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = LogFile::open(&path, "error").unwrap();
        (&*log).write_all(b"one\n").unwrap();
        fs::rename(&path, &old).unwrap();
        (&*log).write_all(b"two\n").unwrap();
        log.reopen();
        (&*log).write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(old).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn a_path_that_cannot_be_opened_again_leaves_the_open_file_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("logs");
        fs::create_dir(&inner).unwrap();
        let log = LogFile::open(&inner.join("log"), "access").unwrap();
        let moved = folder.path().join("moved");
        fs::rename(&inner, &moved).unwrap();
        log.reopen();
        (&*log).write_all(b"still here\n").unwrap();
        assert_eq!(
            fs::read_to_string(moved.join("log")).unwrap(),
            "still here\n"
        );
    }
}
