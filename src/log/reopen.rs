//! [`LogFile`]: a file that is appended to, and can be opened again where its path leads by then.
//!
//! No line is lost or split by it: what is being written goes to the file that was open when it began. A file
//! that cannot be opened again leaves the old one in its place.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf, absolute};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::append;
use crate::error::Result;

/// The files that messages of this process go to.
static INSTALLED: Mutex<Vec<Arc<LogFile>>> = Mutex::new(Vec::new());

/// Opens the files again that an installed [`ErrorLog`](super::ErrorLog) writes to, after somebody has moved
/// them away (`logrotate`). One that cannot be opened is logged, and written to as before.
pub fn reopen() {
    let installed = INSTALLED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for file in installed {
        file.reopen();
    }
}

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    /// Absolute: the process may change its folder meanwhile.
    path: PathBuf,
    /// Which log it is, for an error's sentence.
    which: &'static str,
    file: RwLock<File>,
}

impl LogFile {
    pub(super) fn open(path: &Path, which: &'static str) -> Result<Self> {
        Ok(Self {
            file: RwLock::new(append(path, which)?),
            path: absolute(path).unwrap_or_else(|_| path.to_owned()),
            which,
        })
    }

    /// Has [`reopen`](fn@reopen) reach it.
    #[cfg(feature = "tracing")]
    pub(super) fn install(self: &Arc<Self>) {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        installed.push(Arc::clone(self));
    }

    /// Opens the path again.
    pub(super) fn reopen(&self) {
        match append(&self.path, self.which) {
            Ok(file) => {
                *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
            }
            Err(error) => crate::trace::error!("{error}; the file that was open stays in use"),
        }
    }

    /// Whether it is a file, and neither a pipe nor a device.
    pub(super) fn is_regular(&self) -> bool {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.metadata().is_ok_and(|facts| facts.is_file())
    }

    /// Calls `write` with the file that is open now.
    pub(super) fn with<T>(&self, write: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> T) -> T {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        write(file.as_fd())
    }
}

impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        (&*file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
        (&log).write_all(b"one\n").unwrap();
        fs::rename(&path, &old).unwrap();
        (&log).write_all(b"two\n").unwrap();
        log.reopen();
        (&log).write_all(b"three\n").unwrap();
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
        (&log).write_all(b"still here\n").unwrap();
        assert_eq!(
            fs::read_to_string(moved.join("log")).unwrap(),
            "still here\n"
        );
    }
}
