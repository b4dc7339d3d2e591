//! The origin of a request: [`ConnectionInfo`], the same for all requests of a connection, and [`RequestInfo`], what
//! forwarders tell of one request.
//!
//! Only words: no socket is held here.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// An Internet address.
    Ip(SocketAddr),
    /// A Unix socket; `None` where it has no path, as a client's usually has not.
    Unix(Option<PathBuf>),
    /// The address of a client that a forwarder does not name.
    Hidden,
}

impl Address {
    /// The Internet address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) | Self::Hidden => None,
        }
    }

    /// The path of the Unix socket, if it is one with a path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Ip(_) | Self::Hidden => None,
            Self::Unix(path) => path.as_deref(),
        }
    }
}

impl fmt::Display for Address {
    /// `127.0.0.1:8000`, `[::1]:8000`, `unix:/run/x.sock`, `hidden`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(
                f,
                "unix:{}",
                path.as_deref().unwrap_or(Path::new("")).display()
            ),
            Self::Hidden => f.write_str("hidden"),
        }
    }
}

/// The facts of a connection: from its sockets, and from trusted peers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The client that a PROXY header announced, else the one that connected. Where a trusted forwarder may name
    /// another for a request, that is [`Request::client`](super::Request::client).
    pub peer: Address,
    /// The peer that connected: the nearest balancer, or the client itself.
    pub direct: Address,
    /// True if [`direct`](Self::direct) may speak for its clients in header fields.
    pub trusted: bool,
    /// The contents of a PROXY header, where one came.
    pub proxied: Option<Proxied>,
    /// The listener that accepted it: an index into [`ServiceContext::listeners`](super::ServiceContext::listeners).
    pub listener: usize,
    /// The listener's address.
    pub local: Address,
    /// The facts of the connection's TLS, where the server itself speaks it.
    pub tls: Option<Arc<TlsInfo>>,
}

impl ConnectionInfo {
    /// A connection from `peer` to the listener of that index and address, without a balancer between them.
    #[must_use]
    pub fn new(peer: Address, listener: usize, local: Address) -> Self {
        Self {
            direct: peer.clone(),
            peer,
            trusted: false,
            proxied: None,
            listener,
            local,
            tls: None,
        }
    }
}

/// The facts of a connection's TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name, as OpenSSL writes it.
    pub cipher: &'static str,
    /// The server that the client has named (RFC 6066 §3).
    pub server_name: Option<String>,
    /// Whether the session continues an earlier one.
    pub resumed: bool,
    /// The client's certificate, where it was asked for one and has shown it. It is valid, and one of the
    /// authorities that the server believes has certified it.
    pub client: Option<ClientCertificate>,
}

impl TlsInfo {
    /// A new session of this version with this cipher suite, whose client has named no server and shown no certificate.
    #[must_use]
    pub fn new(version: &'static str, cipher: &'static str) -> Self {
        Self {
            version,
            cipher,
            server_name: None,
            resumed: false,
            client: None,
        }
    }
}

/// A client's certificate (RFC 5280). Names are distinguished names, the most specific part first (RFC 4514).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The certificate itself, in DER.
    pub der: Vec<u8>,
    /// The name of the client.
    pub subject: String,
    /// The common name within [`subject`](Self::subject).
    pub common_name: Option<String>,
    /// The name of the authority.
    pub issuer: String,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The first moment at which it is valid, as in `Nov 29 01:54:37 2026 GMT`.
    pub not_before: String,
    /// The last one.
    pub not_after: String,
}

impl ClientCertificate {
    /// A certificate of which nothing else is known.
    #[must_use]
    pub fn new(der: Vec<u8>) -> Self {
        Self {
            der,
            ..Self::default()
        }
    }
}

/// The facts of one request that its header fields carry from a trusted forwarder, and its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestInfo {
    /// The client's scheme, as TLS or a trusted forwarder shows it.
    pub scheme: Scheme,
    /// The client that a trusted forwarder names, where one does. Port 0 stands for an unknown one.
    pub client: Option<Address>,
    /// The id that a trusted forwarder has given to the request, or else the server, where the setting
    /// [`request_id`](crate::config::Settings::request_id) asks for one: 1 to 128 visible ASCII characters.
    pub id: Option<Arc<str>>,
}

impl RequestInfo {
    /// Those of a request without a trusted forwarder.
    pub const NONE: &'static Self = &Self {
        scheme: Scheme::Http,
        client: None,
        id: None,
    };

    /// A request with this scheme, from the client that is named, if one is.
    #[must_use]
    pub fn new(scheme: Scheme, client: Option<Address>) -> Self {
        Self {
            scheme,
            client,
            id: None,
        }
    }

    /// The client of a request on `connection`.
    #[must_use]
    pub fn client<'a>(&'a self, connection: &'a ConnectionInfo) -> &'a Address {
        self.client.as_ref().unwrap_or(&connection.peer)
    }
}

/// A scheme of HTTP's (RFC 9110 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

/// The contents of a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxied {
    /// `TCP4` or `TCP6`, or where no client was announced `LOCAL` or `UNSPEC`.
    pub protocol: &'static str,
    /// The client.
    pub source: Option<SocketAddr>,
    /// The address to which the client connected.
    pub destination: Option<SocketAddr>,
}
