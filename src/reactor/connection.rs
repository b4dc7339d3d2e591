//! One connection's life in the reactor.
//!
//! It never calls a service and never waits: each step does what the socket allows now.
//!
//! ```text
//!                ┌──────────────── next request ───────────────────────┬─────────┐
//!                ▼                                                     │         │
//!   ProxyPreamble ──▶ Head ──▶ Body ──▶ Ready ──▶ (lent to a service) ──▶ Flush ──▶ Drain
//!      │         │        │                                            │         │
//!      └─────────┴────────┴── refused ──▶ Flush ───────────────────────┴─────────┴▶ Linger ──▶ closed
//! ```
//!
//! A preamble is waited for only where PROXY headers are looked for, and there is something to drain only of a
//! streamed body. The deadline of each phase is in `docs/ARCHITECTURE.md`.
//!
//! *Invariants*: a connection that waits has a deadline; one without a request in it holds no buffer.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::Config;
use super::call_timeout::{CallDeadline, CallOutcome, CallTimeout, CallTimeoutGuard};
use super::deadlines::min_rate_deadline;
use super::episode::Episodes;
use super::error_response::ErrorResponse;
use super::exchange::{ConnectionExchange, HttpIo, ReadOutcome, Stage, UNWANTED, given_up};
use super::forwarded::{self, Forwarded, ForwardedError};
use super::host::Host;
use super::outbox::Flushed;
use super::pool::{BufferPool, LARGE};
use super::proxy_preamble::{Preamble, ProxyPreamble};
use super::request_body::{RequestBody, Room, Unkept};
use super::streamed::{Fault, Streamed};
use super::total::{Share, Totals};
use crate::access::Access;
use crate::error::{Error, Kind, Result};
use crate::h1::{self, BodyLength, Event, Head};
use crate::net::proxy::Header;
use crate::net::{ProxyProtocol, Stream};
use crate::service::{self, Address, Body, Proxied, Request, Responded, Responder, Scheme};
use crate::time::MonoTime;
use crate::trace;

/// Reads that one connection may do in a turn before the others have theirs.
const READS_A_TURN: usize = 16;
/// Connections that are read on after their last answer, however much comes. Of more than these 64 KiB are read each.
const LINGERING: u64 = 64;
/// Bytes of memory for heads that are not complete, of those that are large: past it the next one is a 503.
const HALF_HEADS: u64 = 16 * 1024 * 1024;

/// A connection, on the heap: it moves between the reactor and whoever answers its request.
#[derive(Debug)]
pub(super) struct Connection {
    io: RefCell<HttpIo>,
    info: Arc<service::ConnectionInfo>,
    preamble: Option<Box<ProxyPreamble>>,
    phase: Phase,
    head: Option<Head>,
    body: RequestBody,
    started: MonoTime,
    /// Bytes thrown away since the last answer.
    unwanted: usize,
    /// Whether a request has been answered on it.
    served: bool,
    /// Whether a forwarder's word counts for the current request.
    heard: bool,
    /// Whether the client may still be sending what nobody wants.
    refused: bool,
    /// Its part of the memory for heads that are not complete.
    half_head: Option<Share>,
    /// Its place among those that are read on after their last answer.
    lingering: Option<Share>,
    /// Whether the poll knows the socket, and whether it tells of room to write.
    pub(super) interest: Registration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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

/// What the poll was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    None,
    Read,
    ReadWrite,
}

/// What a connection needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An event of its socket, before the deadline; `write` when it is room to write.
    Wait { until: MonoTime, write: bool },
    /// The same deadline as before.
    Same,
    /// Another turn: it has had its share of this one.
    Again,
    /// To be answered.
    Ready,
    /// To be dropped.
    Close,
}

