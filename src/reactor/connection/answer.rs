//! A connection's responses: those of a service, and the server's own.

use std::sync::Arc;
use std::time::Duration;

use super::{Connection, Step, StepContext};
use crate::access::{Access, RefusalCause, RequestTimes};
use crate::error::{Error, Kind, Result};
use crate::h1::{BodyLength, ResponseState};
use crate::reactor::Config;
use crate::reactor::body_stream::{BodyStream, Fault};
use crate::reactor::call_timeout::{
    CallDeadline, CallOutcome, CallTimeout, CallTimeoutGuard, LateAnswer,
};
use crate::reactor::error_response::ErrorResponse;
use crate::reactor::exchange::ConnectionExchange;
use crate::reactor::host::Host;
use crate::reactor::request_body::{RequestBody, Unkept};
use crate::reactor::response::given_up;
use crate::service::{Body, Request, Responded, Responder};
use crate::time::MonoTime;
use crate::trace;

impl Connection {
    /// Has `call` answer the request that is ready, and sees that exactly one answer comes of it.
    ///
    /// # Errors
    ///
    /// The service's own, after it was dealt with: where nothing had been started a 500, a 400 for a
    /// [bad request](Error::bad_request), or what is wrong with the request's body; a cut otherwise.
    pub(in crate::reactor) fn answer(
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
            request: &self.request,
        };
        let streamed = config.settings.stream_request_body && head.length() != BodyLength::Empty;
        let body = if streamed {
            self.io.borrow_mut().body = BodyStream::default();
            Ok(Body::stream(&exchange))
        } else {
            self.body.take()
        };
        let outcome = body.and_then(|body| {
            let request = Request::new(head, &self.info, body).with_info(&self.request);
            self.span
                .within(|| call(request, Responder::new(&exchange)))
                .map(|_: Responded| ())
        });
        // It is not read any more: its place goes to another connection.
        self.body.forget();
        let io = self.io.get_mut();
        let verdict = io.settle();
        if let CallOutcome::Refused { recorded: true, .. } = verdict {
            self.span.end(io.response.status, io.response.sent);
            host.returned(host.now());
            return outcome.and(Err(given_up()));
        }
        if verdict != CallOutcome::InTime {
            self.record(host.now(), host, Some(RefusalCause::CallTimeout));
            return outcome.and(Err(given_up()));
        }
        let outcome = match io.http.response() {
            ResponseState::Complete => outcome,
            ResponseState::Upgraded => {
                host.returned(host.now());
                return outcome;
            }
            _ => outcome.and(Err(Error::of(
                Kind::Response,
                "the service gave another exchange's receipt",
            ))),
        };
        io.response.complain(head);
        let fault = io.body.fault.take();
        if let Some(Fault { text, .. }) = &fault {
            let client = self.request.client(&self.info);
            trace::warning!("Invalid request from ip={client}: {text}");
        }
        let mut refusal = None;
        if io.http.response() == ResponseState::Due || io.retract() {
            // What a body was is the client's fault, and what the service says is; all else is the service's.
            let bad = outcome
                .as_ref()
                .err()
                .filter(|error| error.is_bad_request());
            let (status, text) = match (&fault, bad) {
                (Some(fault), _) => (fault.status, fault.text.to_string()),
                (None, Some(error)) => (400, error.to_string()),
                (None, None) => (500, String::new()),
            };
            let error = ErrorResponse {
                status,
                text: &text,
                head: self.head.as_ref(),
                connection: Some(&self.info),
                request_id: self.request.id.as_deref(),
            };
            io.refuse(&error, config);
            refusal = Some(RefusalCause::of_status(status));
        } else if io.http.response() != ResponseState::Complete {
            io.http.abort();
            refusal = Some(RefusalCause::ServiceFailed);
        }
        self.record(host.now(), host, refusal);
        outcome
    }

    pub(in crate::reactor) fn answered(&mut self, cx: &mut StepContext<'_>) -> Step {
        self.served = true;
        let io = self.io.get_mut();
        io.timeout = None;
        cx.pool.reclaim(std::mem::take(&mut self.body).memory());
        if let Some(head) = self.head.take() {
            cx.pool.reuse(io.http.recycle(head));
        }
        if io.http.response() == ResponseState::Upgraded {
            return Step::Close;
        }
        if io.http.response() == ResponseState::Aborted {
            // What is in the outbox was produced before the failure; the missing end tells the client.
            return match io.flush(cx.config) {
                Ok(_) => self.shut(cx),
                Err(error) => self.lost(&error),
            };
        }
        let step = self.flush(cx);
        if self.is_idle() {
            self.io.get_mut().return_memory(cx.pool);
        }
        step
    }

    /// A call begins that is to have answered by `due`.
    pub(in crate::reactor) fn arm(
        &mut self,
        timeout: Arc<CallTimeout>,
        due: MonoTime,
    ) -> CallDeadline {
        let is_head = self
            .head()
            .is_some_and(|head| head.method_bytes() == b"HEAD");
        let io = self.io.get_mut();
        let late = match is_head {
            _ if io.transport.is_encrypted() => LateAnswer::Nothing,
            true => LateAnswer::Head,
            false => LateAnswer::Page,
        };
        let armed =
            CallTimeoutGuard::new(Arc::clone(&timeout), io.transport.stream.raw(), due, late);
        io.timeout = Some(armed);
        CallDeadline {
            timeout,
            info: Arc::clone(&self.info),
            request: self.request.clone(),
            head: self.head.clone(),
            received: io.http.received(),
            started: self.started,
            times: self.times,
        }
    }

    /// The call that answers its request begins.
    pub(in crate::reactor) fn called(&mut self, now: MonoTime) {
        self.times.called = Some(now);
        self.span.call();
    }

    /// How long its call has taken by `now`.
    pub(in crate::reactor) fn call_time(&self, now: MonoTime) -> Duration {
        self.times
            .called
            .map_or(Duration::ZERO, |called| now.since(called))
    }

    /// Refuses a body; a fault of the server is logged, once while it lasts.
    pub(in crate::reactor) fn refuse_body(
        &mut self,
        unkept: &Unkept,
        cx: &mut StepContext<'_>,
    ) -> Step {
        let dir = cx.config.tmp_upload_dir().display();
        let _id = trace::of_request(self.request.id.as_ref());
        let text = match unkept {
            Unkept::TooLarge => {
                let text = "The request's body is larger than this server allows";
                return self.refuse(413, text, cx);
            }
            Unkept::NoRoom => {
                if cx.episodes.no_room.begins(cx.now) {
                    let total = cx.config.spool_total();
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

    pub(in crate::reactor) fn refuse(
        &mut self,
        status: u16,
        text: &str,
        cx: &mut StepContext<'_>,
    ) -> Step {
        self.identify(cx);
        let id = trace::of_request(self.request.id.as_ref());
        trace::warning!("Invalid request from ip={}: {text}", self.client());
        drop(id);
        self.respond_with_error(status, text, cx)
    }

    /// Answers with an error page of the server's own, and ends the connection.
    pub(in crate::reactor) fn respond_with_error(
        &mut self,
        status: u16,
        text: &str,
        cx: &mut StepContext<'_>,
    ) -> Step {
        self.identify(cx);
        let error = ErrorResponse {
            status,
            text,
            head: self.head.as_ref(),
            connection: Some(&self.info),
            request_id: self.request.id.as_deref(),
        };
        self.io.get_mut().refuse(&error, cx.config);
        self.refused = true;
        self.half_head = None;
        self.body = RequestBody::default();
        self.record(cx.now, cx.host, Some(RefusalCause::of_status(status)));
        self.head = None;
        self.flush(cx)
    }

    /// Tells the host of a complete answer.
    fn record(&mut self, now: MonoTime, host: &dyn Host, refusal: Option<RefusalCause>) {
        let io = self.io.get_mut();
        let (response, received) = (io.response, io.http.take_received());
        self.span.end(response.status, response.sent);
        host.finished(&Access {
            pid: 0,
            worker: 0,
            connection: &self.info,
            request: &self.request,
            head: self.head.as_ref(),
            status: response.status,
            refusal,
            received,
            sent: response.sent,
            started: self.started,
            finished: now,
            times: RequestTimes {
                begun: response.begun,
                ..self.times
            },
            recorded: &io.recorded,
        });
        io.recorded.response_fields.clear();
        io.recorded.variables.clear();
    }
}
