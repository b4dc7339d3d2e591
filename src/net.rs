//! Where connections come from: bind addresses, [`Listener`]s, [`Stream`]s and inherited descriptors.
//!
//! No HTTP here, no worker and no arbiter: a descriptor is opened, checked and handed on, and nothing is
//! read from it.
//!
//! ```text
//!   "127.0.0.1:80"                         ┌── LISTEN_FDS (systemd)
//!        │ parse                           ▼
//!        ▼             bind            Inherited ── or_bind
//!   BindAddress ──────────────▶ Listener ◀─────┘
//!                                  │ accept             several: Listeners
//!                                  ▼
//!                               Stream
//! ```
//!
//! Trusted peers are a list of [`Networks`]. A balancer's PROXY header is read by [`proxy`], a forwarder's fields by
//! [`forwarded`].
//!
//! *Invariants*
//!
//! - Every listener and every stream is non-blocking and closed on `exec`.
//! - A socket file is listened on from the moment that its mode is right, never before.
//! - Only files of ours are removed, and a socket without a listener where a new one is bound in its place.
//! - An inherited descriptor is taken once in the life of a process.

mod addr;
mod error;
pub mod forwarded;
mod handed_over;
pub(crate) mod handover;
mod inherit;
mod listener;
mod listeners;
mod networks;
pub mod proxy;
mod queue_policy;
mod reserved;
mod socket;
mod socket_file;
mod stream;
pub(crate) mod ticket_secret;
#[cfg(feature = "_tls")]
pub(crate) mod tls;

pub use addr::BindAddress;
pub use error::BindError;
pub use forwarded::{ClientAddress, ForwardedClient, MalformedForwarded};
pub use inherit::Inherited;
pub use listener::{DEFAULT_BACKLOG, Listener};
pub use listeners::Listeners;
pub use networks::{NetworkError, Networks};
pub use proxy::ProxyProtocol;
pub use queue_policy::QueuePolicy;
pub use socket_file::SocketAccess;
pub(crate) use socket_file::SocketFile;
pub(crate) use stream::RawSocket;
pub use stream::Stream;
