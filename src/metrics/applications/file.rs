//! One file of `prometheus_client`: a number of bytes in use, and entries of a key, a value and a time.
//!
//! ```text
//!   used: i32 │ 4 unused │ length: i32 │ key, blanks up to a multiple of 8 │ value: f64 │ time: f64 │ length …
//! ```
//!
//! Its process writes on meanwhile: an entry is complete before it is in use, and a value changes at once. The file is read
//! and not mapped, since one that is cut would end this process.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// How much of a file, and of all files, is read.
const FILE: usize = 4 << 20;
const ALL: usize = 16 << 20;
/// What is read first: most files have no more in use.
const FIRST: usize = 4096;
/// Where the first entry begins.
const START: usize = 8;

/// What may still be read.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ALL)
    }
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry<'f> {
    pub(super) key: &'f str,
    pub(super) value: f64,
    pub(super) time: f64,
}

/// The bytes of a file that are in use; none where it has gone.
pub(super) fn read(path: &Path, room: &mut Room) -> Result<Vec<u8>, &'static str> {
    // It may be a link, or a pipe that nothing is written to.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(_) => return Err("it cannot be opened"),
    };
    if !file.metadata().is_ok_and(|facts| facts.is_file()) {
        return Err("it is no file");
    }
    let mut bytes = Vec::new();
    let mut take = |bytes: &mut Vec<u8>, count: usize| {
        let read = (&mut file).take(count as u64).read_to_end(bytes);
        read.map_err(|_| "it cannot be read")
    };
    take(&mut bytes, FIRST)?;
    // One that was made just now is empty, or all zero.
    let used = number(&bytes, 0).unwrap_or_default();
    let used = usize::try_from(used).map_err(|_| "it says that less than nothing is in use")?;
    if used > FILE || used > room.0 {
        return Err("it is too large, or all files together are");
    }
    room.0 -= used;
    take(&mut bytes, used.saturating_sub(FIRST))?;
    bytes.truncate(used);
    if bytes.len() < used {
        return Err("it ends too early");
    }
    Ok(bytes)
}

/// Gives each entry of the bytes in use to `take`.
pub(super) fn entries<'f>(
    used: &'f [u8],
    mut take: impl FnMut(Entry<'f>),
) -> Result<(), &'static str> {
    let mut rest = used.get(START..).unwrap_or_default();
    while !rest.is_empty() {
        let (entry, length) = entry(rest).ok_or("an entry is damaged")?;
        take(entry);
        rest = &rest[length..];
    }
    Ok(())
}

/// The entry that these bytes begin with, and its length.
fn entry(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let length = usize::try_from(number(bytes, 0)?).ok()?;
    let key = bytes.get(4..length.checked_add(4)?)?;
    // There is always a blank.
    let end = 4 + length + (8 - (length + 4) % 8);
    let entry = Entry {
        key: std::str::from_utf8(key).ok()?,
        value: float(bytes, end)?,
        time: float(bytes, end + 8)?,
    };
    Some((entry, end + 16))
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(i32::from_ne_bytes(bytes.try_into().ok()?))
}

fn float(bytes: &[u8], at: usize) -> Option<f64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(f64::from_ne_bytes(bytes.try_into().ok()?))
}
