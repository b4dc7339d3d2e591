//! [`Inherited`]: the listening sockets that a service manager has opened for this process.
//!
//! No socket is taken that this process could have opened itself, none is taken twice, and the environment is
//! read but never changed.

use std::env;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::addr::BindAddress;
use super::error::BindError;
use super::handed_over;
use super::listener::{DEFAULT_BACKLOG, Listener};
use super::listeners::Listeners;
use crate::error::Result;

/// The first descriptor of the protocol (`sd_listen_fds(3)`).
const FIRST: RawFd = 3;

/// Listening sockets that this process was started with (`sd_listen_fds(3)`); often none.
#[derive(Debug)]
pub struct Inherited(Vec<Listener>);

impl Listener {
    /// Takes the sockets that a service manager passed through `LISTEN_PID` and `LISTEN_FDS`, if the
    /// first is this process's id; in the successor of an arbiter, those that were passed to that one.
    ///
    /// Each knows the [name](Listener::name) that `LISTEN_FDNAMES` gives it.
    ///
    /// They can be had once: a second call finds none. The variables stay as they are; they concern no
    /// other process, since `LISTEN_PID` names this one.
    ///
    /// # Errors
    ///
    /// [`Error::is_bind`](crate::Error::is_bind) where `LISTEN_FDS` is no number, or a descriptor is not
    /// open, is not a stream socket, or was opened by this process itself.
    pub fn inherited() -> Result<Inherited> {
        static ASKED: AtomicBool = AtomicBool::new(false);
        if ASKED.swap(true, Ordering::Relaxed) {
            return Ok(Inherited(Vec::new()));
        }
        let passed = passed(
            env::var("LISTEN_PID").ok().as_deref(),
            env::var("LISTEN_FDS").ok().as_deref(),
            std::process::id(),
        )?;
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut listeners = Vec::new();
        // Those of the first arbiter of a line go from each to its successor, with their numbers, and the
        // names are in the environment still.
        for fd in passed.chain(handed_over::claim_passed()) {
            let mut listener = Listener::inherit(fd, DEFAULT_BACKLOG)?;
            listener.set_name(name(&names, fd));
            crate::trace::info!("Using the inherited socket fd://{fd}: {listener}");
            listeners.push(listener);
        }
        Ok(Inherited(listeners))
    }
}

impl Inherited {
    /// The inherited sockets if there are any, and otherwise the addresses, bound with
    /// [`DEFAULT_BACKLOG`]. Where there are inherited sockets the addresses are only checked, which is
    /// logged. To serve both, pass both to a [`Server`](crate::ServerBuilder::listeners).
    ///
    /// # Errors
    ///
    /// [`Error::is_bind`](crate::Error::is_bind), with a [`BindError`] as source: an address that does not
    /// parse, in either case, or cannot be bound.
    pub fn or_bind(self, addresses: impl IntoIterator<Item: AsRef<str>>) -> Result<Listeners> {
        self.or_bind_with(addresses, DEFAULT_BACKLOG)
    }

