//! `SERVER_NAME` and `SERVER_PORT`.

use std::net::SocketAddr;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::h1::Head;
use crate::python::ffi;
use crate::service::{ConnectionInfo, RequestInfo, Scheme};

pub(super) fn set_address(environ: &Bound<'_, PyDict>, address: SocketAddr) -> PyResult<()> {
    set(environ, &host_of(address), &address.port().to_string())
}

/// A host as RFC 3875 §4.1.14 writes it: an IPv6 address in brackets.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn set(environ: &Bound<'_, PyDict>, name: &str, port: &str) -> PyResult<()> {
    let py = environ.py();
    let text = |text: &str| ffi::latin1(py, text.as_bytes());
    environ.set_item(intern!(py, "SERVER_NAME"), text(name)?)?;
    environ.set_item(intern!(py, "SERVER_PORT"), text(port)?)
}

/// Sets them for a connection whose listener's address is not in the template. A Unix socket has neither host nor port:
/// the request's `Host` stands in for them, then the socket's path.
pub(super) fn set_from_request(
    environ: &Bound<'_, PyDict>,
    head: &Head,
    connection: &ConnectionInfo,
    request: &RequestInfo,
) -> PyResult<()> {
    if let Some(ip) = connection.local.ip() {
        return set_address(environ, ip);
    }
    let host = head
        .get("host")
        .and_then(|host| std::str::from_utf8(host).ok());
    if let Some((name, port)) = host.filter(|host| !host.is_empty()).map(split_host) {
        let usual = match request.scheme {
            Scheme::Http => "80",
            Scheme::Https => "443",
        };
        return set(environ, name, port.unwrap_or(usual));
    }
    let path = connection.local.path().map(|path| path.to_string_lossy());
    set(environ, path.as_deref().unwrap_or_default(), "")
}

/// Splits `Host` into name and port: `[::1]:80` and `[::1]` have their last colon outside the brackets.
pub(super) fn split_host(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            (name, Some(port).filter(|port| !port.is_empty()))
        }
        _ => (host, None),
    }
}
