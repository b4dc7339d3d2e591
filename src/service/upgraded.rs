//! [`Upgraded`]: a connection that has left HTTP.

use std::os::fd::OwnedFd;

use bytes::Bytes;

/// A connection that a call has taken over from its server, to go on in another protocol (RFC 9110 §7.8). Made by
/// [`Responder::take_over`](super::Responder::take_over).
///
/// Its end is its owner's affair: it closes with `socket`, which may outlive the call.
#[derive(Debug)]
#[non_exhaustive]
pub struct Upgraded {
    /// The socket, which blocks, and is closed on `exec`.
    pub socket: OwnedFd,
    /// The bytes that had come before it was taken over: they precede what is read from the socket.
    pub received: Bytes,
}

impl Upgraded {
    /// For an [`Exchange`](super::Exchange) of your own.
    #[must_use]
    pub fn new(socket: OwnedFd, received: Bytes) -> Self {
        Self { socket, received }
    }
}
