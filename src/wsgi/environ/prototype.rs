//! [`Prototype`]: the environ of the requests that have the same header fields. Those of one client often have.
//!
//! It is kept once two requests, one behind the other, have had the same fields. A copy of it costs a fraction of what
//! setting each key costs.
//!
//! *Invariants*: of a single request it has the peer alone, which a copy replaces; it belongs to one template, and so to
//! one application and one listener.

use std::net::SocketAddr;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{BodyInfo, Template};
use crate::h1::BodyLength;
use crate::service::Request;

/// The longest field section that is kept, in bytes.
const LONGEST: usize = 4096;

/// What an environ is made from, besides the request line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'r> {
    template: &'r Py<PyDict>,
    /// The field section as it came.
    fields: &'r [u8],
    pub(super) peer: SocketAddr,
}

impl<'r> Origin<'r> {
    /// The origin of a request's environ; `None` where the environ depends on more: a body, a forwarder, a field that the
    /// settings leave out, an authority in the target.
    pub(super) fn of(
        request: &'r Request<'_>,
        template: &'r Template,
        body: &BodyInfo<'_>,
    ) -> Option<Self> {
        let (head, connection) = (request.head(), request.connection());
        let fields = head.field_section();
        let is_plain = template.has_server
            && head.length() == BodyLength::Empty
            && body.input.is_none()
            && head.dropped() == 0
            && head.target_bytes().starts_with(b"/")
            && connection.proxied.is_none()
            && *request.client() == connection.direct
            && fields.len() <= LONGEST;
        let peer = connection.direct.ip().filter(|peer| peer.port() != 0)?;
        is_plain.then_some(Self {
            template: &template.dict,
            fields,
            peer,
        })
    }
}

/// The origin of the last request, and its environ if the one before had the same origin.
#[derive(Debug, Default)]
pub(super) struct Prototype {
    template: Option<Py<PyDict>>,
    fields: Vec<u8>,
    environ: Option<(Py<PyDict>, SocketAddr)>,
}

impl Prototype {
    /// A copy of the environ, and the peer that is in it; `None` where the origin is another.
    pub(super) fn copy<'py>(
        &self,
        py: Python<'py>,
        origin: &Origin<'_>,
    ) -> PyResult<Option<(Bound<'py, PyDict>, SocketAddr)>> {
        match &self.environ {
            Some((environ, peer)) if self.is_of(origin) => {
                Ok(Some((environ.bind(py).copy()?, *peer)))
            }
            _ => Ok(None),
        }
    }

    /// Notes the origin of an environ, and keeps a copy of the environ where the last one had the same origin.
    pub(super) fn note(
        &mut self,
        origin: &Origin<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        if self.is_of(origin) {
            self.environ = Some((environ.copy()?.unbind(), origin.peer));
            return Ok(());
        }
        self.environ = None;
        self.template = Some(origin.template.clone_ref(environ.py()));
        self.fields.clear();
        self.fields.extend_from_slice(origin.fields);
        Ok(())
    }

    /// Whether it has an environ.
    pub(super) fn is_kept(&self) -> bool {
        self.environ.is_some()
    }

    /// Forgets the environ.
    pub(super) fn forget(&mut self) {
        self.environ = None;
    }

    fn is_of(&self, origin: &Origin<'_>) -> bool {
        let template = self.template.as_ref();
        template.is_some_and(|template| template.is(origin.template))
            && self.fields == origin.fields
    }
}
