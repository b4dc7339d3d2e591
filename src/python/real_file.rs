//! [`RealFile`]: a Python file object as an open file that the system can send by itself.
//!
//! An object whose `read` may give other bytes than its descriptor does (text, decompression, a subclass) is not one,
//! nor is a file whose size says nothing about its content.

use std::fs::File;
use std::os::fd::RawFd;

use pyo3::intern;
use pyo3::prelude::*;

use crate::sys::open_file;

/// A regular file, and the part of it that is left to read.
#[derive(Debug)]
pub(crate) struct RealFile {
    /// A descriptor of its own: the object may be closed meanwhile.
    pub(crate) file: File,
    /// The position of the Python object, in bytes.
    pub(crate) offset: u64,
    /// The number of bytes from there to the end.
    pub(crate) len: u64,
}

impl RealFile {
    /// The open file behind `object`, if that is a regular one that can be read and is not at its end. The position of
    /// the object stays as it is.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> Option<Self> {
        let py = object.py();
        if !reads_its_descriptor(object).unwrap_or(false) {
            return None;
        }
        let position = || -> PyResult<(RawFd, u64)> {
            // Buffered writes must be in the file first.
            object.call_method0(intern!(py, "flush"))?;
            let descriptor = object.call_method0(intern!(py, "fileno"))?.extract()?;
            let offset = object.call_method0(intern!(py, "tell"))?.extract()?;
            Ok((descriptor, offset))
        };
        let (descriptor, offset) = position().ok()?;
        let file = open_file::duplicate(descriptor).ok()?;
        let facts = file.metadata().ok()?;
        let len = facts.len().saturating_sub(offset);
        // An empty file, and one that cannot be read, is left to Python, which raises where there is a reason.
        let is_real =
            facts.is_file() && len > 0 && open_file::is_readable(&file) && has_reliable_size(&file);
        is_real.then_some(Self { file, offset, len })
    }
}

/// The file systems that know the sizes of their files (`statfs(2)`). Others make a file's content when it is read, and
/// give 0 or a page as its size, as those of `/proc` and `/sys` do.
const RELIABLE_SIZES: [u32; 17] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x794c_7630, // overlayfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0x5265_4973, // ReiserFS
    0x6969,      // NFS
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x4d44,      // FAT
    0x2011_bab0, // exFAT
    0x9660,      // ISO 9660
    0x7371_7368, // squashfs
    0xe0f5_e1e2, // EROFS
];

/// Whether a file holds as many bytes as its size says: only then may a response announce that length.
fn has_reliable_size(file: &File) -> bool {
    open_file::file_system(file).is_ok_and(|kind| RELIABLE_SIZES.contains(&kind))
}

/// Whether the object is exactly an `io.FileIO`, or a buffer of `io` around one. Anything else may give other bytes
/// than the descriptor.
fn reads_its_descriptor(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = file.py();
    let is = |object: &Bound<'_, PyAny>, name: &str| -> PyResult<bool> {
        Ok(object.get_type().is(&py.import("io")?.getattr(name)?))
    };
    if is(file, "FileIO")? {
        return Ok(true);
    }
    Ok((is(file, "BufferedReader")? || is(file, "BufferedRandom")?)
        && is(&file.getattr(intern!(py, "raw"))?, "FileIO")?)
}
