//! One connection's life in the reactor.
//!
//! It never calls a service and never waits: each step does what the socket allows now.
//!
//! ```text
//!                ┌──────────────────── next request ───────────────────┬──────────────┐
//!                ▼                                                     │              │
//!   Preamble ──▶ Head ──▶ Body ──▶ Ready ──▶ (in flight) ──▶ Flush ────┴▶ DiscardBody ┘
//!      │          │        │                                   │              │
//!      └──────────┴────────┴── refused ──▶ Flush ──────────────┴──────────────┴▶ Linger ──▶ closed
//! ```
//!
//! A preamble is waited for only where PROXY headers are looked for, and there is a body to discard only where it
//! was streamed. The deadline of each phase is in `docs/ARCHITECTURE.md`.
//!
//! *Invariants*: a connection that waits has a deadline; one without a request in it holds no buffer.

mod answer;
mod closing;
mod receive;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use super::Config;
use super::episode::Episodes;
use super::host::Host;
use super::http_io::HttpIo;
use super::poller::Polled;
use super::pool::BufferPool;
use super::proxy_preamble::ProxyPreamble;
use super::request_body::{RequestBody, Room};
use super::total::{Share, Totals};
use super::transport::Transport;
use crate::access::RequestTimes;
use crate::h1::{self, Head};
use crate::net::ProxyProtocol;
use crate::reactor::request_ids::RequestIds;
use crate::reactor::request_span::RequestSpan;
use crate::service::{Address, ConnectionInfo, RequestInfo};
use crate::time::MonoTime;

/// Reads that one connection may do in a turn before the others have theirs.
const READS_A_TURN: usize = 16;

/// A connection, on the heap: it moves between the reactor and the call that answers its request.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) io: RefCell<HttpIo>,
    info: Arc<ConnectionInfo>,
    /// A forwarder's facts about the current request, and its id.
    request: RequestInfo,
    /// Of the current request.
    span: RequestSpan,
    preamble: Option<Box<ProxyPreamble>>,
    pub(super) phase: Phase,
    head: Option<Head>,
    body: RequestBody,
    started: MonoTime,
    /// Of the current request.
    times: RequestTimes,
    /// Bytes thrown away since the last answer.
    unwanted: usize,
    /// True if a request has been answered on it.
    served: bool,
    /// True if it has had its share of a poll before a deadline was set for what has come of a head.
    untimed: bool,
    /// True if a request was refused that the client may still be sending.
    refused: bool,
    /// Its part of the memory for heads that are not complete.
    half_head: Option<Share>,
    /// Its place among those that are read on after their last answer.
    lingering: Option<Share>,
    pub(super) polled: Polled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before it is known whether a PROXY header comes.
    Preamble,
    /// Waiting for a head, or within one.
    Head,
    /// Within a body that is collected.
    Body,
    /// A complete request waits to be answered.
    Ready,
    /// The response is complete; the outbox is not empty.
    Flush,
    /// All is sent, and what is left of the request's body is read and thrown away: it was answered without.
    DiscardBody,
    /// All is sent and the write side is shut: what still comes is thrown away until the client closes, so that the
    /// kernel does not reset the connection under the answer (RFC 9112 §9.6).
    Linger,
}

/// Which connection makes room for another, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EvictionRank {
    Answered,
    Idle,
    Headless,
    Slow,
}

/// The next need of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An event of its socket, before the deadline; `write` when it is room to write.
    Wait {
        until: MonoTime,
        write: bool,
    },
    /// The same deadline as before.
    Same,
    /// Another turn: it has had its share of this one.
    Again,
    Ready,
    Close,
}

pub(super) struct StepContext<'t> {
    pub(super) now: MonoTime,
    pub(super) config: &'t Config,
    pub(super) host: &'t dyn Host,
    pub(super) pool: &'t mut BufferPool,
    pub(super) totals: &'t Totals,
    pub(super) episodes: &'t mut Episodes,
    pub(super) ids: &'t mut RequestIds,
    /// True if the reactor drains: no connection is kept.
    pub(super) draining: bool,
}

impl<'t> StepContext<'t> {
    /// Returns the bounds for bodies that are kept.
    fn room(&self) -> Room<'t> {
        Room {
            config: self.config,
            files: &self.totals.files,
        }
    }
}

impl Connection {
    pub(super) fn new(
        transport: Transport,
        mut info: ConnectionInfo,
        config: &Config,
        http: &h1::ConnConfig,
        totals: &Totals,
        now: MonoTime,
    ) -> Self {
        let peer = info.direct.ip().map(|address| address.ip());
        info.trusted = config.settings.forwarded_allow_ips.contains(peer);
        let mut http = http.clone();
        if !info.trusted {
            http.leniency.forwarder_headers = h1::Names::default();
        }
        let preamble = (config.settings.proxy_protocol != ProxyProtocol::Off).then(|| {
            let trusted = config.settings.proxy_allow_ips.contains(peer);
            Box::new(ProxyPreamble::new(config.settings.proxy_protocol, trusted))
        });
        let mut connection = Self {
            io: RefCell::new(HttpIo::new(transport, http, totals)),
            info: Arc::new(info),
            request: RequestInfo::default(),
            span: RequestSpan::default(),
            phase: if preamble.is_some() {
                Phase::Preamble
            } else {
                Phase::Head
            },
            preamble,
            head: None,
            body: RequestBody::default(),
            started: now,
            times: RequestTimes::default(),
            unwanted: 0,
            served: false,
            untimed: false,
            refused: false,
            half_head: None,
            lingering: None,
            polled: Polled::Nothing,
        };
        if connection.preamble.is_none() {
            // A failure is that of its first read.
            let _ = connection.begin_tls(b"", config);
        }
        connection
    }

