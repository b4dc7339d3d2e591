//! [`EnvironCache`]: the Python strings that a thread keeps from one request to the next.

use std::net::IpAddr;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::super::names::{HeaderKind, HeaderNames};
use super::prototype::{Copied, Origin, Prototype};
use crate::h1::Head;
use crate::service::{Address, trace_parent};

/// Strings of header fields and of peers.
#[derive(Debug, Default)]
pub(in crate::wsgi) struct EnvironCache {
    names: HeaderNames,
    hosts: PeerStrings<IpAddr>,
    ports: PeerStrings<u16>,
    prototype: Prototype,
}

/// The strings of the peers' hosts, or of their ports: each has one place, which the last one has that is to have it.
#[derive(Debug)]
struct PeerStrings<K>(Vec<Option<(K, Py<PyString>)>>);

impl<K> Default for PeerStrings<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + PartialEq + ToString> PeerStrings<K> {
    /// The number of strings that a thread keeps. More connections than this seldom take turns.
    const PLACES: usize = 256;

    /// The string of `key`, whose place `hash` tells.
    fn get(&mut self, py: Python<'_>, key: K, hash: u16) -> &Py<PyString> {
        if self.0.is_empty() {
            self.0.resize_with(Self::PLACES, || None);
        }
        let place = &mut self.0[usize::from(hash) % Self::PLACES];
        if !matches!(place, Some((kept, _)) if *kept == key) {
            *place = None;
        }
        let (_, text) =
            place.get_or_insert_with(|| (key, PyString::new(py, &key.to_string()).unbind()));
        text
    }
}

impl EnvironCache {
    /// A copy of the environ that is kept for this origin, if there is one, and whether the keys of the target are in it.
    pub(super) fn copy<'py>(
        &mut self,
        py: Python<'py>,
        origin: &Origin<'_>,
    ) -> PyResult<Option<(Bound<'py, PyDict>, bool)>> {
        let Some(copied) = self.prototype.copy(py, origin)? else {
            return Ok(None);
        };
        let Copied {
            environ,
            peer,
            has_target,
        } = copied;
        if peer.ip() != origin.peer.ip() {
            self.set_host(&environ, origin.peer.ip())?;
        }
        if peer.port() != origin.peer.port() {
            self.set_port(&environ, origin.peer.port())?;
        }
        Ok(Some((environ, has_target)))
    }

    /// Keeps an environ, which has no keys of a target yet, for further requests of this origin, if it was the last one's,
    /// too.
    pub(super) fn note(
        &mut self,
        origin: &Origin<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        self.prototype.note(origin, environ)
    }

    /// Keeps an environ with the keys of its target for further requests of this origin, if it was the last one's, too.
    pub(super) fn note_target(
        &mut self,
        origin: &Origin<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        self.prototype.note_target(origin, environ)
    }

    /// How many references it has to each object of a call.
    pub(in crate::wsgi) fn references(&self) -> isize {
        self.prototype.kept()
    }

    /// Forgets the objects of calls.
    pub(in crate::wsgi) fn forget(&mut self) {
        self.prototype.forget();
    }

    /// Sets `REMOTE_ADDR` and `REMOTE_PORT`, where the peer has them.
    pub(super) fn set_peer(&mut self, environ: &Bound<'_, PyDict>, peer: &Address) -> PyResult<()> {
        let Some(address) = peer.ip() else {
            return Ok(());
        };
        self.set_host(environ, address.ip())?;
        match address.port() {
            0 => Ok(()),
            port => self.set_port(environ, port),
        }
    }

    fn set_host(&mut self, environ: &Bound<'_, PyDict>, host: IpAddr) -> PyResult<()> {
        let py = environ.py();
        // The parts in which the addresses of one network differ.
        let hash = match host {
            IpAddr::V4(host) => u16::from(host.octets()[3]),
            IpAddr::V6(host) => host.segments()[3] ^ host.segments()[7],
        };
        environ.set_item(intern!(py, "REMOTE_ADDR"), self.hosts.get(py, host, hash))
    }

    fn set_port(&mut self, environ: &Bound<'_, PyDict>, port: u16) -> PyResult<()> {
        let py = environ.py();
        environ.set_item(intern!(py, "REMOTE_PORT"), self.ports.get(py, port, port))
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
