"""The prometheus client in the mode for several processes: each has files of its own, and any of them shows all."""

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()
MultiProcessCollector(registry)
show = make_wsgi_app(registry)
calls = Counter("calls", "Calls", ["path"])
sizes = Histogram("sizes", "Sizes of paths", buckets=[4, 64])


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/metrics":
        return show(environ, start_response)
    calls.labels(path).inc()
    sizes.observe(len(path))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
