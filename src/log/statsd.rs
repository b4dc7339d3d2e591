//! [`Statsd`]: Gunicorn's metrics, each in a datagram of its own.
//!
//! ```text
//!   shop.gunicorn.requests:1|c|@1.0|#env:test
//!   shop.gunicorn.request.duration:12.5|ms|#env:test
//! ```
//!
//! Nothing waits, and what cannot be sent is lost.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(any(feature = "tracing", test))]
use super::syslog::Severity;
use super::syslog::{datagrams, host_and_port, transmit};
use crate::access::{Access, AccessSink};
use crate::error::{Error, Result};
use crate::secret::without_credentials;

/// The port of statsd.
const PORT: u16 = 8125;

/// The address of a statsd server: `HOST:PORT`, `[IPV6]:PORT` or `unix://PATH`. The port is 8125 unless it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsdAddress(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Udp(String, u16),
}

impl FromStr for StatsdAddress {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::is_config`] for a text of another form.
    fn from_str(text: &str) -> Result<Self> {
        let place = match text.strip_prefix("unix://") {
            Some("") => None,
            Some(path) => Some(Place::Unix(path.into())),
            None => host_and_port(text, PORT).map(|(host, port)| Place::Udp(host, port)),
        };
        place.map(Self).ok_or_else(|| {
            Error::config(format!(
                "'{}' is no address of a statsd: expected HOST:PORT or unix://PATH",
                without_credentials(text)
            ))
        })
    }
}

/// Sends metrics to a statsd server. Clones share a socket, also with the processes that are forked.
#[derive(Clone, Debug)]
pub struct Statsd {
    /// `None` where the server's name could not be resolved, or there is no such socket.
    socket: Option<Arc<OwnedFd>>,
    /// Ends with a dot, unless it is empty.
    prefix: String,
    /// `|#` and the tags, unless there are none.
    tags: String,
    message: Vec<u8>,
}

impl Statsd {
    /// A sender of metrics whose names begin with `prefix` and a dot, and which end with `tags` (`NAME:VALUE,...`). Where
    /// the server cannot be reached, all metrics are lost.
    #[must_use]
    pub fn new(address: &StatsdAddress, prefix: &str, tags: &str) -> Self {
        let socket = match &address.0 {
            Place::Unix(path) => unix(path),
            Place::Udp(host, port) => datagrams(host, *port),
        };
        let prefix = prefix.trim_end_matches('.');
        let dot = if prefix.is_empty() { "" } else { "." };
        let mark = if tags.is_empty() { "" } else { "|#" };
        Self {
            socket: socket.ok().map(Arc::new),
            prefix: format!("{prefix}{dot}"),
            tags: format!("{mark}{tags}"),
            message: Vec::new(),
        }
    }

    /// Sends the number of workers.
    pub fn workers(&mut self, count: usize) {
        self.send(format_args!("gunicorn.workers:{count}|g"));
    }

    /// Counts a message of the error log.
    #[cfg(any(feature = "tracing", test))]
    pub(super) fn count_message(&self, severity: Severity) {
        let name = match severity {
            Severity::Critical => "critical",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info | Severity::Debug => return,
        };
        self.clone()
            .send(format_args!("gunicorn.log.{name}:1|c|@1.0"));
    }

    fn send(&mut self, metric: fmt::Arguments<'_>) {
        use io::Write as _;
        let Some(socket) = &self.socket else { return };
        self.message.clear();
        // Writing to memory cannot fail, and what the socket does not take is lost.
        let _ = write!(self.message, "{}{metric}{}", self.prefix, self.tags);
        let _ = transmit(socket, &self.message);
    }
}

fn unix(path: &PathBuf) -> io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl AccessSink for Statsd {
    fn record(&mut self, access: &Access<'_>) {
        let milliseconds = access.elapsed().as_secs_f64() * 1e3;
        self.send(format_args!(
            "gunicorn.request.duration:{milliseconds:?}|ms"
        ));
        self.send(format_args!("gunicorn.requests:1|c|@1.0"));
        if access.status > 0 {
            let status = access.status;
            self.send(format_args!("gunicorn.request.status.{status}:1|c|@1.0"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn received(socket: &UdpSocket) -> String {
        let mut text = [0; 200];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    // Gunicorn: S72
    #[test]
    fn an_address_has_a_host_or_a_path() {
        for (text, place) in [
            ("localhost", Place::Udp("localhost".into(), 8125)),
            ("10.0.0.1:99", Place::Udp("10.0.0.1".into(), 99)),
            ("[::1]:99", Place::Udp("::1".into(), 99)),
            ("unix:///run/statsd", Place::Unix("/run/statsd".into())),
        ] {
            let address: StatsdAddress = text.parse().unwrap();
            assert_eq!(address, StatsdAddress(place), "{text}");
        }
        for text in ["a:b", "unix://", "[::1"] {
            assert!(text.parse::<StatsdAddress>().is_err(), "{text}");
        }
    }

    // Gunicorn: S73, S74, L26, L27
    #[test]
    fn metrics_have_prefix_and_tags() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string().parse().unwrap();
        for (prefix, tags, wanted) in [
            ("", "", "gunicorn.workers:3|g"),
            ("shop", "", "shop.gunicorn.workers:3|g"),
            ("shop..", "a:b,c", "shop.gunicorn.workers:3|g|#a:b,c"),
        ] {
            Statsd::new(&address, prefix, tags).workers(3);
            assert_eq!(received(&server), wanted);
        }
        let statsd = Statsd::new(&address, "", "");
        statsd.count_message(Severity::Info);
        statsd.count_message(Severity::Critical);
        assert_eq!(received(&server), "gunicorn.log.critical:1|c|@1.0");
    }

    #[test]
    fn a_server_that_is_not_there_costs_nothing() {
        let address = "unix:///no/such/socket".parse().unwrap();
        Statsd::new(&address, "", "").workers(1);
    }
}
