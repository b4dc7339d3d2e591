//! Starts real servers and talks to them over real sockets.
//!
//! One binary, a module a topic; each test starts the servers that it needs.
#![cfg(all(feature = "wsgi", feature = "cli"))]

#[path = "../support/mod.rs"]
mod support;

mod django;
mod flask;
mod hello;
