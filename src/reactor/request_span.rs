//! [`RequestSpan`]: a request as spans of `tracing`, for a subscriber that wants them.
//!
//! ```text
//!   request      from the complete head to the end of the call
//!     queue        from the complete request to the beginning of its call
//!     application  the call of the service: the events of the call are within it
//! ```
//!
//! Without such a subscriber a request costs the look at three call sites; without the feature, nothing. The names of the
//! fields are those of OpenTelemetry's semantic conventions for HTTP servers.

#[cfg(feature = "tracing")]
use tracing::{Span, field::Empty, info_span};

use crate::h1::Head;
use crate::service::{ConnectionInfo, RequestInfo};
#[cfg(feature = "tracing")]
use crate::service::{Scheme, trace_parent};

/// The spans of a connection's current request; nothing while there is none, or nobody to see it.
#[derive(Debug, Default)]
pub(super) struct RequestSpan {
    #[cfg(feature = "tracing")]
    spans: Option<Box<Spans>>,
}

#[cfg(feature = "tracing")]
#[derive(Debug)]
struct Spans {
    request: Span,
    /// Its queue or its application.
    part: Option<Span>,
}

#[cfg(feature = "tracing")]
macro_rules! span {
    ($parent:expr, $name:literal $($fields:tt)*) => {
        info_span!(target: "oxicorn::request", parent: $parent, $name $($fields)*)
    };
}

#[cfg(feature = "tracing")]
impl RequestSpan {
    /// The head is complete.
    pub(super) fn begin(&mut self, head: &Head, connection: &ConnectionInfo, info: &RequestInfo) {
        if self.spans.is_some() {
            return;
        }
        let text = |name: &str| {
            head.get(name)
                .and_then(|value| std::str::from_utf8(value).ok())
        };
        let span = span!(
            None,
            "request",
            otel.kind = "server",
            otel.name = head.method(),
            otel.status_code = Empty,
            http.request.method = head.method(),
            http.response.status_code = Empty,
            http.response.body.size = Empty,
            url.path = head.path(),
            url.query = Some(head.query()).filter(|query| !query.is_empty()),
            url.scheme = match info.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            },
            network.protocol.version = head.version().to_string().trim_start_matches("HTTP/"),
            client.address = %info.client(connection),
            user_agent.original = text("user-agent"),
            request_id = info.id.as_deref(),
            traceparent = trace_parent::of(head),
            tracestate = trace_parent::of(head).and_then(|_| text("tracestate")),
        );
        if !span.is_disabled() {
            let spans = Spans {
                request: span,
                part: None,
            };
            self.spans = Some(Box::new(spans));
        }
    }

    /// The request is complete, and waits for its call.
    pub(super) fn queue(&mut self) {
        if let Some(spans) = &mut self.spans {
            spans.part = Some(span!(&spans.request, "queue"));
        }
    }

    /// Its call is about to begin.
    pub(super) fn call(&mut self) {
        if let Some(spans) = &mut self.spans {
            spans.part = None;
            spans.part = Some(span!(&spans.request, "application"));
        }
    }

    /// Makes the call.
    pub(super) fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        match self.spans.as_ref().and_then(|spans| spans.part.as_ref()) {
            Some(application) => application.in_scope(call),
            None => call(),
        }
    }

    /// It was answered with this status, 0 for none, and so many bytes of a body.
    pub(super) fn end(&mut self, status: u16, sent: u64) {
        let Some(spans) = self.spans.take() else {
            return;
        };
        if status != 0 {
            spans.request.record("http.response.status_code", status);
        }
        spans.request.record("http.response.body.size", sent);
        if status == 0 || status >= 500 {
            spans.request.record("otel.status_code", "ERROR");
        }
    }
}

#[cfg(not(feature = "tracing"))]
#[expect(clippy::unused_self, reason = "with the feature it has spans")]
impl RequestSpan {
    pub(super) fn begin(&mut self, _: &Head, _: &ConnectionInfo, _: &RequestInfo) {}

    pub(super) fn queue(&mut self) {}

    pub(super) fn call(&mut self) {}

    pub(super) fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        call()
    }

    pub(super) fn end(&mut self, _: u16, _: u64) {}
}
