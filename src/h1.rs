//! HTTP/1.1 for servers without I/O: bytes in, [`Event`]s out; responses in, bytes out (RFC 9112).
//!
//! Two rules: everything that can change the protocol's state lives in `state.rs`; and nothing here knows
//! a socket, a clock or a thread.
//!
//! ```text
//!               receive, end_of_input                  begin ▶ field ▶ finish
//!   the client ───────────────────────▶ ┌──────────┐ ◀─────────────────────── the service
//!                                       │   Conn   │   frame, finish
//!   the caller ◀─────────────────────── └──────────┘ ───────────────────────▶ out
//!                     next_event
//!
//!   Request ─▶ ( ExpectContinue? ─▶ Data* ─▶ EndOfBody )? ─▶ the next Request, once the response
//!                                                            has ended, or Closed
//! ```
//!
//! A connection serves one request at a time. The events of the next one come when the current one's body
//! and its response have ended; until then what is [received](Conn::receive) waits, and the caller bounds
//! it.
//!
//! ```
//! use oxicorn::h1::{ConnConfig, Conn, Event};
//!
//! let mut conn = Conn::server(ConnConfig::default());
//! conn.receive(b"GET /hi?x=1 HTTP/1.1\r\nhost: a\r\n\r\n");
//! let Event::Request(head) = conn.next_event()? else { panic!("a head was there") };
//! assert_eq!(head.path(), "/hi");
//!
//! let mut out = bytes::BytesMut::new();
//! let mut response = conn.begin(&mut out, 200, b"")?;
//! response.field(b"content-type", b"text/plain")?;
//! response.finish(Some(3))?;
//! let frame = conn.frame(3)?;
//! out.extend_from_slice(&b"hi\n"[..frame.take]);
//! out.extend_from_slice(conn.finish()?);
//! assert_eq!(out, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 3\r\n\r\nhi\n");
//! assert!(conn.is_idle());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariants*: what is handed out does not depend on how the bytes were cut; a body that is malformed or
//! cut has no [`Event::EndOfBody`]; after an error there is no further request; memory is bounded by
//! [`Limits`] and by what one [`receive`](Conn::receive) brings.

mod body;
mod config;
mod conn;
mod encode;
mod error;
mod event;
mod frame;
mod framing;
mod head;
mod head_memory;
mod obs_fold;
mod parse;
mod request_line;
mod section_cache;
mod semantics;
mod state;
mod status;
mod syntax;
mod types;

pub use config::{ConnConfig, Leniency, Limits, Names, Underscores};
pub use conn::Conn;
pub use encode::HeadEncoder;
pub use error::{EncodeError, ParseError};
pub use event::{CloseReason, Event};
pub use frame::{Frame, Prefix};
pub use head::Head;
pub use head_memory::HeadMemory;
pub use state::ResponseState;
pub use status::{Page, error_page, reason_phrase};
pub use types::{BodyLength, Version};
