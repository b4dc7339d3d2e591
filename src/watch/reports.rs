//! [`Reports`]: the files that workers have loaded, on their way to the arbiter: a pair of datagram sockets that all workers
//! share.

use std::ffi::OsStr;
#[cfg(feature = "wsgi")]
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::file_version::FileVersion;
use crate::error::{Error, Result};
#[cfg(feature = "wsgi")]
use crate::trace;

/// The most bytes of a datagram, unless one path is longer.
#[cfg(feature = "wsgi")]
const LONGEST: usize = 16 * 1024;
/// How long a worker waits for an arbiter that is busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The workers' end, which they inherit.
static SENDER: Mutex<Option<Arc<UnixDatagram>>> = Mutex::new(None);

/// The arbiter's end.
#[derive(Debug)]
pub(super) struct Reports(UnixDatagram);

impl Reports {
    pub(super) fn new() -> Result<Self> {
        let made = UnixDatagram::pair().and_then(|(receiver, sender)| {
            receiver.set_nonblocking(true)?;
            sender.set_write_timeout(Some(PATIENCE))?;
            Ok((receiver, sender))
        });
        let (receiver, sender) = made.map_err(|error| Error::io("cannot watch files", error))?;
        *sender_slot() = Some(Arc::new(sender));
        Ok(Self(receiver))
    }

    /// What has been reported since the last time.
    pub(super) fn take(&self) -> Vec<(PathBuf, FileVersion)> {
        let mut files = Vec::new();
        let mut datagram = vec![0; 1 << 18];
        while let Ok(length) = self.0.recv(&mut datagram) {
            for record in datagram[..length].split(|byte| *byte == 0) {
                let mut parts = record.splitn(2, |byte| *byte == b' ');
                if let (Some(version), Some(path)) = (parts.next(), parts.next()) {
                    let version = FileVersion::decode(&String::from_utf8_lossy(version));
                    files.push((PathBuf::from(OsStr::from_bytes(path)), version));
                }
            }
        }
        files
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // In a worker, too, which has its own reference to it by then, or reports nothing.
        *sender_slot() = None;
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn sender_slot() -> std::sync::MutexGuard<'static, Option<Arc<UnixDatagram>>> {
    SENDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What reports the files of a worker's application; `None` where nobody watches files.
#[cfg(feature = "wsgi")]
pub(crate) fn reporter() -> Option<impl Fn(&[PathBuf]) + Send + Sync + use<>> {
    let sender = Arc::clone(sender_slot().as_ref()?);
    Some(move |paths: &[PathBuf]| {
        if let Err(error) = send(&sender, paths) {
            trace::warning!("reload: not all files of the application are watched: {error}");
        }
    })
}

#[cfg(feature = "wsgi")]
fn send(sender: &UnixDatagram, paths: &[PathBuf]) -> io::Result<()> {
    let mut datagram = Vec::new();
    for path in paths {
        // What is told is the file that was loaded, not one that replaces it before the arbiter looks.
        let version = FileVersion::of(path).encode();
        let path = path.as_os_str().as_bytes();
        if datagram.len() + path.len() >= LONGEST && !datagram.is_empty() {
            sender.send(&datagram)?;
            datagram.clear();
        }
        datagram.extend_from_slice(version.as_bytes());
        datagram.push(b' ');
        datagram.extend_from_slice(path);
        datagram.push(0);
    }
    if datagram.is_empty() {
        return Ok(());
    }
    sender.send(&datagram).map(drop)
}
