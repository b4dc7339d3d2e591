"""OpenTelemetry's middleware, whose spans a thread in the background hands over."""

import threading

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Exporter(SpanExporter):
    def export(self, spans):
        where = "a thread" if threading.current_thread() is not threading.main_thread() else "the main thread"
        for span in spans:
            attributes = span.attributes
            status = attributes.get("http.response.status_code", attributes.get("http.status_code"))
            parent = format(span.parent.trace_id, "032x") if span.parent else "none"
            print(f"span {span.name} {status} of {parent} from {where}", flush=True)
        return SpanExportResult.SUCCESS


def inner(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fails":
        raise ValueError("traced")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"one ", b"two"]) if path == "/stream" else [b"answer"]


provider = TracerProvider()
# What is not handed over in time is handed over at the end of the process.
provider.add_span_processor(BatchSpanProcessor(Exporter(), schedule_delay_millis=50))
app = OpenTelemetryMiddleware(inner, tracer_provider=provider)
