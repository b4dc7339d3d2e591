//! [`Identity`]: a file's device and inode, which tell it from another file under the same name.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::FileStat;

/// A device and a number on it (`stat(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Identity {
    /// That of what `path` names: of a symbolic link itself, not of what it leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|facts| (&facts).into())
    }
}

impl From<&Metadata> for Identity {
    fn from(facts: &Metadata) -> Self {
        Self {
            device: facts.dev(),
            inode: facts.ino(),
        }
    }
}

impl From<&FileStat> for Identity {
    fn from(facts: &FileStat) -> Self {
        Self {
            device: facts.st_dev,
            inode: facts.st_ino,
        }
    }
}
