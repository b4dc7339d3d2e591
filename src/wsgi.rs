//! WSGI applications (PEP 3333) as services, called in the `CPython` that this process embeds.
//! It knows no socket, no worker and no process.
//!
//! ```text
//!   App ── load: interpreter, import ──▶ Application
//!                                            │ call
//!        environ (template, names, input) ───┤
//!   start_response ── head ─────┐            ▼
//!   write ── scoped call ──▶ response ◀── callable(environ, start_response)
//!                               ▲            │
//!                               └── body ◀───┘ blocks, then close()
//! ```
//!
//! [`pyo3`] is re-exported in the version that this crate uses, for programs that prepare the interpreter themselves.
//!
//! *Invariants*
//!
//! - A Python object reaches a running call only through a `ScopedCall`, only until the call is over, and only from the
//!   call's own thread and greenlet.
//! - No lock of this module is held while Python runs or an exchange works, and nothing takes the interpreter's lock for
//!   one of them: builds of Python without that lock work as well.
//! - Nothing that a client sends is interned, and no cache of it grows without bound.
//! - The process's signal handlers stay in force, whatever Python is shown in their place.
//! - `close()` of a response is called exactly once, whatever happened.

mod app;
mod application;
mod body;
mod call_hooks;
mod early_hints;
mod environ;
mod error_stream;
mod failure;
mod file_wrapper;
mod imports;
mod input;
mod mount;
mod names;
mod recipe;
mod response;
mod response_head;
mod scoped_call;
mod socket;
mod source;
mod start_response;
#[cfg(test)]
mod testing;
mod thread_cache;

pub use app::App;
pub use application::Application;
pub(crate) use call_hooks::{CallHooks, SentResponse};
pub use pyo3;
