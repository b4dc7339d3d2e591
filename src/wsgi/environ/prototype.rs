//! [`Prototype`]: the environ of the requests that have the same header fields. Those of one client often have.
//!
//! It is kept once two requests, one behind the other, have had the same fields; and beside it, once they have had the same
//! target, too, the environ with that. A copy costs a fraction of what setting each key costs.
//!
//! *Invariants*: of a single request each has the peer alone, which a copy replaces; it belongs to one template, and so to
//! one application and one listener.

use std::net::SocketAddr;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{BodyInfo, Template};
use crate::h1::BodyLength;
use crate::service::Request;

/// The longest field section that is kept, in bytes.
const LONGEST: usize = 4096;

/// What an environ is made from, besides the method and the version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'r> {
    template: &'r Py<PyDict>,
    /// The field section as it came.
    fields: &'r [u8],
    /// The request's target, if routers have taken nothing off its path.
    target: Option<&'r [u8]>,
    /// Whether the fields may tell of the path.
    trusted: bool,
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
            target: request
                .mount_bytes()
                .is_empty()
                .then_some(head.target_bytes()),
            trusted: connection.trusted,
            peer,
        })
    }
}

/// An environ that is copied, and the peer that is in it.
type Kept = (Py<PyDict>, SocketAddr);

/// The origin of the last request; its environ if the one before had the same fields, and that with the target if it had
/// the same target.
#[derive(Debug, Default)]
pub(super) struct Prototype {
    template: Option<Py<PyDict>>,
    fields: Vec<u8>,
    environ: Option<Kept>,
    target: Vec<u8>,
    trusted: bool,
    with_target: Option<Kept>,
}

/// A copy of what was kept.
#[derive(Debug)]
pub(super) struct Copied<'py> {
    pub(super) environ: Bound<'py, PyDict>,
    /// The peer that is in it.
    pub(super) peer: SocketAddr,
    /// Whether the keys of the target are set.
    pub(super) has_target: bool,
}

impl Prototype {
    /// A copy of the environ; `None` where the origin is another.
    pub(super) fn copy<'py>(
        &self,
        py: Python<'py>,
        origin: &Origin<'_>,
    ) -> PyResult<Option<Copied<'py>>> {
        let Some(environ) = self.environ.as_ref().filter(|_| self.has_fields(origin)) else {
            return Ok(None);
        };
        let with_target = self.with_target.as_ref();
        let with_target = with_target.filter(|_| self.has_target(origin));
        let (environ, peer) = with_target.unwrap_or(environ);
        Ok(Some(Copied {
            environ: environ.bind(py).copy()?,
            peer: *peer,
            has_target: with_target.is_some(),
        }))
    }

    /// Notes the origin of an environ without the keys of the target, and keeps a copy of the environ where the last one
    /// had the same fields.
    pub(super) fn note(
        &mut self,
        origin: &Origin<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        if self.has_fields(origin) {
            self.environ = Some((environ.copy()?.unbind(), origin.peer));
            return Ok(());
        }
        self.forget();
        self.template = Some(origin.template.clone_ref(environ.py()));
        self.fields.clear();
        self.fields.extend_from_slice(origin.fields);
        Ok(())
    }

    /// Notes the target of an environ that has its keys, and keeps a copy of the environ where the last one had the same
    /// fields and the same target.
    pub(super) fn note_target(
        &mut self,
        origin: &Origin<'_>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        if self.has_target(origin) && self.environ.is_some() {
            self.with_target = Some((environ.copy()?.unbind(), origin.peer));
            return Ok(());
        }
        self.with_target = None;
        self.target.clear();
        self.target
            .extend_from_slice(origin.target.unwrap_or_default());
        self.trusted = origin.trusted;
        Ok(())
    }

    /// How many environs it has.
    pub(super) fn kept(&self) -> isize {
        isize::from(self.environ.is_some()) + isize::from(self.with_target.is_some())
    }

    /// Forgets the environs.
    pub(super) fn forget(&mut self) {
        self.environ = None;
        self.with_target = None;
    }

    fn has_fields(&self, origin: &Origin<'_>) -> bool {
        let template = self.template.as_ref();
        template.is_some_and(|template| template.is(origin.template))
            && self.fields == origin.fields
    }

    fn has_target(&self, origin: &Origin<'_>) -> bool {
        origin.target == Some(&self.target) && self.trusted == origin.trusted
    }
}
