//! Gunicorn's pre-fork system as layers that compose.

#[cfg(feature = "cli")]
pub mod cli;
mod clock;
pub mod config;
mod error;
mod forked;
pub mod h1;
pub mod log;
pub mod net;
pub mod observe;
mod service;
mod sys;
mod trace;
mod worker;

pub use clock::Tick;
pub use error::{Error, Result};
pub use forked::Forked;
pub use service::{
    Address, Body, BodyWriter, Connection, Exchange, Free, MakeService, PerWorker, Request,
    Responder, Sent, Service, Site, Turn, per_worker, service_fn,
};
pub use sys::scoreboard::{Scoreboard, Slot, WorkerState};
pub use worker::{Shutdown, Worker, WorkerContext};
