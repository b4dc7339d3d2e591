//! A network without a system, for the reactor.
#![allow(dead_code)]

mod dice;
mod network;

pub(super) use network::{Backlog, Readiness, Socket};
