//! Starts real servers and talks to them over real sockets.
//!
//! One binary, a module a topic; each test starts the servers that it needs.
#![cfg(all(feature = "wsgi", feature = "cli"))]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod disconnects;
mod django;
mod environ;
mod failures;
mod flask;
mod hello;
mod keepalive;
mod lifecycle;
mod listeners;
mod logs;
mod protocol;
mod responses;
mod slow_clients;
mod supervision;
mod venv;
