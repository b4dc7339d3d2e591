//! [`Syslog`]: lines to a syslog daemon, in the form and to the addresses that Gunicorn has.
//!
//! ```text
//!   <14>gunicorn.shop.error: [4711] Listening at: http://127.0.0.1:8000\0
//! ```
//!
//! A message is one datagram, or one write to a stream. None waits for long: what the daemon does not take is lost.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use crate::error::{Error, Result};
use crate::secret::without_credentials;
use crate::time::MonoTime;

/// How long a connection, or a write to a stream, may take.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a daemon that could not be reached is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// The port of syslog.
const PORT: u16 = 514;

/// How severe a message is (RFC 5424 section 6.2.1): the smaller, the graver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(feature = "tracing"),
    allow(dead_code, reason = "the access log is all that has a syslog then")
)]
pub(super) enum Severity {
    Critical = 2,
    Error = 3,
    Warning = 4,
    #[default]
    Info = 6,
    Debug = 7,
}

/// The address of a syslog daemon: `unix://PATH`, `unix://PATH#dgram`, `unix://PATH#stream`, `udp://HOST:PORT` or
/// `tcp://HOST:PORT`. The port is 514 unless it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogAddress(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix { path: PathBuf, kind: Option<Kind> },
    Udp(String, u16),
    Tcp(String, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Datagram,
    Stream,
}

