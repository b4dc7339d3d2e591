//! A Rust host's subscriber sees each request as spans, and events of a call within them.
#![cfg(feature = "tracing")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use oxicorn::config::RequestIdMode;
use oxicorn::{Error, Request, Responder, Server};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

#[path = "support/mod.rs"]
mod support;

use support::{Client, wait_until};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A span that has ended.
#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    parent: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
    /// Events within it.
    events: Vec<String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Collects spans as an exporter does, when they end.
#[derive(Clone, Default)]
struct Exporter(Arc<Mutex<Vec<Seen>>>);

impl Exporter {
    /// Waits for that many spans.
    fn ended(&self, count: usize) -> Vec<Seen> {
        wait_until("spans have ended", || self.0.lock().unwrap().len() >= count);
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Exporter {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut seen = Seen {
            name: span.name(),
            parent: span.parent().map(|parent| parent.name()),
            ..Seen::default()
        };
        attributes.record(&mut seen);
        span.extensions_mut().insert(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Seen>().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else {
            return;
        };
        let mut text = Seen::default();
        event.record(&mut text);
        let mut extensions = span.extensions_mut();
        let seen = extensions.get_mut::<Seen>().unwrap();
        seen.events.extend(text.fields.remove("message"));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let seen = span.extensions_mut().remove::<Seen>().unwrap();
        self.0.lock().unwrap().push(seen);
    }
}

#[test]
fn a_request_is_a_span_with_its_queue_and_its_application() {
    let exporter = Exporter::default();
    let subscriber = tracing_subscriber::registry().with(exporter.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let shop = |request: Request<'_>, reply: Responder<'_>| {
        tracing::info!("selling");
        match request.path() {
            "/broken" => Err(Error::new("out of stock")),
            _ => reply.text(200, request.trace_parent().unwrap_or("none")),
        }
    };
    let server = Server::bind("127.0.0.1:0")
        .unwrap()
        .request_id(RequestIdMode::On);
    let running = server.build().unwrap().in_process(shop).unwrap();
    let mut client = Client::connect(running.listeners()[0].ip().unwrap());

    client.send(format!(
        "GET /cart?n=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: r-1\r\ntraceparent: {TRACE}\r\n\
         tracestate: a=b\r\nUser-Agent: test\r\n\r\n"
    ));
    assert_eq!(client.response().expect(200).text(), TRACE);
    let spans = exporter.ended(3);
    let names: Vec<_> = spans.iter().map(|it| (it.name, it.parent)).collect();
    let inner = Some("request");
    assert_eq!(
        names,
        [("queue", inner), ("application", inner), ("request", None)]
    );
    assert_eq!(spans[1].events, ["selling"]);
    for (field, value) in [
        ("otel.kind", "server"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "55"),
        ("url.path", "/cart"),
        ("url.query", "n=1"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "test"),
        ("request_id", "r-1"),
        ("traceparent", TRACE),
        ("tracestate", "a=b"),
    ] {
        assert_eq!(spans[2].fields[field], value, "{field}");
    }
    assert!(spans[2].fields["client.address"].starts_with("127.0.0.1:"));
    assert!(!spans[2].fields.contains_key("otel.status_code"));

    // A malformed field is as none.
    client.send("GET /broken HTTP/1.1\r\nHost: a\r\ntraceparent: 00-1-2-3\r\n\r\n");
    client.response().expect(500);
    let spans = exporter.ended(3);
    assert_eq!(spans[2].fields["otel.status_code"], "ERROR");
    assert_eq!(spans[2].fields["http.response.status_code"], "500");
    assert!(!spans[2].fields.contains_key("traceparent"));
    assert_eq!(spans[2].fields["request_id"].len(), 32);

    // One that reaches no call has a span, too.
    client = Client::connect(running.listeners()[0].ip().unwrap());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n");
    client.response().expect(413);
    let [refused] = &exporter.ended(1)[..] else {
        panic!("more than one span")
    };
    assert_eq!(refused.fields["http.response.status_code"], "413");
    drop(client);
    running.stop().unwrap();
}