    /// Begins TLS, where the server speaks it, with bytes that were read before.
    #[cfg_attr(
        not(feature = "_tls"),
        expect(
            clippy::unnecessary_wraps,
            clippy::unused_self,
            reason = "there is no TLS to begin"
        )
    )]
    fn begin_tls(&mut self, first: &[u8], config: &Config) -> io::Result<bool> {
        #[cfg(feature = "_tls")]
        if let Some(tls) = &config.tls {
            let ragged = config.settings.suppress_ragged_eofs;
            self.transport().begin_tls(tls, ragged, first)?;
            return Ok(true);
        }
        let _ = (first, config);
        Ok(false)
    }

    pub(super) fn transport(&mut self) -> &mut Transport {
        &mut self.io.get_mut().transport
    }

    /// Tells whether nothing of a request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Head && self.io.borrow().http.is_idle()
    }

    /// Eviction rank once `worker_connections` is reached, the lowest first and the oldest of each; `None` where it
    /// may not be evicted.
    pub(super) fn eviction_rank(
        &self,
        now: MonoTime,
        config: &Config,
    ) -> Option<(EvictionRank, MonoTime)> {
        let rank = match self.phase {
            Phase::Linger => EvictionRank::Answered,
            Phase::Head if self.served && self.is_idle() => EvictionRank::Idle,
            Phase::Preamble | Phase::Head => EvictionRank::Headless,
            Phase::Body if self.is_slow(now, config) => EvictionRank::Slow,
            Phase::Flush if self.io.borrow().is_slow(now, config) => EvictionRank::Slow,
            Phase::Body | Phase::Ready | Phase::Flush | Phase::DiscardBody => return None,
        };
        Some((rank, self.started))
    }

    /// Tells whether its body comes so slowly that another may have its place.
    fn is_slow(&self, now: MonoTime, config: &Config) -> bool {
        let gathered = self.io.borrow().http.buffered();
        self.body.is_slow(self.started, gathered, now, config)
    }

    /// Eviction rank of a response in a file, whose call is over: that of a slow client goes first, and the oldest
    /// of each kind.
    pub(super) fn spool_eviction_rank(
        &self,
        now: MonoTime,
        config: &Config,
    ) -> Option<(bool, MonoTime)> {
        let io = self.io.borrow();
        let is_left = self.phase == Phase::Flush && io.outbox.spooled() > 0;
        is_left.then(|| (!io.is_slow(now, config), self.started))
    }

    /// Tells whether it is the client's turn to send a request, or the rest of one.
    pub(super) fn awaits_request(&self) -> bool {
        matches!(self.phase, Phase::Preamble | Phase::Head | Phase::Body)
    }

    /// Tells whether it has had its last answer, and its client is waited for.
    pub(super) fn lingers(&self) -> bool {
        self.phase == Phase::Linger
    }

    /// Does what can be done now.
    pub(super) fn advance(&mut self, cx: &mut StepContext<'_>) -> Step {
        if self.is_idle() {
            self.io.get_mut().borrow_memory(cx.pool);
        }
        let step = match self.phase {
            Phase::Preamble => self.receive_preamble(cx),
            // It is in the queue already.
            Phase::Ready => Step::Same,
            Phase::Head | Phase::Body | Phase::DiscardBody => {
                let fresh = std::mem::take(&mut self.untimed) || self.is_idle();
                self.receive(fresh, cx)
            }
            Phase::Flush => self.flush(cx),
            Phase::Linger => self.linger(cx),
        };
        if self.is_idle() {
            self.io.get_mut().return_memory(cx.pool);
        }
        step
    }

    pub(super) fn expire(&mut self, cx: &mut StepContext<'_>) -> Step {
        match self.phase {
            Phase::Preamble if self.preamble.as_ref().is_none_or(|it| it.seen.is_empty()) => {
                Step::Close
            }
            Phase::Head if self.is_idle() => {
                self.transport().say_end();
                Step::Close
            }
            Phase::Preamble | Phase::Head => {
                self.refuse(408, "The request's head did not arrive in time", cx)
            }
            Phase::Body => self.refuse(408, "The request's body did not arrive in time", cx),
            Phase::Ready => Step::Same,
            Phase::Flush => self.await_room(cx),
            Phase::DiscardBody | Phase::Linger => Step::Close,
        }
    }

    fn client(&self) -> &Address {
        self.request.client(&self.info)
    }

    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(super) fn request(&self) -> &RequestInfo {
        &self.request
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}