/// What a step works with.
pub(super) struct StepContext<'t> {
    pub(super) now: MonoTime,
    pub(super) config: &'t Config,
    pub(super) host: &'t dyn Host,
    pub(super) pool: &'t mut BufferPool,
    pub(super) totals: &'t Totals,
    pub(super) episodes: &'t mut Episodes,
    /// Since when the reactor takes its leave: no connection is kept.
    pub(super) draining: bool,
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        mut info: service::ConnectionInfo,
        config: &Config,
        totals: &Totals,
        now: MonoTime,
    ) -> Self {
        let peer = info.direct.ip().map(|address| address.ip());
        info.trusted = config.forwarded_allow_ips.contains(peer);
        let mut http = config.http.clone();
        if !info.trusted {
            http.leniency.forwarder_headers = h1::Names::default();
        }
        let preamble = (config.proxy_protocol != ProxyProtocol::Off).then(|| {
            let trusted = config.proxy_allow_ips.contains(peer);
            Box::new(ProxyPreamble::new(config.proxy_protocol, trusted))
        });
        Self {
            io: RefCell::new(HttpIo::new(stream, http, totals)),
            info: Arc::new(info),
            phase: if preamble.is_some() {
                Phase::Preamble
            } else {
                Phase::Head
            },
            preamble,
            head: None,
            body: RequestBody::default(),
            started: now,
            unwanted: 0,
            served: false,
            heard: false,
            refused: false,
            half_head: None,
            lingering: None,
            interest: Registration::None,
        }
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.io.get_mut().stream
    }

    /// The socket has something to tell.
    pub(super) fn readable(&mut self, hung_up: bool) {
        let io = self.io.get_mut();
        io.readable = true;
        io.hung_up |= hung_up;
    }

    /// Whether nothing of a request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Head && self.io.borrow().http.is_idle()
    }

    /// How rank it is, if another may have its place: one that has had its last answer goes first, then one that is
    /// kept idle, one whose head is not complete, and one whose client is slow; the oldest of each first.
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

    /// Whether its body comes so slowly that another may have its place.
    fn is_slow(&self, now: MonoTime, config: &Config) -> bool {
        let gathered = self.io.borrow().http.buffered();
        self.body.is_slow(self.started, gathered, now, config)
    }

    /// How rank an answer is that lies in a file, its call being over: that of a slow client goes first, and the
    /// oldest of each kind.
    pub(super) fn spool_eviction_rank(
        &self,
        now: MonoTime,
        config: &Config,
    ) -> Option<(bool, MonoTime)> {
        let io = self.io.borrow();
        let is_left = self.phase == Phase::Flush && io.spooled() > 0;
        is_left.then(|| (!io.is_slow(now, config), self.started))
    }

    /// Whether it is the client's turn to send a request, or the rest of one.
    pub(super) fn awaits_request(&self) -> bool {
        matches!(self.phase, Phase::Preamble | Phase::Head | Phase::Body)
    }

    /// Whether it has had its last answer, and its client is waited for.
    pub(super) fn lingers(&self) -> bool {
        self.phase == Phase::Linger
    }

    /// Does what can be done now.
    pub(super) fn advance(&mut self, cx: &mut StepContext<'_>) -> Step {
        if self.is_idle() {
            cx.pool.equip(self.io.get_mut());
        }
        let step = match self.phase {
            Phase::Preamble => self.receive_preface(cx),
            // It is in the queue already.
            Phase::Ready => Step::Same,
            Phase::Head | Phase::Body | Phase::DiscardBody => {
                let fresh = self.is_idle();
                self.receive(fresh, cx)
            }
            Phase::Flush => self.flush(cx),
            Phase::Linger => self.linger(cx),
        };
        if self.is_idle() {
            cx.pool.take_back(self.io.get_mut());
        }
        step
    }

    /// The deadline has come.
    pub(super) fn expire(&mut self, cx: &mut StepContext<'_>) -> Step {
        match self.phase {
            Phase::Preamble if self.preamble.as_ref().is_none_or(|seen| seen.is_empty()) => {
                Step::Close
            }
            Phase::Head if self.is_idle() => Step::Close,
            Phase::Preamble | Phase::Head => {
                self.refuse(408, "The request's head did not arrive in time", cx)
            }
            Phase::Body => self.refuse(408, "The request's body did not arrive in time", cx),
            Phase::Ready => Step::Same,
            Phase::Flush => self.await_room(cx),
            Phase::DiscardBody | Phase::Linger => Step::Close,
        }
    }

    /// Reads until it is known what the connection begins with, and goes on to the first request.
    fn receive_preface(&mut self, cx: &mut StepContext<'_>) -> Step {
        while let Some(preamble) = &mut self.preamble {
            let io = self.io.get_mut();
            let mut block = cx.pool.scratch();
            let read = if io.readable {
                io.read(&mut block)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
            let received = preamble.receive(&block);
            cx.pool.reuse(Some(block));
            let said = match read {
                Ok(0) => {
                    io.http.end_of_input();
                    let rest = preamble.end();
                    Some(Preamble { header: None, rest })
                }
                Ok(_) => match received {
                    Ok(said) => said,
                    Err(refused) => {
                        return self.refuse(refused.status(), &refused.to_string(), cx);
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if self.interest == Registration::None {
                        self.wait(true, cx)
                    } else {
                        Step::Same
                    };
                }
                Err(error) => return self.lost(&error),
            };
            if let Some(Preamble { header, rest }) = said {
                io.http.receive(&rest);
                self.announce(header);
                self.preamble = None;
            }
        }
        self.phase = Phase::Head;
        self.receive(true, cx)
    }

    /// Takes a balancer's word for who speaks, for as long as the connection lasts.
    fn announce(&mut self, header: Option<Header>) {
        let Some(header) = header else { return };
        let info = Arc::make_mut(&mut self.info);
        let (source, destination) = match header {
            Header::Local | Header::Unknown => (None, None),
            Header::Tcp {
                source,
                destination,
            } => (Some(source), Some(destination)),
        };
        info.proxied = Some(Proxied {
            protocol: header.protocol(),
            source,
            destination,
        });
        self.unhear();
    }

    /// Takes a trusted peer's word for the client of this request.
    fn hear(&mut self, head: &Head, config: &Config) -> Result<(), ForwardedError> {
        let trusted = &config.forwarded_allow_ips;
        // A balancer that cannot tell whom it speaks for does not look into the stream either.
        let unknown = Header::Unknown.protocol();
        let announced = self.info.proxied.map(|proxied| proxied.protocol);
        let hop = match &self.info.peer {
            _ if announced == Some(unknown) => false,
            Address::Ip(address) => trusted.contains(Some(address.ip())),
            Address::Unix(_) => trusted.contains(None),
            Address::Hidden => false,
        };
        let Forwarded { scheme, client } = forwarded::hear(head, hop, config)?;
        if client.is_some() || scheme != self.info.scheme {
            let info = Arc::make_mut(&mut self.info);
            info.scheme = scheme;
            info.peer = client.unwrap_or_else(|| info.peer.clone());
            self.heard = true;
        }
        Ok(())
    }

    /// Forgets what was said of one request's client: the next one's may be another.
    fn unhear(&mut self) {
        let info = Arc::make_mut(&mut self.info);
        let announced = info.proxied.and_then(|proxied| proxied.source);
        info.peer = announced.map_or(info.direct.clone(), Address::Ip);
        info.scheme = Scheme::default();
        self.heard = false;
    }

    /// Reads and parses until a request is complete or the socket is empty. `fresh` tells that no deadline
    /// runs for what may have come of a head.
    fn receive(&mut self, mut fresh: bool, cx: &mut StepContext<'_>) -> Step {
        let mut reads = 0;
        loop {
            let io = self.io.get_mut();
            let event = match io.http.next_event() {
                Ok(event) => event,
                // It has been answered: there is no second answer to it.
                Err(_) if self.phase == Phase::DiscardBody => return self.shut(cx),
                Err(error) => return self.refuse(error.status(), &error.to_string(), cx),
            };
            match event {
                Event::NeedMore => {
                    if !io.readable {
                        return self.pause(fresh, cx);
                    }
                    if reads == READS_A_TURN {
                        return Step::Again;
                    }
                    reads += 1;
                    match io.fill(cx.pool) {
                        Ok(ReadOutcome::Some | ReadOutcome::End) => {}
                        Ok(ReadOutcome::Blocked) => return self.pause(fresh, cx),
                        Err(error) => return self.lost(&error),
                    }
                }
                Event::Request(head) => {
                    if let Some(step) = self.head_complete(head, cx) {
                        return step;
                    }
                    fresh = true;
                }
                Event::ExpectContinue => {
                    if let Err(error) = io.send_continue(cx.config) {
                        return self.lost(&error);
                    }
                }
                Event::Data(bytes) if self.phase == Phase::Body => {
                    let room = Room::new(cx.config, &cx.totals.files);
                    if let Err(unkept) = self.body.push(bytes, room, cx.pool) {
                        return self.refuse_body(&unkept, cx);
                    }
                }
                Event::Data(bytes) => {
                    self.unwanted += bytes.len();
                    cx.pool.reclaim(bytes);
                    if self.unwanted > UNWANTED {
                        return self.shut(cx);
                    }
                }
                Event::EndOfBody if self.phase == Phase::Body => return self.ready(),
                Event::EndOfBody => {
                    self.phase = Phase::Head;
                    fresh = true;
                }
                Event::Closed(reason) => {
                    trace::debug!("{}: connection closed: {reason}", self.info.peer);
                    return Step::Close;
                }
            }
        }
    }

    /// A head has come: decides whether its body is collected. `None` to go on.
    fn head_complete(&mut self, head: Head, cx: &mut StepContext<'_>) -> Option<Step> {
        self.started = cx.now;
        self.unwanted = 0;
        self.half_head = None;
        let length = head.length();
        let outcome = if self.info.trusted {
            self.hear(&head, cx.config)
        } else {
            Ok(())
        };
        self.head = Some(head);
        if let Err(unheard) = outcome {
            return Some(self.refuse(400, &unheard.to_string(), cx));
        }
        if cx.config.keepalive.is_zero() || cx.draining {
            self.io.get_mut().http.close_after();
        }
        let room = Room::new(cx.config, &cx.totals.files);
        match length {
            BodyLength::Known(len) if !room.allows(len) => {
                return Some(self.refuse_body(&Unkept::TooLarge, cx));
            }
            BodyLength::Empty => return Some(self.ready()),
            _ if cx.config.stream_request_body => return Some(self.ready()),
            BodyLength::Known(len) if !room.could_fit(len) => {
                return Some(self.refuse_body(&Unkept::TooLarge, cx));
            }
            // What cannot be kept now is not asked for: others may need the room that is left.
            BodyLength::Known(len) if !room.fits(len) => {
                return Some(self.refuse_body(&Unkept::NoRoom, cx));
            }
            BodyLength::Known(len) if room.is_in_memory(len) => {
                self.io.get_mut().http.gather();
                self.phase = Phase::Body;
            }
            _ => self.phase = Phase::Body,
        }
        None
    }

    fn ready(&mut self) -> Step {
        self.phase = Phase::Ready;
        Step::Ready
    }

    /// Nothing more can be read for now. A head that is not complete may take memory while all of them have little.
    fn pause(&mut self, fresh: bool, cx: &mut StepContext<'_>) -> Step {
        let memory = self.io.borrow().http.memory();
        if self.phase == Phase::Head && memory > LARGE {
            let share = self
                .half_head
                .get_or_insert_with(|| cx.totals.heads.share());
            if !share.reach(memory as u64, HALF_HEADS) {
                let text = "The server has too many requests at this moment that are not complete";
                return self.respond_with_error(503, text, cx);
            }
        }
        self.wait(fresh, cx)
    }

    /// Which deadline counts?
    fn wait(&mut self, fresh: bool, cx: &StepContext<'_>) -> Step {
        let (config, now) = (cx.config, cx.now);
        let until = match self.phase {
            Phase::Head if !self.is_idle() && !fresh => return Step::Same,
            Phase::DiscardBody if !fresh => return Step::Same,
            Phase::DiscardBody => now + config.linger,
            _ if cx.draining => now + config.drain_idle,
            Phase::Body => {
                let gathered = self.io.borrow().http.buffered();
                self.body.due(self.started, gathered, now, config)
            }
            _ if !self.is_idle() => now + config.head_timeout,
            _ if self.served => now + config.keepalive,
            _ => now + config.head_timeout,
        };
        Step::Wait {
            until,
            write: false,
        }
    }

    /// The client has gone, or as good as.
    fn lost(&mut self, error: &io::Error) -> Step {
        trace::debug!("{}: connection lost: {error}", self.info.peer);
        Step::Close
    }

    /// Refuses a body; what is not the client's fault is told to the operator, once while it lasts.
    fn refuse_body(&mut self, unkept: &Unkept, cx: &mut StepContext<'_>) -> Step {
        let dir = cx.config.tmp_upload_dir.display();
        let text = match unkept {
            Unkept::TooLarge => {
                let text = "The request's body is larger than this server allows";
                return self.refuse(413, text, cx);
            }
            Unkept::NoRoom => {
                if cx.episodes.no_room.begins(cx.now) {
                    let total = cx.config.spool_total.unwrap_or(u64::MAX);
                    trace::error!(
                        "a request body is refused: the files in {dir} would exceed spool_total, {total} bytes"
                    );
                }
                "The server has too many large requests at this moment"
            }
            Unkept::Unwritable(error) => {
                if cx.episodes.unwritable.begins(cx.now) {
                    trace::error!("cannot keep a request body in {dir}: {error}");
                }
                "The request's body cannot be stored at this moment"
            }
        };
        self.respond_with_error(503, text, cx)
    }

    /// Refuses what the client has sent.
    fn refuse(&mut self, status: u16, text: &str, cx: &mut StepContext<'_>) -> Step {
        trace::warning!("Invalid request from ip={}: {text}", self.info.peer);
        self.respond_with_error(status, text, cx)
    }

    /// Answers with an error page of the server's own, and ends the connection.
    fn respond_with_error(&mut self, status: u16, text: &str, cx: &mut StepContext<'_>) -> Step {
        let refusal = ErrorResponse {
            status,
            text,
            head: self.head.as_ref(),
            connection: Some(&self.info),
        };
        let io = self.io.get_mut();
        io.http.abort();
        io.refuse(&refusal, cx.config);
        self.refused = true;
        self.half_head = None;
        self.body = RequestBody::default();
        self.record(cx.now, cx.host);
        self.head = None;
        self.flush(cx)
    }

    /// Tells the host of a complete answer.
    fn record(&mut self, now: MonoTime, host: &dyn Host) {
        let response = self.io.get_mut().response;
        host.finished(&Access {
            pid: 0,
            worker: 0,
            connection: &self.info,
            head: self.head.as_ref(),
            status: response.status,
            sent: response.sent,
            started: self.started,
            finished: now,
        });
    }

    /// Sends what is pending, then goes on to what comes after the response.
    fn flush(&mut self, cx: &mut StepContext<'_>) -> Step {
        self.phase = Phase::Flush;
        match self.io.get_mut().flush(cx.config) {
            Ok(Flushed::Empty) => self.after_response(cx),
            Ok(Flushed::Blocked) => self.await_room(cx),
            Ok(Flushed::Share) => Step::Again,
            Err(error) => self.lost(&error),
        }
    }

    /// Waits for a client that takes what is pending, if it is not too slow.
    fn await_room(&mut self, cx: &mut StepContext<'_>) -> Step {
        let until = self.io.get_mut().due(cx.now, cx.config);
        if until <= cx.now {
            trace::debug!("{} does not take its response: closing", self.info.peer);
            return Step::Close;
        }
        Step::Wait { until, write: true }
    }

    /// The response has left: next request, or the end.
    fn after_response(&mut self, cx: &mut StepContext<'_>) -> Step {
        let io = self.io.get_mut();
        io.response = super::exchange::Response::default();
        if self.heard {
            self.unhear();
        }
        let io = self.io.get_mut();
        let left = io.http.unread() != BodyLength::Empty;
        if io.http.will_close() {
            // Bytes that nobody reads would make the kernel reset the connection under the response.
            let unread = self.refused || left || io.readable || io.http.buffered() > 0;
            return if unread { self.shut(cx) } else { Step::Close };
        }
        self.phase = if left {
            Phase::DiscardBody
        } else {
            Phase::Head
        };
        self.receive(true, cx)
    }

    /// Shuts the write side down and waits for the client to close.
    fn shut(&mut self, cx: &mut StepContext<'_>) -> Step {
        self.phase = Phase::Linger;
        self.unwanted = 0;
        self.started = cx.now;
        let mut place = cx.totals.lingering.share();
        self.lingering = place.reach(1, LINGERING).then_some(place);
        if self.io.get_mut().stream.shutdown_write().is_err() {
            return Step::Close;
        }
        self.linger(cx)
    }

    /// Reads what nobody wants, and throws it away.
    fn linger(&mut self, cx: &mut StepContext<'_>) -> Step {
        let io = self.io.get_mut();
        let mut reads = 0;
        while io.readable {
            if reads == READS_A_TURN {
                return Step::Again;
            }
            reads += 1;
            let mut block = cx.pool.scratch();
            let read = io.read(&mut block);
            cx.pool.reuse(Some(block));
            match read {
                Ok(0) => return Step::Close,
                Ok(taken) => self.unwanted += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Step::Close,
            }
            if self.lingering.is_none() && self.unwanted > UNWANTED {
                return Step::Close;
            }
        }
        let until = self.lingers_until(cx);
        if until <= cx.now {
            return Step::Close;
        }
        Step::Wait {
            until,
            write: false,
        }
    }

    /// When the client has to have sent more, or closed.
    fn lingers_until(&self, cx: &StepContext<'_>) -> MonoTime {
        let config = cx.config;
        let (silence, limit) = if cx.draining {
            (config.drain_idle, config.linger)
        } else {
            (config.linger, config.linger_limit)
        };
        let until = (cx.now + silence).min(self.started + limit);
        let (bytes, rate, grace) = (self.unwanted as u64, config.body_rate, config.body_grace);
        min_rate_deadline(self.started, bytes, rate, grace).map_or(until, |paid| until.min(paid))
    }

    /// Has `call` answer the request that is ready, and sees that exactly one answer comes of it.
    ///
    /// # Errors
    ///
    /// The service's own, after it was dealt with: where nothing had been started a 500, or what is wrong with
    /// the request's body; a cut otherwise.
    pub(super) fn answer(
        &mut self,
        config: &Config,
        host: &dyn Host,
        call: impl FnOnce(Request<'_>, Responder<'_>) -> Result<Responded>,
    ) -> Result<()> {
        let Some(head) = &self.head else {
            return Err(Error::of(Kind::Service, "there is no request to answer"));
        };
        let exchange = ConnectionExchange {
            io: &self.io,
            config,
            host,
        };
        let streamed = config.stream_request_body && head.length() != BodyLength::Empty;
        let body = if streamed {
            self.io.borrow_mut().streamed = Streamed::default();
            Ok(Body::stream(&exchange))
        } else {
            self.body.take()
        };
        let outcome = body.and_then(|body| {
            call(
                Request::new(head, &self.info, body),
                Responder::new(&exchange),
            )
            .map(|_: Responded| ())
        });
        // Nobody reads it any more: its place is another's.
        self.body.forget();
        let io = self.io.get_mut();
        let verdict = io.settle();
        if let CallOutcome::Refused { recorded: true, .. } = verdict {
            host.returned(host.now());
            return outcome.and(Err(given_up()));
        }
        if verdict != CallOutcome::InTime {
            self.record(host.now(), host);
            return outcome.and(Err(given_up()));
        }
        let outcome = match io.response.stage {
            Stage::Complete => outcome,
            _ => outcome.and(Err(Error::of(
                Kind::Response,
                "the service gave another exchange's receipt",
            ))),
        };
        io.response.complain(head);
        let fault = io.streamed.take_fault();
        if let Some(Fault { text, .. }) = &fault {
            trace::warning!("Invalid request from ip={}: {text}", self.info.peer);
        }
        if io.response.stage != Stage::Complete {
            // What a body was is the client's fault, and all else the service's.
            let (status, text) = fault
                .as_ref()
                .map_or((500, ""), |fault| (fault.status, &fault.text));
            io.http.abort();
            if io.response.stage == Stage::Waiting || io.retract() {
                let refusal = ErrorResponse {
                    status,
                    text,
                    head: self.head.as_ref(),
                    connection: Some(&self.info),
                };
                io.refuse(&refusal, config);
            } else {
                io.response.stage = Stage::Broken;
            }
        }
        self.record(host.now(), host);
        outcome
    }

    /// Goes on after the answer.
    pub(super) fn answered(&mut self, cx: &mut StepContext<'_>) -> Step {
        self.served = true;
        let io = self.io.get_mut();
        io.timeout = None;
        cx.pool.reclaim(std::mem::take(&mut self.body).memory());
        if let Some(head) = self.head.take() {
            cx.pool.reuse(io.http.recycle(head));
        }
        if io.response.stage == Stage::Broken {
            // What is in the outbox was produced before the failure; the missing end tells the client.
            return match io.flush(cx.config) {
                Ok(_) => self.shut(cx),
                Err(error) => self.lost(&error),
            };
        }
        let step = self.flush(cx);
        if self.is_idle() {
            cx.pool.take_back(self.io.get_mut());
        }
        step
    }

    /// A call begins that is to have answered by `due`.
    pub(super) fn arm(&mut self, timeout: Arc<CallTimeout>, due: MonoTime) -> CallDeadline {
        let bodyless = self.head().is_some_and(|head| head.method() == "HEAD");
        let io = self.io.get_mut();
        let armed = CallTimeoutGuard::new(Arc::clone(&timeout), io.stream.as_fd(), due, bodyless);
        io.timeout = Some(armed);
        CallDeadline {
            timeout,
            info: Arc::clone(&self.info),
            head: self.head.clone(),
            started: self.started,
        }
    }

    /// The head of the request that is being answered.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(super) fn info(&self) -> &service::ConnectionInfo {
        &self.info
    }
}
