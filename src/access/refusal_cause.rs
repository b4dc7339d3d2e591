//! [`RefusalCause`]: why the server answered a request in its service's place.

use crate::atomic_enum::numbered;

/// Why the server answered a request in its service's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RefusalCause {
    /// The request is malformed, or of a kind that the server does not take: 400, 417, 501, 505.
    Malformed,
    /// The request did not arrive in time: 408.
    TooSlow,
    /// The request, or a part of it, is larger than the server allows: 413, 414, 431.
    TooLarge,
    /// There is no room for it now: 503.
    NoRoom,
    /// The service failed: 500, or a cut where the response had begun.
    ServiceFailed,
    /// The call passed `request_timeout`: 504, or a cut where the response had begun.
    CallTimeout,
}

numbered!(RefusalCause: Malformed, TooSlow, TooLarge, NoRoom, ServiceFailed, CallTimeout);

impl RefusalCause {
    /// The reason that belongs to a status of the server's own.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            408 => Self::TooSlow,
            413 | 414 | 431 => Self::TooLarge,
            500 => Self::ServiceFailed,
            503 => Self::NoRoom,
            504 => Self::CallTimeout,
            _ => Self::Malformed,
        }
    }
}
