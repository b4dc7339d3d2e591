//! A connection's input: the preamble, heads, and bodies that are collected or thrown away.

use std::io;
use std::sync::Arc;

use super::{Connection, Phase, READS_A_TURN, Step, StepContext};
use crate::access::RequestTimes;
use crate::config::RequestIdMode;
use crate::h1::{BodyLength, Head};
use crate::net::proxy::Header;
use crate::reactor::Config;
use crate::reactor::forwarded::{self, ForwardedError};
use crate::reactor::http_io::{ReceiveError, Received, UNWANTED};
use crate::reactor::poller::Polled;
use crate::reactor::pool::LARGE;
use crate::reactor::proxy_preamble::Preamble;
use crate::reactor::request_body::Unkept;
use crate::service::{Address, ConnectionInfo, Proxied, RequestInfo, Scheme};
use crate::time::MonoTime;
use crate::trace;

/// Bytes of memory for heads that are not complete, of those that are large: past it the next one is a 503.
const HALF_HEADS: u64 = 16 * 1024 * 1024;

impl Connection {
    /// Reads until it is known what the connection begins with, and goes on to the first request.
    pub(in crate::reactor) fn receive_preamble(&mut self, cx: &mut StepContext<'_>) -> Step {
        while let Some(preamble) = &mut self.preamble {
            let io = self.io.get_mut();
            let mut block = cx.pool.scratch();
            let read = if io.transport.may_read() {
                io.transport.read(&mut block)
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
                    return if self.polled == Polled::Nothing {
                        self.wait(true, cx)
                    } else {
                        Step::Same
                    };
                }
                Err(error) => return self.fail(&error, cx),
            };
            if let Some(Preamble { header, rest }) = said {
                self.preamble = None;
                match self.begin_tls(&rest, cx.config) {
                    Ok(true) => {}
                    Ok(false) => self.io.get_mut().http.receive(&rest),
                    Err(error) => return self.fail(&error, cx),
                }
                if let Some(header) = header {
                    self.announce(header);
                }
            }
        }
        self.phase = Phase::Head;
        self.receive(true, cx)
    }

    /// Takes the client that a balancer announces, for as long as the connection lasts.
    fn announce(&mut self, header: Header) {
        let (source, destination) = match header {
            Header::Local | Header::Unknown => (None, None),
            Header::Tcp {
                source,
                destination,
            } => (Some(source), Some(destination)),
        };
        let mut info = ConnectionInfo::clone(&self.info);
        info.peer = source.map_or(info.direct.clone(), Address::Ip);
        info.proxied = Some(Proxied {
            protocol: header.protocol(),
            source,
            destination,
        });
        self.info = Arc::new(info);
    }

    /// Takes the facts of the connection's TLS, once for all its requests.
    #[cfg(feature = "_tls")]
    fn note_tls(&mut self) {
        if self.info.tls.is_none() {
            if let Some(tls) = self.io.get_mut().transport.tls_info() {
                Arc::make_mut(&mut self.info).tls = Some(Arc::new(tls));
            }
        }
    }

    /// A trusted peer's facts about this request.
    fn forwarded(&self, head: &Head, config: &Config) -> Result<RequestInfo, ForwardedError> {
        let scheme = match self.info.tls {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        };
        if !self.info.trusted {
            return Ok(RequestInfo::new(scheme, None));
        }
        let trusted = &config.settings.forwarded_allow_ips;
        // A balancer that does not know its client does not look into the stream either.
        let unknown = Header::Unknown.protocol();
        let announced = self.info.proxied.map(|proxied| proxied.protocol);
        let hop = || match &self.info.peer {
            _ if announced == Some(unknown) => false,
            Address::Ip(address) => trusted.contains(Some(address.ip())),
            Address::Unix(_) => trusted.contains(None),
            Address::Hidden => false,
        };
        forwarded::request_info(head, hop, scheme, config)
    }

    /// Reads and parses until a request is complete or the socket is empty. `fresh` tells that no deadline
    /// runs for what may have come of a head.
    pub(in crate::reactor) fn receive(
        &mut self,
        mut fresh: bool,
        cx: &mut StepContext<'_>,
    ) -> Step {
        let mut reads = READS_A_TURN;
        loop {
            let io = self.io.get_mut();
            let received = match io.receive(cx.pool, &mut reads, cx.config) {
                Ok(received) => received,
                // It has been answered: there is no second answer to it.
                Err(ReceiveError::Malformed(_)) if self.phase == Phase::DiscardBody => {
                    return self.shut(cx);
                }
                Err(ReceiveError::Malformed(error)) => {
                    return self.refuse(error.status(), &error.to_string(), cx);
                }
                Err(ReceiveError::Lost(error)) => return self.fail(&error, cx),
            };
            match received {
                Received::Blocked => return self.pause(fresh, cx),
                Received::Exhausted => {
                    self.untimed = fresh;
                    return Step::Again;
                }
                Received::Head(head) => {
                    if let Some(step) = self.head_complete(head, cx) {
                        return step;
                    }
                    fresh = true;
                }
                Received::Data(bytes) if self.phase == Phase::Body => {
                    let room = cx.room();
                    if let Err(unkept) = self.body.push(bytes, room, cx.pool) {
                        return self.refuse_body(&unkept, cx);
                    }
                }
                Received::Data(bytes) => {
                    self.unwanted += bytes.len();
                    cx.pool.reclaim(bytes);
                    if self.unwanted > UNWANTED {
                        return self.shut(cx);
                    }
                }
                Received::EndOfBody if self.phase == Phase::Body => return self.ready(cx.now),
                Received::EndOfBody => {
                    self.phase = Phase::Head;
                    self.started = cx.now;
                    fresh = true;
                }
                Received::Closed(reason) => {
                    trace::debug!("{}: connection closed: {reason}", self.client());
                    self.transport().say_end();
                    return Step::Close;
                }
            }
        }
    }

    /// A head has come: decides whether its body is collected. `None` to go on.
    fn head_complete(&mut self, head: Head, cx: &mut StepContext<'_>) -> Option<Step> {
        self.started = cx.now;
        self.times = RequestTimes::default();
        self.unwanted = 0;
        self.half_head = None;
        #[cfg(feature = "_tls")]
        self.note_tls();
        let length = head.length();
        let outcome = self.forwarded(&head, cx.config);
        self.head = Some(head);
        let outcome = outcome.map(|request| self.request = request);
        self.identify(cx);
        if let Err(error) = outcome {
            return Some(self.refuse(400, &error.to_string(), cx));
        }
        if cx.config.settings.keepalive.is_zero() || cx.draining {
            self.io.get_mut().http.close_after();
        }
        let room = cx.room();
        match length {
            BodyLength::Known(len) if !room.allows(len) => {
                return Some(self.refuse_body(&Unkept::TooLarge, cx));
            }
            BodyLength::Empty => return Some(self.ready(cx.now)),
            _ if cx.config.settings.stream_request_body => return Some(self.ready(cx.now)),
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

    /// Gives the request an id, where that is wanted, and its span, where a subscriber wants that.
    pub(in crate::reactor) fn identify(&mut self, cx: &mut StepContext<'_>) {
        if cx.config.settings.request_id != RequestIdMode::Off && self.request.id.is_none() {
            self.request.id = Some(cx.ids.of(self.head.as_ref(), self.info.trusted));
        }
        if let Some(head) = &self.head {
            self.span.begin(head, &self.info, &self.request);
        }
    }

    fn ready(&mut self, now: MonoTime) -> Step {
        self.span.queue();
        self.times.complete = Some(now);
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

    /// The deadline of the phase, unless the one before goes on.
    fn wait(&mut self, fresh: bool, cx: &StepContext<'_>) -> Step {
        let (config, now) = (cx.config, cx.now);
        // A handshake's next part, for which there was no room.
        let write = !self.io.get_mut().transport.flush();
        let until = match self.phase {
            Phase::Head if !self.is_idle() && !fresh => return Step::Same,
            Phase::DiscardBody if !fresh => return Step::Same,
            Phase::DiscardBody => now + config.settings.linger,
            Phase::Body => {
                let gathered = self.io.borrow().http.buffered();
                self.body.due(self.started, gathered, now, config)
            }
            _ if !self.is_idle() => now + config.settings.head_timeout,
            _ if self.served => self.started + config.settings.keepalive,
            _ => self.started + config.settings.head_timeout,
        };
        let until = if cx.draining {
            until.min(now + config.drain_idle())
        } else {
            until
        };
        Step::Wait { until, write }
    }
}
