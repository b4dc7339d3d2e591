//! [`BindAddress`]: where to listen, as Gunicorn's `bind` setting writes it.
//!
//! Nothing is resolved or opened here, and nothing is guessed: a text with two readings is an error.

use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::BindError;

/// The host where the text names none.
const ALL_INTERFACES: &str = "0.0.0.0";
/// The port where the text names none.
const DEFAULT_PORT: u16 = 8000;

/// Where to listen.
///
/// | text | meaning |
/// |---|---|
/// | `HOST:PORT`, `HOST` | a host name (resolved as IPv4 where it can be) or an IPv4 address; port 8000 |
/// | `[ADDRESS]:PORT`, `[ADDRESS]` | an IPv6 address |
/// | `:PORT`, the empty text | all IPv4 interfaces |
/// | `tcp://…` | any of the above |
/// | `unix:PATH`, `unix://PATH` | a Unix socket with a file; one whose name begins with `@` is `unix:./@…` |
/// | `unix:@NAME` | a Unix socket with a name and no file: an abstract one (unix(7)) |
/// | `fd://N` | a listening socket that the process has inherited as descriptor `N` |
///
/// Port 0 lets the system choose. `Display` gives a text that parses to the same address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindAddress {
    /// A TCP port of a host.
    Tcp {
        /// A host name or a literal address, in lower case and without brackets.
        host: String,
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// A path in the file system.
    Unix(PathBuf),
    /// A name in the system's table of abstract sockets, without the `@` that stands for its first byte, NUL.
    Abstract(String),
    /// An inherited descriptor.
    Fd(RawFd),
}

impl BindAddress {
    /// Parses any of the forms in the table above.
    ///
    /// # Errors
    ///
    /// [`BindError::Address`], which quotes the text.
    pub fn parse(text: &str) -> Result<Self, BindError> {
        parse(text).map_err(|reason| BindError::Address {
            text: text.to_owned(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<BindAddress, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.strip_prefix('@') {
            Some(name) => abstract_name(name),
            None => unix(path.strip_prefix("//").unwrap_or(path)),
        };
    }
    if let Some(number) = text.strip_prefix("fd://") {
        return fd(number);
    }
    let authority = text.strip_prefix("tcp://").unwrap_or(text);
    if authority.contains('/') {
        return Err("expected HOST:PORT, unix:PATH or fd://N");
    }
    if authority
        .bytes()
        .any(|b| b.is_ascii_whitespace() || b.is_ascii_control())
    {
        return Err("a host and port have no white space in them");
    }
    tcp(authority)
}

fn unix(path: &str) -> Result<BindAddress, &'static str> {
    if path.is_empty() {
        return Err("the path is missing");
    }
    if path.contains('\0') {
        return Err("a path cannot hold a NUL byte");
    }
    if path.starts_with('@') {
        return Err("expected unix:@NAME for an abstract socket, or unix:./@PATH for a file");
    }
    Ok(BindAddress::Unix(PathBuf::from(path)))
}

fn abstract_name(name: &str) -> Result<BindAddress, &'static str> {
    if name.is_empty() {
        // For the empty name the system would choose one that no client knows.
        return Err("the name is missing");
    }
    if name.contains('\0') {
        return Err("the '@' stands for the NUL byte, and there is no other");
    }
    Ok(BindAddress::Abstract(name.to_owned()))
}

fn fd(number: &str) -> Result<BindAddress, &'static str> {
    match number.parse::<RawFd>() {
        Ok(fd) if fd >= 0 && number.bytes().all(|b| b.is_ascii_digit()) => Ok(BindAddress::Fd(fd)),
        _ => Err("the descriptor is not a number"),
    }
}

