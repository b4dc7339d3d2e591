//! Listeners that one arbiter hands to the next, which runs in a process that the first one has started.
//!
//! A descriptor is taken in [`inherit`]; nothing is handed to a process by chance, since the
//! variables name the one that they are for.
//!
//! ```text
//!   OXICORN_PID=4711                          the process that all of it is for
//!   OXICORN_LISTENERS=3=127.0.0.1:8000        a line for each: descriptor, and what it was opened as;
//!                     4=unix:/run/x.sock      nothing where a service manager had passed it
//! ```
//!
//! *Invariants*: whoever binds one of these addresses gets the socket that is open, once; the environment is
//! read but never changed.

use std::env;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BindAddress, Listeners, inherit};
use crate::trace::info;

/// The process that the others are for.
pub(crate) const FOR: &str = "OXICORN_PID";
/// The listeners.
pub(crate) const LISTENERS: &str = "OXICORN_LISTENERS";

/// A descriptor that waits to be taken.
#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    fd: RawFd,
    /// The text of the address; empty where a service manager had passed it.
    opened: String,
}

/// The value of the variable among those that a predecessor has set for this very process.
pub(crate) fn variable(name: &str) -> Option<String> {
    let wanted = env::var(FOR).ok()?.parse() == Ok(process::id());
    env::var(name).ok().filter(|_| wanted)
}

/// What the next arbiter is told of these listeners, whose descriptors keep their numbers.
pub(crate) fn text(listeners: &Listeners) -> String {
    // To take a socket is to listen on it, and a reserved one must not; the next arbiter reserves its own.
    let listening = listeners.iter().filter(|one| !one.is_reserved());
    let lines = listening.map(|listener| {
        let opened = listener.opened().map(ToString::to_string);
        let fd = listener.as_fd().as_raw_fd();
        format!("{fd}={}", opened.unwrap_or_default())
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Vec<Waiting> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let waiting = lines.filter_map(|(fd, opened)| {
        let (fd, opened) = (fd.parse().ok()?, opened.to_owned());
        Some(Waiting { fd, opened })
    });
    waiting.collect()
}

fn waiting() -> MutexGuard<'static, Option<Vec<Waiting>>> {
    static WAITING: Mutex<Option<Vec<Waiting>>> = Mutex::new(None);
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.get_or_insert_with(|| parse(&variable(LISTENERS).unwrap_or_default()));
    waiting
}

/// Gives up the descriptors that fit.
fn claim_all(fits: impl Fn(&Waiting) -> bool) -> Vec<RawFd> {
    let mut waiting = waiting();
    let all = waiting.take().unwrap_or_default();
    let (claimed, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| fits(one));
    *waiting = Some(rest);
    claimed.into_iter().map(|one| one.fd).collect()
}

/// The descriptor that was opened as `address`.
pub(super) fn claim(address: &BindAddress) -> Option<RawFd> {
    let text = address.to_string();
    claim_all(|one| one.opened == text).first().copied()
}

/// Those that a service manager had passed to the first arbiter of the line.
pub(super) fn claim_passed() -> Vec<RawFd> {
    claim_all(|one| one.opened.is_empty())
}

/// Closes those that nobody has bound: the settings have them no more.
pub(crate) fn close_rest() {
    for fd in claim_all(|_| true) {
        match inherit::take(fd, super::DEFAULT_BACKLOG) {
            Ok(listener) => info!("Closing {listener}, which is no more to be listened on"),
            Err(error) => crate::trace::warning!("{error}"),
        }
    }
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
        assert_eq!(parse(&told), [Waiting { fd, opened }]);
    }

    #[test]
    fn a_reserved_address_is_not_handed_over_and_is_had_by_those_who_bind_beside_it_alone() {
        let any = "127.0.0.1:0".parse().unwrap();
        let access = SocketAccess::default();
        let reserved = Listener::reserve(&any, 16, access).unwrap();
        let at = reserved.socket_addr().unwrap();
        assert!(TcpStream::connect(at).is_err());
        let reserved = Listeners::from(reserved);
        assert_eq!(text(&reserved), "");
        let second = Listener::reserve(&at.to_string().parse().unwrap(), 16, access).unwrap();
        assert!(second.is_reserved());
        let own = reserved.for_worker().unwrap();
        let own = own.get(0).unwrap();
        assert_eq!((own.socket_addr(), own.is_own()), (Some(at), true));
        assert!(TcpStream::connect(at).is_err());
        own.open_queue();
        TcpStream::connect(at).unwrap();
    }

    #[test]
    fn an_empty_address_is_a_service_managers_and_nonsense_is_nothing() {
        let passed = Waiting {
            fd: 3,
            opened: String::new(),
        };
        assert_eq!(parse("3=\nx=:80\nnonsense\n"), [passed]);
        assert!(parse("").is_empty());
    }
}
