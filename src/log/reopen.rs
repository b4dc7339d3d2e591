//! [`LogFile`]: a file that is appended to, and can be opened again where its path leads by then.
//!
//! No line is lost or split by it: what is being written goes to the file that was open when it began. A file
//! that cannot be opened again leaves the old one in its place. The new file takes the old one's number (dup3(2)), so
//! that a write takes no lock: a child that is forked while another thread opens it again can write, too.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf, absolute};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdout, fchown, geteuid};

use super::append;
use crate::error::Result;
use crate::sys::append_file::Appended;
use crate::sys::{fd, sigpipe};

static OPEN: Mutex<Vec<Weak<LogFile>>> = Mutex::new(Vec::new());
/// How often they were opened again.
static REOPENED: AtomicUsize = AtomicUsize::new(0);
/// The user and the group that are to own them, where [`give_to`] has set them.
static OWNER: Mutex<Option<(u32, u32)>> = Mutex::new(None);

/// Opens all log files of this process again, for use after they were moved away (`logrotate`). A file that cannot be
/// opened is logged, and written to as before.
pub fn reopen() {
    REOPENED.fetch_add(1, Ordering::Relaxed);
    for file in open_files() {
        file.reopen();
    }
    // A logger of Python's hears of it by this.
    crate::trace::debug!("The logs were opened again");
}

/// How often the logs of this process were opened again.
#[cfg(feature = "wsgi")]
pub(crate) fn times_reopened() -> usize {
    REOPENED.load(Ordering::Relaxed)
}

/// Gives all log files of this process, and those that it opens again, to the user and the group of the workers,
/// so that workers can open them again as well. Only root can (chown(2)); for another user it does nothing.
///
/// An existing file keeps its owner, unless that is the same user, or root in folders that only root can change. Another
/// user could have put any other file there, or could have a second link to it.
pub(crate) fn give_to(uid: u32, gid: u32) {
    *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = Some((uid, gid));
    for file in open_files() {
        file.give();
    }
}

fn open_files() -> Vec<Arc<LogFile>> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|file| file.strong_count() > 0);
    open.iter().filter_map(Weak::upgrade).collect()
}

/// How a file came to be where it is: what may be done with it depends on that.
#[derive(Clone, Copy, Debug)]
struct Origin {
    made: bool,
    safe: bool,
}

/// Makes an open file its owner's.
fn give(fd: BorrowedFd<'_>, origin: Origin, path: &Path) {
    let owner = *OWNER.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((uid, gid)) = owner.filter(|_| geteuid().is_root()) else {
        return;
    };
    // The terminal, the null device and pipes keep their owners.
    let Some(facts) = fstat(fd).ok().filter(is_regular) else {
        return;
    };
    let given = if may_be_given(&facts, origin, uid) {
        fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    } else {
        Err(Errno::EPERM)
    };
    if let Err(errno) = given {
        crate::trace::warning!(
            "the log {} stays with its owner, user {}, and workers cannot open it again: {}",
            path.display(),
            facts.st_uid,
            errno.desc()
        );
    }
}

/// Whether the change of the owner affects no other user.
fn may_be_given(facts: &FileStat, origin: Origin, uid: u32) -> bool {
    let known = origin.made || facts.st_uid == uid || origin.safe && facts.st_uid == 0;
    known && facts.st_nlink <= 1
}

#[derive(Debug)]
pub(super) struct LogFile {
    /// Absolute: the process may change its folder meanwhile.
    path: PathBuf,
    /// Which log it is, for an error's sentence.
    which: &'static str,
    file: OwnedFd,
    /// Of the file that was opened first.
    origin: Origin,
    /// Whether the standard output and the standard error go to it.
    captures: AtomicBool,
}

impl LogFile {
    /// Opens it. [`reopen`](fn@reopen) reaches it as long as it exists.
    pub(super) fn open(path: &Path, which: &'static str) -> Result<Arc<Self>> {
        let Appended { file, made, safe } = append(path, which)?;
        let log = Arc::new(Self {
            file: file.into(),
            origin: Origin { made, safe },
            captures: AtomicBool::new(false),
            path: absolute(path).unwrap_or_else(|_| path.to_owned()),
            which,
        });
        log.give();
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Arc::downgrade(&log));
        drop(open);
        Ok(log)
    }

    fn give(&self) {
        give(self.as_fd(), self.origin, &self.path);
    }

    fn reopen(&self) {
        match append(&self.path, self.which) {
            Ok(Appended { file, made, safe }) => {
                give(file.as_fd(), Origin { made, safe }, &self.path);
                if let Err(error) = fd::replace(&self.file, &file) {
                    let path = self.path.display();
                    crate::trace::error!("cannot change over to {path}: {error}");
                } else if self.captures.load(Ordering::Relaxed) {
                    // What failed the first time has ended the start.
                    let _ = self.capture();
                }
            }
            Err(error) => crate::trace::error!("{error}; the file that was open stays in use"),
        }
    }

    /// Has the standard output and the standard error of the process lead to it.
    pub(super) fn capture(&self) -> io::Result<()> {
        dup2_stdout(&self.file)?;
        dup2_stderr(&self.file)?;
        self.captures.store(true, Ordering::Relaxed);
        Ok(())
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
        sigpipe::write_all(&self.file, bytes)?;
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
    fn only_files_that_concern_no_other_user_are_given_away() {
        let file = tempfile::tempfile().unwrap();
        let mut facts = fstat(&file).unwrap();
        let mut may = |owner, links, made, safe| {
            (facts.st_uid, facts.st_nlink) = (owner, links);
            may_be_given(&facts, Origin { made, safe }, 7)
        };
        // Just made; their own; root's, where root put it.
        assert!(may(0, 1, true, false) && may(7, 1, false, false) && may(0, 1, false, true));
        // Any user could have moved it there, or it has a second link, or a third user owns it.
        assert!(!may(0, 1, false, false) && !may(7, 2, false, true) && !may(8, 1, false, true));
    }

    #[test]
    fn a_path_that_cannot_be_reopened_leaves_the_open_file_in_use() {
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
