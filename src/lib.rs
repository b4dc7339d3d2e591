//! Gunicorn's pre-fork system as layers that compose.

mod clock;
mod error;
pub mod h1;
pub mod observe;
mod recorder;
mod service;
mod trace;
#[cfg(feature = "wsgi")]
pub mod wsgi;

pub use clock::Tick;
pub use error::{Error, Result};
pub use recorder::Recorder;
pub use service::{
    Address, Body, BodyWriter, Connection, Exchange, Forked, Free, MakeService, OwnedBody,
    PerWorker, Request, Responder, Sent, Service, Site, Turn, per_worker, service_fn,
};
