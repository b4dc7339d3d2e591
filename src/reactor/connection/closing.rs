//! The steps after a response: it is sent, then comes the next request, or the connection's end.

use std::io;

use super::{Connection, Phase, READS_A_TURN, Step, StepContext};
use crate::h1::{BodyLength, ResponseState};
use crate::reactor::http_io::UNWANTED;
use crate::reactor::outbox::Flushed;
use crate::reactor::request_span::RequestSpan;
use crate::reactor::response::Response;
#[cfg(feature = "_tls")]
use crate::reactor::transport::PlainHttp;
use crate::service::RequestInfo;
use crate::time::MonoTime;
use crate::trace;

/// Connections that are read on after their last answer, however much comes. Of more than these 64 KiB are read each.
const LINGERING: u64 = 64;

impl Connection {
    /// Sends what is pending, then goes on to what comes after the response.
    pub(in crate::reactor) fn flush(&mut self, cx: &mut StepContext<'_>) -> Step {
        self.phase = Phase::Flush;
        match self.io.get_mut().flush(cx.config) {
            Ok(Flushed::Empty) => self.after_response(cx),
            Ok(Flushed::Blocked) => self.await_room(cx),
            Ok(Flushed::Share) => Step::Again,
            Err(error) => self.lost(&error),
        }
    }

    /// Waits for a client that takes what is pending, if it is not too slow.
    pub(in crate::reactor) fn await_room(&mut self, cx: &mut StepContext<'_>) -> Step {
        let until = self.io.get_mut().due(cx.now, cx.config);
        if until <= cx.now {
            trace::debug!("{} does not take its response: closing", self.client());
            return Step::Close;
        }
        Step::Wait { until, write: true }
    }

    /// The response has left: next request, or the end.
    pub(in crate::reactor) fn after_response(&mut self, cx: &mut StepContext<'_>) -> Step {
        let io = self.io.get_mut();
        io.response = Response::default();
        self.request = RequestInfo::default();
        self.span = RequestSpan::default();
        let left = io.http.unread() != BodyLength::Empty;
        if io.http.will_close() {
            // Unread bytes would make the kernel reset the connection under the response.
            let unread = self.refused || left || io.transport.may_read() || io.http.buffered() > 0;
            if unread {
                return self.shut(cx);
            }
            io.transport.say_end();
            return Step::Close;
        }
        self.started = cx.now;
        self.phase = if left {
            Phase::DiscardBody
        } else {
            Phase::Head
        };
        self.receive(true, cx)
    }

    /// Shuts the write side down and waits for the client to close.
    pub(in crate::reactor) fn shut(&mut self, cx: &mut StepContext<'_>) -> Step {
        self.phase = Phase::Linger;
        self.unwanted = 0;
        self.started = cx.now;
        let mut place = cx.totals.lingering.share();
        self.lingering = place.reach(1, LINGERING).then_some(place);
        let io = self.io.get_mut();
        // A response that was cut has no end.
        if io.http.response() != ResponseState::Aborted {
            io.transport.say_end();
        }
        if io.transport.stream.shutdown_write().is_err() {
            return Step::Close;
        }
        self.linger(cx)
    }

    /// Reads unwanted bytes, and throws them away.
    pub(in crate::reactor) fn linger(&mut self, cx: &mut StepContext<'_>) -> Step {
        let io = self.io.get_mut();
        let mut reads = 0;
        while io.transport.may_read() {
            if reads == READS_A_TURN {
                return Step::Again;
            }
            reads += 1;
            let mut block = cx.pool.scratch();
            let read = io.transport.read(&mut block);
            cx.pool.reuse(Some(block));
            match read {
                Ok(0) => return Step::Close,
                Ok(taken) => self.unwanted += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
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
            (
                config.settings.linger.min(config.drain_idle()),
                config.settings.linger,
            )
        } else {
            (config.settings.linger, config.settings.linger_limit)
        };
        let until = (cx.now + silence).min(self.started + limit);
        let rate = config.body_min_rate();
        rate.bound(until, self.started, self.unwanted as u64)
    }

    /// Nothing more can be read: refuses a client that speaks no TLS where the server does, and gives up any other.
    pub(in crate::reactor) fn fail(&mut self, error: &io::Error, cx: &mut StepContext<'_>) -> Step {
        #[cfg(feature = "_tls")]
        if PlainHttp::is_it(error) {
            self.transport().end_tls();
            return self.refuse(400, &error.to_string(), cx);
        }
        let _ = cx;
        self.lost(error)
    }

    /// The client has gone, or as good as.
    pub(in crate::reactor) fn lost(&mut self, error: &io::Error) -> Step {
        trace::debug!("{}: connection lost: {error}", self.client());
        Step::Close
    }
}
