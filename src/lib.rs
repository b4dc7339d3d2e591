//! Gunicorn's pre-fork system as layers that compose.

pub mod arbiter;
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
pub mod reactor;
mod recorder;
mod server;
mod service;
mod sys;
mod trace;
mod worker;
#[cfg(feature = "wsgi")]
pub mod wsgi;

pub use arbiter::{Arbiter, Phase};
pub use clock::Tick;
pub use error::{Error, Result};
pub use forked::Forked;
pub use recorder::Recorder;
pub use server::{Builder, Server};
pub use service::{
    Address, Body, BodyWriter, Connection, Exchange, Free, MakeService, OwnedBody, PerWorker,
    Request, Responder, Sent, Service, Site, Turn, per_worker, service_fn,
};
pub use sys::scoreboard::{Scoreboard, Slot, WorkerState};
pub use worker::{Shutdown, SyncWorker, Worker, WorkerContext};
