//! Starts real servers and talks to them over real sockets.
//!
//! One binary; each test starts the servers that it needs, and leaves nothing behind.
#![cfg_attr(
    not(all(feature = "wsgi", feature = "cli", feature = "tracing")),
    expect(
        dead_code,
        unused_imports,
        reason = "most of the support is for the tests of `serve`"
    )
)]

#[path = "../support/mod.rs"]
mod support;

mod pure_rust;
#[cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]
mod wsgi;
