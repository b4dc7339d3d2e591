//! [`BindError`]: why a listening socket could not be had, in the user's words.
//!
//! Errors of an open connection are plain `io::Error`s and are not here.

use std::fmt;
use std::io;

use crate::error::{Error, Kind};

/// Why a listening socket could not be had. Every variant carries the address as it was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The text is not a bind address.
    #[error("invalid bind address '{text}': {reason}")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The host name has no address.
    #[error("cannot bind {address}: the host name cannot be resolved: {source}")]
    Resolve {
        /// The address as it was written.
        address: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// A server has it already.
    #[error("cannot bind {address}: the address is in use")]
    InUse {
        /// The address as it was written.
        address: String,
    },
    /// The path of a Unix socket is taken by something that is not a socket, which is left alone.
    #[error("cannot bind {address}: the path exists and is not a socket")]
    NotASocket {
        /// The address as it was written.
        address: String,
    },
    /// The system refused.
    #[error("cannot bind {address}: {action} failed: {source}")]
    System {
        /// The address as it was written.
        address: String,
        /// What was being done.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// An inherited descriptor cannot be listened on.
    #[error("cannot listen on inherited descriptor {address}: {reason}")]
    Inherited {
        /// The descriptor as `fd://N`.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The service manager's environment variables are not to be understood.
    #[error(
        "cannot take the inherited sockets: {variable}='{text}' is not a number of descriptors"
    )]
    Environment {
        /// The variable.
        variable: &'static str,
        /// Its value.
        text: String,
    },
}

/// Names the address and the call that failed.
pub(super) fn system(
    address: &impl fmt::Display,
    action: &'static str,
) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::System {
        address: address.to_string(),
        action,
        source,
    }
}

/// The same, where an address that a server has is worth another try.
pub(super) fn in_use_or_system(
    address: &impl fmt::Display,
    action: &'static str,
) -> impl FnOnce(io::Error) -> BindError {
    move |source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse {
            address: address.to_string(),
        },
        _ => system(address, action)(source),
    }
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        Error::of(Kind::Bind, error.to_string()).because(error)
    }
}
