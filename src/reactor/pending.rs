//! [`PendingRequest`]: a complete request on its way to a service and back.
//!
//! Its connection is not read for a next request meanwhile.

use std::fmt;
use std::sync::Arc;

use super::Config;
use super::connection::Connection;
use super::host::Host;
use crate::error::Result;
use crate::h1::Head;
use crate::service::{self, Request, Responded, Responder};

/// A complete request, lent by the reactor with its connection until it is given back.
pub struct PendingRequest {
    pub(super) key: usize,
    pub(super) connection: Box<Connection>,
    pub(super) config: Arc<Config>,
}

impl PendingRequest {
    /// Has `call` answer the request, and sees that exactly one answer comes of it: a 500 where an error
    /// came before the response was started, a cut connection where it came later.
    ///
    /// # Errors
    ///
    /// The error of `call`, for the log: the client has been dealt with.
    pub fn answer(
        &mut self,
        host: &dyn Host,
        call: impl FnOnce(Request<'_>, Responder<'_>) -> Result<Responded>,
    ) -> Result<()> {
        self.connection.answer(&self.config, host, call)
    }

    /// The request's head.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        self.connection.head()
    }

    /// What is known of the request beside its connection.
    #[must_use]
    pub fn info(&self) -> &service::RequestInfo {
        self.connection.request()
    }

    /// The request's connection.
    #[must_use]
    pub fn connection(&self) -> &service::ConnectionInfo {
        self.connection.info()
    }
}

impl fmt::Debug for PendingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingRequest")
            .field("key", &self.key)
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}
