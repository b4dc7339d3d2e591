//! Starts real servers and talks to them over real sockets.
//!
//! One binary; each test starts the servers that it needs, and leaves nothing behind.

#[path = "../support/mod.rs"]
mod support;

mod pure_rust;
#[cfg(all(feature = "cli", feature = "toml"))]
mod shopd;
#[cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]
mod wsgi;