impl FromStr for SyslogAddress {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::is_config`] for a text of another form.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(format!(
                "'{}' is no address of a syslog: expected unix://PATH, udp://HOST:PORT or tcp://HOST:PORT",
                without_credentials(text)
            ))
        };
        let host_and_port = |rest: &str| host_and_port(rest, PORT).ok_or_else(wrong);
        let place = match text.split_once("://") {
            Some(("unix", path)) => {
                let (path, kind) = match path.split_once('#') {
                    Some((path, "dgram")) => (path, Some(Kind::Datagram)),
                    Some((path, "stream")) => (path, Some(Kind::Stream)),
                    Some((_, _)) => return Err(wrong()),
                    None => (path, None),
                };
                if path.is_empty() {
                    return Err(wrong());
                }
                let path = path.into();
                Place::Unix { path, kind }
            }
            Some(("udp", rest)) => {
                let (host, port) = host_and_port(rest)?;
                Place::Udp(host, port)
            }
            Some(("tcp", rest)) => {
                let (host, port) = host_and_port(rest)?;
                Place::Tcp(host, port)
            }
            _ => return Err(wrong()),
        };
        Ok(Self(place))
    }
}

/// A host, `localhost` where it is empty, and a port.
pub(super) fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if port.is_empty() => default,
        None => return None,
    };
    let host = if host.is_empty() { "localhost" } else { host };
    if host.contains(char::is_whitespace) {
        return None;
    }
    Some((host.to_ascii_lowercase(), port))
}

impl Place {
    fn connect(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix { path, kind } => {
                let datagram = || {
                    let socket = UnixDatagram::unbound()?;
                    socket.connect(path)?;
                    socket.set_nonblocking(true)?;
                    Ok(socket.into())
                };
                let stream = || {
                    let socket = UnixStream::connect(path)?;
                    socket.set_write_timeout(Some(PATIENCE))?;
                    Ok(socket.into())
                };
                match kind {
                    Some(Kind::Datagram) => datagram(),
                    Some(Kind::Stream) => stream(),
                    None => datagram().or_else(|_: io::Error| stream()),
                }
            }
            Self::Udp(host, port) => datagrams(host, *port),
            Self::Tcp(host, port) => {
                let mut last = io::ErrorKind::NotFound.into();
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, PATIENCE) {
                        Ok(stream) => {
                            stream.set_write_timeout(Some(PATIENCE))?;
                            return Ok(stream.into());
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

/// A socket from which datagrams go to that address, and which never waits.
pub(super) fn datagrams(host: &str, port: u16) -> io::Result<OwnedFd> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        let socket = if address.is_ipv4() {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        };
        match socket.and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                return Ok(socket.into());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends one message, whole or not at all, without a signal (send(2), `MSG_NOSIGNAL`).
pub(super) fn transmit(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    loop {
        match send(socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) if sent == message.len() => return Ok(()),
            // The rest of a message would be taken for another one.
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends messages to a syslog daemon, under one name and facility.
#[derive(Debug)]
pub struct Syslog {
    place: Place,
    /// The facility, shifted to its place in a priority.
    facility: u8,
    /// `gunicorn.PREFIX.error`.
    ident: String,
    socket: Mutex<Connection>,
}

#[derive(Debug, Default)]
struct Connection {
    socket: Option<OwnedFd>,
    /// The process that has connected it: a child connects by itself, so that streams are not mixed.
    pid: u32,
    /// When the daemon could not be reached.
    failed: Option<MonoTime>,
}

/// The facilities, at their numbers (RFC 5424 section 6.2.1); those without a name are empty.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

impl Syslog {
    /// A sender for one log of a server: `gunicorn.PREFIX.LOG` is its name, and a colon in `prefix` becomes a dot.
    /// Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] for a facility that is not known.
    pub fn new(address: &SyslogAddress, facility: &str, prefix: &str, log: &str) -> Result<Self> {
        let name = match facility.to_ascii_lowercase().as_str() {
            "security" => "auth".to_owned(),
            name => name.to_owned(),
        };
        let found = FACILITIES.iter().position(|known| *known == name);
        let number = found.filter(|_| !name.is_empty()).ok_or_else(|| {
            Error::config(format!("'{facility}' is no facility of syslog: expected user, daemon, local0 to local7, ..."))
        })?;
        Ok(Self {
            place: address.0.clone(),
            facility: (number as u8) << 3,
            ident: format!("gunicorn.{}.{log}", prefix.replace(':', ".")),
            socket: Mutex::default(),
        })
    }

    /// Sends a message. What cannot be sent is lost.
    pub(super) fn send(&self, severity: Severity, message: impl fmt::Display) {
        let pid = process::id();
        let priority = self.facility | severity as u8;
        let text = format!("<{priority}>{}: [{pid}] {message}\0", self.ident);
        let mut connection = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.pid != pid {
            *connection = Connection {
                pid,
                ..Connection::default()
            };
        }
        // A daemon that was started anew has another socket.
        for _ in 0..2 {
            let Some(socket) = connection.get(&self.place) else {
                return;
            };
            match transmit(socket, text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => connection.socket = None,
                _ => return,
            }
        }
    }
}

impl Connection {
    fn get(&mut self, place: &Place) -> Option<&OwnedFd> {
        if self.socket.is_none() {
            let now = MonoTime::now();
            if self.failed.is_some_and(|failed| now.since(failed) < PAUSE) {
                return None;
            }
            self.socket = place.connect().ok();
            self.failed = self.socket.is_none().then_some(now);
        }
        self.socket.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn syslog(address: &str) -> Syslog {
        Syslog::new(&address.parse().unwrap(), "local3", "shop:app", "error").unwrap()
    }

    /// The message that `send` makes of "hello", a warning.
    fn wanted() -> String {
        format!("<156>gunicorn.shop.app.error: [{}] hello\0", process::id())
    }

    // Gunicorn: S61
    #[test]
    fn every_form_of_address_is_read() {
        let unix = |path: &str, kind| Place::Unix {
            path: path.into(),
            kind,
        };
        for (text, place) in [
            ("unix:///dev/log", unix("/dev/log", None)),
            (
                "unix:///dev/log#dgram",
                unix("/dev/log", Some(Kind::Datagram)),
            ),
            ("unix://log#stream", unix("log", Some(Kind::Stream))),
            ("udp://Localhost:515", Place::Udp("localhost".into(), 515)),
            ("udp://10.0.0.1", Place::Udp("10.0.0.1".into(), 514)),
            ("udp://", Place::Udp("localhost".into(), 514)),
            ("tcp://[::1]:7", Place::Tcp("::1".into(), 7)),
            ("tcp://[::1]", Place::Tcp("::1".into(), 514)),
        ] {
            let address: SyslogAddress = text.parse().unwrap();
            assert_eq!(address, SyslogAddress(place), "{text}");
        }
        for text in [
            "",
            "log",
            "http://a",
            "udp://a:x",
            "udp://[::1",
            "unix://",
            "unix://a#b",
        ] {
            let error = text.parse::<SyslogAddress>().unwrap_err();
            assert!(error.is_config(), "{text}");
        }
    }

    // Gunicorn: S63, S64, L6
    #[test]
    fn a_message_has_its_priority_its_name_and_its_process() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        syslog(&format!("udp://{}", server.local_addr().unwrap())).send(Severity::Warning, "hello");
        let mut text = [0; 100];
        let length = server.recv(&mut text).unwrap();
        assert_eq!(std::str::from_utf8(&text[..length]).unwrap(), wanted());
        let address = "udp://a".parse().unwrap();
        let error = Syslog::new(&address, "local9", "", "").unwrap_err();
        assert!(error.to_string().contains("'local9'"));
        assert!(Syslog::new(&address, "", "", "").is_err());
    }

    // Gunicorn: S61
    #[test]
    fn streams_and_sockets_with_a_path_are_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let datagrams = UnixDatagram::bind(path("d")).unwrap();
        syslog(&format!("unix://{}", path("d").display())).send(Severity::Warning, "hello");
        let mut text = vec![0; 100];
        let length = datagrams.recv(&mut text).unwrap();
        assert_eq!(text[..length], *wanted().as_bytes());

        let mut text = vec![0; wanted().len()];
        let unix = UnixListener::bind(path("s")).unwrap();
        syslog(&format!("unix://{}", path("s").display())).send(Severity::Warning, "hello");
        unix.accept().unwrap().0.read_exact(&mut text).unwrap();
        assert_eq!(text, wanted().as_bytes());

        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        syslog(&format!("tcp://{}", tcp.local_addr().unwrap())).send(Severity::Warning, "hello");
        tcp.accept().unwrap().0.read_exact(&mut text).unwrap();
        assert_eq!(text, wanted().as_bytes());
    }

    #[test]
    fn a_daemon_that_comes_back_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = syslog(&format!("unix://{}#dgram", path.display()));
        let first = UnixDatagram::bind(&path).unwrap();
        log.send(Severity::Warning, "hello");
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        log.send(Severity::Warning, "hello");
        let mut text = [0; 100];
        assert_eq!(second.recv(&mut text).unwrap(), wanted().len());
        drop(second);
        log.send(Severity::Warning, "lost");
    }
}
