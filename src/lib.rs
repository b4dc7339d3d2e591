//! Gunicorn's pre-fork system as layers that compose.

mod clock;
pub mod config;
mod error;
pub mod h1;
pub mod net;
pub mod observe;
mod service;
mod trace;

pub use clock::Tick;
pub use error::{Error, Result};
pub use service::{
    Address, Body, BodyWriter, Connection, Exchange, Forked, Free, MakeService, PerWorker, Request,
    Responder, Sent, Service, Site, Turn, per_worker, service_fn,
};
