//! [`EnvironCache`]: the Python strings that a thread keeps from one request to the next.

use std::net::SocketAddr;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::super::names::{HeaderKind, HeaderNames};
use super::prototype::{Origin, Prototype};
use crate::h1::Head;
use crate::service::{Address, trace_parent};

/// The number of peers that a thread keeps.
const PEERS: usize = 64;

/// Strings of header fields and of peers.
#[derive(Debug, Default)]
pub(in crate::wsgi) struct EnvironCache {
    names: HeaderNames,
    /// By port.
    peers: Vec<Option<Peer>>,
    prototype: Prototype,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    host: Py<PyString>,
    port: Py<PyString>,
}

impl EnvironCache {
    /// A copy of the environ that is kept for this origin, if there is one.
    pub(super) fn copy<'py>(
        &mut self,
        py: Python<'py>,
        origin: &Origin<'_>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some((environ, is_other_peer)) = self.prototype.copy(py, origin)? else {
            return Ok(None);
        };
        if is_other_peer {
            self.set_address(&environ, origin.peer)?;
        }
        Ok(Some(environ))
    }

    /// Keeps an environ for further requests of this origin, if it was the last one's, too.
    pub(super) fn note(
        &mut self,
        origin: &Origin<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        self.prototype.note(origin, environ)
    }

    /// How many references it has to each object of a call.
    pub(in crate::wsgi) fn references(&self) -> isize {
        isize::from(self.prototype.is_kept())
    }

    /// Forgets the objects of calls.
    pub(in crate::wsgi) fn forget(&mut self) {
        self.prototype.forget();
    }

    /// Sets `REMOTE_ADDR` and `REMOTE_PORT`, where the peer has them.
    pub(super) fn set_peer(&mut self, environ: &Bound<'_, PyDict>, peer: &Address) -> PyResult<()> {
        match peer.ip() {
            Some(address) => self.set_address(environ, address),
            None => Ok(()),
        }
    }

    fn set_address(&mut self, environ: &Bound<'_, PyDict>, address: SocketAddr) -> PyResult<()> {
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
        let mut traced = None;
        for (name, value) in head.fields() {
            let Some(header) = self.names.get(py, name, value)? else {
                continue;
            };
            if header.kind == HeaderKind::TransferEncoding && collected {
                continue;
            }
            if header.kind == HeaderKind::Trace
                && !*traced.get_or_insert_with(|| trace_parent::of(head).is_some())
            {
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
