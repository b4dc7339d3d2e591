//! Gunicorn's pre-fork system as a library: an arbiter that supervises worker processes, workers that a slow client
//! cannot block, HTTP/1.1 over mio, and a WSGI adapter with embedded CPython.
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
//! Each layer can be used without those above it. The types that most programs need are at the crate's root. The others
//! are in the module of their layer.
//!
//! # Quick start
//!
//! ```no_run
//! use oxicorn::{Request, Responded, Responder, Result, Server};
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
//! For a WSGI application give [`serve`](Server::serve) an `oxicorn::wsgi::App::new("shop.wsgi:application")` in place of
//! `hello`.
//!
//! The [`guide`] goes on from here: embedding Python, deploying, signals, threads and forks, upgrading.
//!
//! # Effects on your process
//!
//! The crate changes nothing in your process before [`Server::serve`] or [`Arbiter::run`] is called. These functions
//! fork, so they refuse a process that has threads already. They install signal handlers, and restore the former ones
//! before they return. They return `Ok` when the server was stopped. A forked worker never returns into your frames. The
//! crate installs no logger, panic hook or allocator unless you call the function for it, and never calls `exit` in your
//! process.
//!
//! [`Server::in_process`] does not fork and handles no signals. It serves in threads of your process: for programs that
//! have threads already, and for tests.
//!
//! # Features
//!
//! ## `wsgi` (default)
//!
//! The module [`wsgi`] serves WSGI applications with embedded CPython. Without this feature no part of Python is linked.
//! A program that uses it needs one line in its `build.rs`: see [`guide::embedding_python`].
//!
//! ## `tracing` (default)
//!
//! Events go to `tracing`, under the target `oxicorn`. [`log::ErrorLog`] is a subscriber that writes them in the format
//! of Gunicorn's error log. Without this feature, or without a subscriber, errors and warnings go to the standard error.
//!
//! ## `cli` (default)
//!
//! The module [`cli`] has Gunicorn's command line, made from the table of settings in [`config`].
//!
//! ## `systemd` (default)
//!
//! [`ServerBuilder::systemd`] reports readiness, reloads, the end and a sign of life to systemd, for units of
//! `Type=notify`.
//!
//! ## `http`, `tower`
//!
//! The module `interop` has requests and responses as those of the crate `http`, and mounts a service, such as a WSGI
//! application, within axum.
//!
//! ## `toml`
//!
//! [`config::SettingsSource::toml_file`] reads settings from TOML, and a program's own tables in it through serde.
//!
//! ## `tls`, `tls-aws-lc`
//!
//! TLS by rustls, with the cryptography of ring or of AWS-LC, which is used where both are on: the settings `certfile` and `keyfile` turn it on. Without
//! such a feature they are refused.
//!
//! ## `manual`
//!
//! A [`cli::Command`] has `--completions SHELL` and `--man`, which print completions for a shell and a manual page.
//!
//! ## `profile`
//!
//! `ctl profile SECONDS --svg FILE` draws what the workers of a running server spend their time on as a flame graph.
//!
//! ## `json`
//!
//! [`Request::json`] reads JSON, and [`Responder::json`] answers with it; [`testing::Client`] does both.
//!
//! # Stability
//!
//! Before 1.0 a minor version may change the interface. The changelog lists each change. Enums and structures that may
//! grow are `#[non_exhaustive]`.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod access;
pub mod arbiter;
mod atomic_enum;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
mod control;
mod error;
mod fork_outcome;
#[cfg(all(any(doc, doctest), feature = "wsgi"))]
pub mod guide;
#[cfg(feature = "wsgi")]
pub mod gunicorn;
pub mod h1;
pub mod hooks;
#[cfg(feature = "http")]
pub mod interop;
mod ipc;
mod json;
pub mod log;
mod metrics;
pub mod net;
#[cfg(feature = "systemd")]
mod notify;
#[cfg(feature = "wsgi")]
mod python;
pub mod reactor;
mod secret;
mod server;
pub mod service;
mod sys;
pub mod testing;
pub mod time;
mod trace;
mod watch;
pub mod worker;
#[cfg(feature = "wsgi")]
pub mod wsgi;

pub use arbiter::Arbiter;
pub use error::{Error, Result};
pub use hooks::Hooks;
pub use server::{Server, ServerBuilder, exit};
pub use service::{Body, MakeService, Request, Responded, Responder, Service};
pub use worker::{InProcessServer, SyncWorker, ThreadedWorker, Worker, WorkerContext};

/// A process and its fork: its user, its outcome, its way into the background.
pub mod process {
    pub use crate::fork_outcome::ForkOutcome;
    pub use crate::sys::daemon::daemonize;
    pub use crate::sys::user::Credentials;
}
