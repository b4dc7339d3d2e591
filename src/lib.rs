//! Gunicorn's pre-fork system as layers that compose: an arbiter that supervises worker processes, workers
//! that no slow client can hold, HTTP/1.1 over mio, and a WSGI adapter with embedded CPython.
//!
//! ```text
//!    Server, cli                                       composition
//!       │
//!   ┌───┴───────┬───────────────┬────────────────┐
//!   Arbiter     SyncWorker      wsgi::App         log, config
//!   │           │               │
//!   │           reactor         │                  one mio Poll: connections, deadlines
//!   ▼           │    │          │
//!   (processes) ▼    ▼          │
//!              net  Service ◀───┘                  what a server calls
//!                    │
//!                    h1                            bytes in, events out
//! ```
//!
//! Each layer can be used without those above it.
//!
//! # Quick start
//!
//! ```no_run
//! use oxicorn::{Request, Responder, Result, Responded, Server};
//!
//! fn hello(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
//!     reply.text(200, format!("{} from {}\n", request.path(), std::process::id()))
//! }
//!
//! fn main() -> Result<()> {
//!     Server::bind("127.0.0.1:8000")?.workers(4).serve(hello)
//! }
//! ```
//!
//! With Python in it, `hello` is `oxicorn::wsgi::App::new("shop.wsgi:application")`.
//!
//! # What it does to your process
//!
//! Nothing before [`Server::serve`] or [`Arbiter::run`] is called. Those fork, so they refuse a process that
//! has threads already; they install signal handlers and restore the former ones; they return, with `Ok`
//! when the server was told to stop. A forked worker never returns into your frames. No logger, panic hook
//! or allocator is installed, and nothing calls `exit` in your process.
//!
//! [`Server::in_process`] forks nothing and takes no signals: it serves in threads of your process, for programs
//! that have threads already, and for tests.
//!
//! # Features
//!
//! ## `wsgi` (default)
//!
//! [`wsgi`]: serves WSGI applications with embedded CPython. Without it nothing of Python is
//! linked. A program that uses it needs two lines in its `build.rs`: see `docs/PYTHON.md`.
//!
//! ## `tracing` (default)
//!
//! Events go out through `tracing` under the target `oxicorn`; `log::ErrorLog` is a subscriber in Gunicorn's
//! error log format, for a `main` that wants it. Without the feature, and where no subscriber is set, errors and
//! warnings go to the standard error.
//!
//! ## `cli` (default)
//!
//! [`cli`]: Gunicorn's command line, made from the table in [`config`].
//!
//! ## `systemd` (default)
//!
//! [`ServerBuilder::systemd`]: readiness, reloads, the end and a sign of life for `Type=notify` units.
//!
//! # Stability
//!
//! Before 1.0 a minor version may break what it must; the changelog says what. Enums and structures that are
//! expected to grow are `#[non_exhaustive]`.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod access;
pub mod arbiter;
mod atomic_enum;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
mod error;
mod fork_outcome;
pub mod h1;
mod hooks;
mod ipc;
pub mod log;
pub mod net;
#[cfg(feature = "systemd")]
mod notify;
#[cfg(feature = "wsgi")]
mod python;
pub mod reactor;
mod server;
mod service;
mod sys;
pub mod testing;
mod time;
mod trace;
mod worker;
#[cfg(feature = "wsgi")]
pub mod wsgi;

pub use arbiter::{Arbiter, ArbiterEvent};
pub use error::{Error, Result};
pub use fork_outcome::ForkOutcome;
pub use hooks::{Hooks, RequestOutcome, ServerInfo, WorkerInfo};
pub use ipc::scoreboard::{Call, OwnSlot, Scoreboard, Slot, WorkerState};
pub use server::{Server, ServerBuilder};
pub use service::{
    Address, Body, BodyWriter, ConnectionInfo, Exchange, MakeService, NoRuntime, OwnedBody,
    PerWorker, Proxied, Releaser, Request, RequestInfo, Responded, Responder, Scheme, Service,
    ServiceContext, ServiceRuntime, Stacks, per_worker, service_fn,
};
pub use sys::daemon::daemonize;
pub use sys::user::Credentials;
pub use time::MonoTime;
pub use worker::{
    Running, RunningHandle, RunningStatus, Shutdown, ShutdownHandle, SyncWorker, ThreadedWorker,
    Worker, WorkerContext, WorkerTemplate,
};

/// The README's examples, as tests.
#[cfg(all(doctest, feature = "wsgi"))]
#[doc = include_str!("../README.md")]
struct Readme;