fn tcp(authority: &str) -> Result<BindAddress, &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the closing ']' is missing")?;
            if !host.contains(':') {
                return Err("only an IPv6 address is written in brackets");
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("expected ':' and a port after ']'"),
            }
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(
                    "more than one ':': an IPv6 address is written in brackets, [::1]:8000",
                );
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port
            .parse()
            .map_err(|_| "the port is not a number from 0 to 65535")?,
        Some(_) => return Err("the port is not a number from 0 to 65535"),
    };
    let host = if host.is_empty() {
        ALL_INTERFACES.to_owned()
    } else {
        host.to_ascii_lowercase()
    };
    Ok(BindAddress::Tcp { host, port })
}

impl FromStr for BindAddress {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        Self::parse(text)
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => unix_text(f, path),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Fd(fd) => write!(f, "fd://{fd}"),
        }
    }
}

/// A Unix socket's address as text, with something before a path that would be read as something else.
pub(super) fn unix_text(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    let before = match path.as_os_str().as_encoded_bytes() {
        [b'/', b'/', ..] => "//",
        [b'@', ..] => "./",
        _ => "",
    };
    write!(f, "unix:{before}{}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> BindAddress {
        BindAddress::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn every_form_of_bind_address_is_understood() {
        let cases = [
            ("", tcp("0.0.0.0", 8000)),
            (":80", tcp("0.0.0.0", 80)),
            ("127.0.0.1", tcp("127.0.0.1", 8000)),
            ("127.0.0.1:0", tcp("127.0.0.1", 0)),
            ("Example.ORG", tcp("example.org", 8000)),
            ("LocalHost:65535", tcp("localhost", 65535)),
            ("[::1]", tcp("::1", 8000)),
            ("[FE80::1%eth0]:81", tcp("fe80::1%eth0", 81)),
            ("tcp://", tcp("0.0.0.0", 8000)),
            ("tcp://127.0.0.1:9", tcp("127.0.0.1", 9)),
            ("tcp://[::]:9", tcp("::", 9)),
            ("unix:run/x.sock", BindAddress::Unix("run/x.sock".into())),
            ("unix:/run/x.sock", BindAddress::Unix("/run/x.sock".into())),
            (
                "unix:///run/x.sock",
                BindAddress::Unix("/run/x.sock".into()),
            ),
            ("unix://x.sock", BindAddress::Unix("x.sock".into())),
            ("unix:@shop", BindAddress::Abstract("shop".to_owned())),
            ("unix:./@shop", BindAddress::Unix("./@shop".into())),
            ("fd://3", BindAddress::Fd(3)),
        ];
        for (text, wanted) in cases {
            let parsed = BindAddress::parse(text).unwrap();
            assert_eq!(parsed, wanted, "{text}");
            assert_eq!(parsed.to_string().parse::<BindAddress>().unwrap(), wanted);
        }
    }

    #[test]
    fn a_bad_bind_address_is_an_error_that_quotes_it() {
        for text in [
            "localhost:http",
            "localhost:65536",
            "localhost:+80",
            "localhost:-1",
            "host:9:8",
            "::1",
            "[::1",
            "[::1]80",
            "[localhost]:80",
            "[]:80",
            "http://localhost:80",
            "127.0.0.1:80/",
            "local host:80",
            " :80",
            "unix:",
            "unix://",
            "unix:a\0b",
            "unix:@",
            "unix:@a\0b",
            "unix://@a",
            "fd://",
            "fd://x",
            "fd://-1",
            "fd://+3",
        ] {
            let error = BindAddress::parse(text).unwrap_err();
            assert!(
                error.to_string().contains(&format!("'{text}'")),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn an_empty_port_is_not_a_port() {
        assert!(BindAddress::parse("localhost:").is_err());
        assert!(BindAddress::parse("[::1]:").is_err());
    }

    #[test]
    fn a_path_that_starts_with_two_slashes_survives_display() {
        let address = BindAddress::Unix("//run/x".into());
        assert_eq!(BindAddress::parse(&address.to_string()).unwrap(), address);
    }

    #[test]
    fn a_path_that_begins_like_an_abstract_name_is_shown_as_a_path() {
        let address = BindAddress::Unix("@x".into());
        assert_eq!(address.to_string(), "unix:./@x");
    }
}
