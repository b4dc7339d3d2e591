//! [`EnvironCache`]: the Python strings that a thread keeps from one request to the next.

use std::net::SocketAddr;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::super::names::{HeaderKind, HeaderNames};
use crate::h1::Head;
use crate::service::Address;

/// The number of peers that a thread keeps.
const PEERS: usize = 64;

/// Strings of header fields and of peers.
#[derive(Debug, Default)]
pub(in crate::wsgi) struct EnvironCache {
    names: HeaderNames,
    /// By port.
    peers: Vec<Option<Peer>>,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    host: Py<PyString>,
    port: Py<PyString>,
}

impl EnvironCache {
    /// Sets `REMOTE_ADDR` and `REMOTE_PORT`, where the peer has them.
    pub(super) fn set_peer(&mut self, environ: &Bound<'_, PyDict>, peer: &Address) -> PyResult<()> {
        let Some(address) = peer.ip() else {
            return Ok(());
        };
        let py = environ.py();
        if self.peers.is_empty() {
            self.peers.resize_with(PEERS, || None);
        }
        let place = &mut self.peers[usize::from(address.port()) % PEERS];
        let peer = match place {
            Some(peer) if peer.address == address => peer,
            _ => place.insert(Peer {
                address,
                host: PyString::new(py, &address.ip().to_string()).unbind(),
                port: PyString::new(py, &address.port().to_string()).unbind(),
            }),
        };
        environ.set_item(intern!(py, "REMOTE_ADDR"), &peer.host)?;
        if address.port() == 0 {
            return Ok(());
        }
        environ.set_item(intern!(py, "REMOTE_PORT"), &peer.port)
    }

    /// Sets the header fields. The codings of a `collected` body are left out, since those that framed it are undone.
    pub(super) fn set_fields(
        &mut self,
        environ: &Bound<'_, PyDict>,
        head: &Head,
        collected: bool,
    ) -> PyResult<()> {
        let py = environ.py();
        self.names.begin_request();
        for (name, value) in head.fields() {
            let Some(header) = self.names.get(py, name, value)? else {
                continue;
            };
            if header.kind == HeaderKind::TransferEncoding && collected {
                continue;
            }
            let repeated = match header.repeated {
                Some(repeated) => repeated,
                None => environ.contains(&header.key)?,
            };
            if repeated && header.kind != HeaderKind::ContentType {
                append(environ, &header.key, header.kind, header.value)?;
            } else {
                environ.set_item(header.key, header.value)?;
            }
        }
        Ok(())
    }
}

/// Joins the value of a repeated header to the one before it.
#[cold]
fn append<'py>(
    environ: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
    kind: HeaderKind,
    value: Bound<'py, PyString>,
) -> PyResult<()> {
    let Some(before) = environ.get_item(key)? else {
        return environ.set_item(key, value);
    };
    let separator = if kind == HeaderKind::Cookie {
        "; "
    } else {
        ","
    };
    environ.set_item(key, before.add(separator)?.add(value)?)
}