    /// The same, with a backlog.
    ///
    /// # Errors
    ///
    /// Those of [`or_bind`](Self::or_bind).
    pub fn or_bind_with(
        self,
        addresses: impl IntoIterator<Item: AsRef<str>>,
        backlog: u32,
    ) -> Result<Listeners> {
        let addresses: Vec<BindAddress> = addresses
            .into_iter()
            .map(|text| BindAddress::parse(text.as_ref()))
            .collect::<std::result::Result<_, _>>()?;
        if self.0.is_empty() {
            return Ok(Listeners::bind(&addresses, backlog)?);
        }
        for address in &addresses {
            crate::trace::info!("Not opening {address}: the inherited sockets take its place");
        }
        Ok(self.into())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Inherited> for Listeners {
    fn from(inherited: Inherited) -> Self {
        inherited.0.into()
    }
}

/// The numbers of the descriptors that the environment announces to the process `me`.
fn passed(
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    me: u32,
) -> Result<std::ops::Range<RawFd>, BindError> {
    if listen_pid.and_then(|pid| pid.parse().ok()) != Some(me) {
        return Ok(FIRST..FIRST);
    }
    let text = listen_fds.unwrap_or_default();
    text.parse::<u16>()
        .map(|count| FIRST..FIRST + RawFd::from(count))
        .map_err(|_| BindError::Environment {
            variable: "LISTEN_FDS",
            text: text.to_owned(),
        })
}

/// The name of a descriptor: the first one names the first of the protocol.
fn name(names: &[&str], fd: RawFd) -> Option<String> {
    let index = usize::try_from(fd - FIRST).ok()?;
    let name = names.get(index).filter(|name| !name.is_empty())?;
    Some((*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net;
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::atomic::AtomicI32;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use socket2::{Domain, Socket, Type};

    /// Gives a descriptor away as one that `exec` passed on: without an owner, with its flag clear, and of a
    /// number that no other test has taken.
    fn inherit(fd: impl Into<OwnedFd>) -> RawFd {
        static NEXT: AtomicI32 = AtomicI32::new(500);
        let least = NEXT.fetch_add(1, Ordering::Relaxed);
        fcntl(fd.into(), FcntlArg::F_DUPFD(least)).unwrap()
    }

    // Gunicorn: G27
    #[test]
    fn descriptors_are_announced_from_three_on_to_one_process() {
        assert_eq!(passed(Some("7"), Some("2"), 7).unwrap(), 3..5);
        assert_eq!(passed(Some("7"), Some("0"), 7).unwrap(), 3..3);
        assert!(passed(Some("8"), Some("2"), 7).unwrap().is_empty());
        assert!(passed(None, Some("2"), 7).unwrap().is_empty());
        assert!(passed(Some("me"), Some("2"), 7).unwrap().is_empty());
    }

    // Gunicorn: G27
    #[test]
    fn a_descriptor_has_the_name_in_its_place() {
        let names = ["web", "", "admin"];
        let all: Vec<_> = (2..8).map(|fd| name(&names, fd)).collect();
        let (web, admin) = (Some("web".to_owned()), Some("admin".to_owned()));
        assert_eq!(all, [None, web, None, admin, None, None]);
    }

    #[test]
    fn a_count_that_is_no_number_is_an_error_naming_the_variable() {
        for text in [Some("x"), Some("-1"), Some("70000"), None] {
            let error = passed(Some("7"), text, 7).unwrap_err();
            assert!(error.to_string().contains("LISTEN_FDS"), "{error}");
        }
    }

    #[test]
    fn without_a_service_manager_the_addresses_are_bound() {
        let inherited = Listener::inherited().unwrap();
        assert!(inherited.is_empty());
        let listeners = inherited.or_bind(["127.0.0.1:0"]).unwrap();
        assert_eq!(listeners.len(), 1);
        assert!(Listener::inherited().unwrap().is_empty());
    }

    #[test]
    fn inherited_sockets_win_over_addresses_which_are_still_checked() {
        let listener = || {
            let address = BindAddress::parse("127.0.0.1:0").unwrap();
            Inherited(vec![Listener::bind(&address, 16).unwrap()])
        };
        let inherited = listener();
        let address = inherited.0[0].socket_addr();
        let listeners = inherited.or_bind(["unix:/no/such/folder/s"]).unwrap();
        assert_eq!(listeners.get(0).unwrap().socket_addr(), address);
        assert!(listener().or_bind(["localhost:x"]).unwrap_err().is_bind());
    }

    // Gunicorn: G28
    #[test]
    fn a_listening_descriptor_is_taken_once() {
        let socket = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let fd = inherit(socket);
        let text = format!("fd://{fd}");
        let listener = Listener::bind(&BindAddress::parse(&text).unwrap(), 16).unwrap();
        assert_eq!(listener.socket_addr(), Some(address));
        let flags = fcntl(listener.as_fd(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
        let error = Listener::inherit(fd, 16).unwrap_err();
        assert!(error.to_string().contains(&text), "{error}");
        assert!(error.to_string().contains("taken before"), "{error}");
    }

    // Gunicorn: G28
    #[test]
    fn a_bound_descriptor_is_made_to_listen() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let listener = Listener::inherit(inherit(socket), 16).unwrap();
        net::TcpStream::connect(listener.socket_addr().unwrap()).unwrap();
    }

    // Gunicorn: G29
    #[test]
    fn an_inherited_socket_file_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = Listener::inherit(inherit(socket), 16).unwrap();
        assert_eq!(listener.unix_path(), Some(&*path));
        Listeners::from(listener).unlink();
        assert!(path.exists());
    }

    #[test]
    fn what_this_process_opened_is_not_taken_and_stays_open() {
        use std::os::fd::AsRawFd;
        let socket = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Listener::inherit(socket.as_raw_fd(), 16).unwrap_err();
        assert!(error.to_string().contains("close-on-exec"), "{error}");
        assert!(socket.local_addr().is_ok());
    }

    // Gunicorn: G28
    #[test]
    fn what_is_no_listening_socket_is_refused() {
        let datagrams = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = Listener::inherit(inherit(datagrams), 16).unwrap_err();
        assert!(error.to_string().contains("stream socket"), "{error}");
        let file = inherit(tempfile::tempfile().unwrap());
        let error = Listener::inherit(file, 16).unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
        let error = Listener::inherit(1_000_000, 16).unwrap_err();
        assert!(error.to_string().contains("not open"), "{error}");
    }
}
