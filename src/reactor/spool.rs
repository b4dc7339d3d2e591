//! Unnamed files for bodies and responses that are too large for memory. No other process can open them.
//!
//! It never falls back to memory where a disk is full: that is the caller's to refuse.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::trace;

/// True if the log knows that files are kept in memory.
static TOLD: AtomicBool = AtomicBool::new(false);

/// A new file in `dir`, or in memory where no file can be made there: a container may have no folder that can
/// be written (`memfd_create(2)`).
pub(super) fn file_in(dir: &Path) -> io::Result<File> {
    let error = match tempfile::tempfile_in(dir) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    if !is_closed_to_us(error.kind()) {
        return Err(error);
    }
    let file = memfd_create(c"oxicorn", MFdFlags::MFD_CLOEXEC)?;
    if !TOLD.swap(true, Ordering::Relaxed) {
        trace::warning!(
            "no temporary file can be made in {}: {error}; large bodies are kept in memory, unless \
             tmp_upload_dir names a folder that can be written",
            dir.display()
        );
    }
    Ok(file.into())
}

/// Tells whether a folder will never take a file of ours, in contrast to one that cannot now.
fn is_closed_to_us(error: io::ErrorKind) -> bool {
    matches!(
        error,
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    fn holds(mut file: File) -> Vec<u8> {
        file.write_all(b"kept").unwrap();
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_file_is_made_in_the_folder_or_else_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        for dir in [folder.path(), &missing, Path::new("/dev/null")] {
            assert_eq!(holds(file_in(dir).unwrap()), b"kept", "{}", dir.display());
        }
        assert!(!missing.exists());
    }

    #[test]
    fn a_folder_that_is_full_is_no_reason_to_fill_memory() {
        for full in [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::Other,
        ] {
            assert!(!is_closed_to_us(full));
        }
    }
}
