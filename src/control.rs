//! What stands beside an arbiter's workers: the status listener in [`http`], which tells, and the control socket, at
//! which an operator's program asks an arbiter and commands it.
//!
//! The control socket is an attachment of the arbiter: it has no process and no thread, and is answered between two turns of
//! supervision. Its protocol is Gunicorn's (`gunicornc`), with commands of this crate beside those of Gunicorn:
//! `docs/CONTROL.md`.
//!
//! ```text
//!   client ── frame ──▶ Connection ── words ──▶ commands ──▶ Handle, Record
//!          ◀─ frame ───            ◀─ Reply: now, or later ─┘
//! ```
//!
//! *Invariants*: nothing that a client does or leaves undone blocks the arbiter; what it costs in memory has a bound;
//! nothing secret is shown.

mod commands;
mod connection;
mod gunicorn;
pub(crate) mod http;
mod profile;
mod protocol;
mod record;
mod redact;
mod reply;
mod socket;
mod status;

#[cfg(feature = "cli")]
pub(crate) use protocol::{LONGEST_RESPONSE, PREFIX, frame, length};
pub(crate) use record::Control;
pub(crate) use socket::open;
