"""The prometheus client in the mode for several processes: each has files of its own, and any of them shows all."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()
MultiProcessCollector(registry)
show = make_wsgi_app(registry)
calls = Counter("calls", "Calls", ["path"])
sizes = Histogram("sizes", "Sizes of paths", buckets=[4, 64])
times = Histogram("times", 'Times by "path"\nand more', ["path"], buckets=[1e-5, 0.5, 2_500_000])
lengths = Summary("lengths", "Lengths", ["a", "b"])
modes = ["all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent"]
gauges = [Gauge(f"last_{mode}", "A gauge", ["z", "a"], multiprocess_mode=mode) for mode in modes]
reserved = Counter("oxicorn_requests", "The server has one of this name")


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/metrics":
        return show(environ, start_response)
    calls.labels(path).inc()
    sizes.observe(len(path))
    times.labels('a"b\\c\nd').observe(len(path) / 3)
    lengths.labels("x", "y").observe(len(path))
    for gauge in gauges:
        gauge.labels("1", "2").set(os.getpid() / 7)
    reserved.inc()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
