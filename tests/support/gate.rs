//! [`Gate`]: a named pipe at which an application waits until the test lets it pass.
//!
//! The application's side is `open(path).read()`: it blocks until the test has come, and then until the
//! test opens the gate. So the test knows that the application is there, and neither guesses a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::eventually;

/// The pipe.
pub(crate) struct Gate {
    folder: TempDir,
}

/// An application stands at the gate; it passes when this is dropped.
#[must_use]
pub(crate) struct Arrived(#[expect(dead_code, reason = "held, so that the pipe stays open")] File);

impl Gate {
    pub(crate) fn new() -> Self {
        let gate = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        nix::unistd::mkfifo(&gate.path(), Mode::S_IRWXU).expect("a named pipe");
        gate
    }

    /// For the application.
    pub(crate) fn path(&self) -> PathBuf {
        Path::join(self.folder.path(), "gate")
    }

    /// The path of a page of `probe.py` that waits here.
    pub(crate) fn at(&self, page: &str) -> String {
        format!("{page}?{}", self.path().display())
    }

    /// Waits until an application is at the gate.
    #[track_caller]
    pub(crate) fn arrival(&self) -> Arrived {
        // fifo(7): a non-blocking open for writing fails until somebody reads.
        eventually("nobody came to the gate", || {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
            options.open(self.path()).ok().map(Arrived)
        })
    }
}
