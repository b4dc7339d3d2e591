//! Listeners that the arbiter before this one has handed over, until they are bound.
//!
//! No descriptor is handed to a process by chance: the variables name the process that they are for.
//!
//! ```text
//!   OXICORN_PID=4711                          the process that all of it is for
//!   OXICORN_LISTENERS=3=127.0.0.1:8000        a line for each: descriptor, and what it was opened as,
//!                     4 25:731=unix:/run/x    where it made a file, with its device and inode;
//!                     5=                      nothing where a service manager had passed it
//! ```
//!
//! *Invariants*: the first bind of one of these addresses gets the open socket; the environment is
//! read but never changed.

use std::env;
use std::fmt;
use std::os::fd::RawFd;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::addr::BindAddress;
use super::socket_file::SocketFile;
use crate::sys::identity::Identity;

/// The process that the others are for.
pub(crate) const FOR: &str = "OXICORN_PID";
/// The listeners.
pub(crate) const LISTENERS: &str = "OXICORN_LISTENERS";

/// A descriptor that waits to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HandedOver {
    pub(super) fd: RawFd,
    /// The text of the address; empty where a service manager had passed it.
    pub(super) opened: String,
    /// The socket file that was made with it.
    pub(super) made: Option<Identity>,
}

impl HandedOver {
    /// `4 25:731=unix:/run/x`
    fn parse(line: &str) -> Option<Self> {
        let (numbers, opened) = line.split_once('=')?;
        let (fd, made) = match numbers.split_once(' ') {
            Some((fd, made)) => (fd, Some(made.split_once(':')?)),
            None => (numbers, None),
        };
        let made = match made {
            Some((device, inode)) => Some(Identity {
                device: device.parse().ok()?,
                inode: inode.parse().ok()?,
            }),
            None => None,
        };
        let (fd, opened) = (fd.parse().ok()?, opened.to_owned());
        Some(Self { fd, opened, made })
    }

    /// The socket file, which may be gone by now.
    pub(super) fn file(&self) -> Option<SocketFile> {
        match self.opened.parse() {
            Ok(BindAddress::Unix(path)) => SocketFile::known(&path, self.made?).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fd, opened, made } = self;
        match made {
            Some(Identity { device, inode }) => write!(f, "{fd} {device}:{inode}={opened}"),
            None => write!(f, "{fd}={opened}"),
        }
    }
}

/// The value of the variable among those that a predecessor has set for this very process.
pub(crate) fn variable(name: &str) -> Option<String> {
    let wanted = env::var(FOR).ok()?.parse() == Ok(process::id());
    env::var(name).ok().filter(|_| wanted)
}

pub(super) fn parse(text: &str) -> Vec<HandedOver> {
    text.lines().filter_map(HandedOver::parse).collect()
}

fn waiting() -> MutexGuard<'static, Option<Vec<HandedOver>>> {
    static WAITING: Mutex<Option<Vec<HandedOver>>> = Mutex::new(None);
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.get_or_insert_with(|| parse(&variable(LISTENERS).unwrap_or_default()));
    waiting
}

/// Gives up those that fit.
pub(super) fn claim_all(fits: impl Fn(&HandedOver) -> bool) -> Vec<HandedOver> {
    let mut waiting = waiting();
    let all = waiting.take().unwrap_or_default();
    let (claimed, rest) = all.into_iter().partition(fits);
    *waiting = Some(rest);
    claimed
}

/// One that was opened as `address`: there are several where each worker has a queue of its own.
pub(super) fn claim(address: &BindAddress) -> Option<HandedOver> {
    let text = address.to_string();
    let mut waiting = waiting();
    let all = waiting.as_mut()?;
    let index = all.iter().position(|one| one.opened == text)?;
    Some(all.remove(index))
}

/// Those that a service manager had passed to the first arbiter of the line.
pub(super) fn claim_passed() -> Vec<RawFd> {
    let passed = claim_all(|one| one.opened.is_empty());
    passed.into_iter().map(|one| one.fd).collect()
}
