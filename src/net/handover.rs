//! Listeners that one arbiter hands to the next, which runs in a process that the first one has started.
//!
//! A descriptor is taken in [`inherit`]; nothing is handed to a process by chance, since the
//! variables name the one that they are for.
//!
//! ```text
//!   OXICORN_PID=4711                          the process that all of it is for
//!   OXICORN_LISTENERS=3=127.0.0.1:8000        a line for each: descriptor, and what it was opened as,
//!                     4 25:731=unix:/run/x    where it made a file, with its device and inode;
//!                     5=                      nothing where a service manager had passed it
//! ```
//!
//! *Invariants*: whoever binds one of these addresses gets the socket that is open, once; the environment is
//! read but never changed.

use std::env;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::socket_file::Identity;
use super::{BindAddress, Listeners, SocketFile, inherit};
use crate::trace::info;

/// The process that the others are for.
pub(crate) const FOR: &str = "OXICORN_PID";
/// The listeners.
pub(crate) const LISTENERS: &str = "OXICORN_LISTENERS";

/// A descriptor that waits to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) fd: RawFd,
    /// The text of the address; empty where a service manager had passed it.
    opened: String,
    /// The socket file that was made with it.
    made: Option<Identity>,
}

impl Waiting {
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

impl fmt::Display for Waiting {
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

/// What the next arbiter is told of these listeners, whose descriptors keep their numbers.
pub(crate) fn text(listeners: &Listeners) -> String {
    let lines = listeners.iter().map(|listener| {
        let opened = listener.opened().map(ToString::to_string);
        let waiting = Waiting {
            fd: listener.as_fd().as_raw_fd(),
            opened: opened.unwrap_or_default(),
            made: listener.file().map(|file| file.identity()),
        };
        waiting.to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Vec<Waiting> {
    text.lines().filter_map(Waiting::parse).collect()
}

fn waiting() -> MutexGuard<'static, Option<Vec<Waiting>>> {
    static WAITING: Mutex<Option<Vec<Waiting>>> = Mutex::new(None);
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.get_or_insert_with(|| parse(&variable(LISTENERS).unwrap_or_default()));
    waiting
}

/// Gives up those that fit.
fn claim_all(fits: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
    let mut waiting = waiting();
    let all = waiting.take().unwrap_or_default();
    let (claimed, rest) = all.into_iter().partition(fits);
    *waiting = Some(rest);
    claimed
}

/// One that was opened as `address`: there are several where each worker has a queue of its own.
pub(super) fn claim(address: &BindAddress) -> Option<Waiting> {
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

/// Closes those that nobody has bound: the settings have them no more. Gives the files of Unix sockets.
pub(crate) fn close_rest() -> Vec<Arc<SocketFile>> {
    let rest = claim_all(|_| true);
    for one in &rest {
        match inherit::take(one.fd, super::DEFAULT_BACKLOG) {
            Ok(listener) => info!("Closing {listener}, which is no more to be listened on"),
            Err(error) => crate::trace::warning!("{error}"),
        }
    }
    rest.iter()
        .filter_map(Waiting::file)
        .map(Arc::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    use crate::net::{Listener, SocketAccess};

    #[test]
    fn what_is_told_of_listeners_is_understood() {
        let address: BindAddress = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&address, 16).unwrap();
        let fd = listener.as_fd().as_raw_fd();
        let told = text(&listener.into());
        let opened = "127.0.0.1:0".to_owned();
        let made = None;
        assert_eq!(parse(&told), [Waiting { fd, opened, made }]);
    }

    #[test]
    fn a_socket_file_is_known_by_its_identity_and_not_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b:c d");
        let address = BindAddress::Unix(path.clone());
        let listener = Listener::bind(&address, 16).unwrap();
        let told = parse(&text(&listener.into()));
        let file = told[0].file().unwrap();
        // Renamed and not written anew: the inode of a removed file may come again at once.
        let other = folder.path().join("other");
        std::fs::write(&other, "").unwrap();
        let kept = folder.path().join("kept");
        std::fs::rename(&path, &kept).unwrap();
        std::fs::rename(&other, &path).unwrap();
        file.remove();
        assert!(path.exists());
        std::fs::rename(&kept, &path).unwrap();
        told[0].file().unwrap().remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_reserved_address_is_not_handed_over() {
        let any = "127.0.0.1:0".parse().unwrap();
        let access = SocketAccess::default();
        let reserved = Listener::reserve(&any, 16, access).unwrap();
        let at = reserved.socket_addr().unwrap();
        assert!(TcpStream::connect(at).is_err());
        let reserved = Listeners::from(reserved);
        assert!(reserved.listening().is_empty());
        let second = Listener::reserve(&at.to_string().parse().unwrap(), 16, access).unwrap();
        assert!(!second.is_listening());
        let own = reserved.for_queue(0).unwrap();
        let own = own.get(0).unwrap();
        assert_eq!((own.socket_addr(), own.is_own()), (Some(at), true));
        assert!(TcpStream::connect(at).is_err());
        own.open_queue();
        TcpStream::connect(at).unwrap();
    }

    #[test]
    fn an_empty_address_is_a_service_managers_and_nonsense_none() {
        let passed = Waiting {
            fd: 3,
            opened: String::new(),
            made: None,
        };
        assert_eq!(parse("3=\nx=:80\n4 25=/x\n4 a:b=/x\nnonsense\n"), [passed]);

        assert!(parse("").is_empty());
    }
}
