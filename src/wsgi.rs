//! WSGI applications (PEP 3333) as services, called in the `CPython` that this process embeds.
//! It knows no socket, no worker and no process.
//!
//! ```text
//!   App ── load: spec, interpreter ──▶ Application
//!                                          │ call
//!      environ (template, names, input) ───┤
//!      start_response ── outline ──┐       ▼
//!      write ── scoped call ──▶ response ◀──┴── callable(environ, start_response)
//!                           ▲              │
//!                           └── body ◀─────┘ blocks, then close()
//! ```
//!
//! *Invariants*
//!
//! - A Python object reaches a running call only through `lend`, only until the call is over, and only where its
//!   frames are: on its own thread, in its own greenlet.
//! - No lock of ours is held while Python runs or an exchange works, and nothing takes the interpreter's
//!   lock for one of ours: builds without it are right too.
//! - What a client sends is never interned, and no memory of it grows without bound.
//! - The process's signal handlers stay in force, whatever Python is shown in their place.
//! - `close()` of a response is called exactly once, whatever happened.

mod app;
mod body;
mod early_hints;
mod environ;
mod error_stream;
mod file_wrapper;
mod input;
mod names;
mod response;
mod scoped_call;
mod start_response;
#[cfg(test)]
mod testing;

pub use app::{App, Application};
