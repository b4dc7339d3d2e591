"""The application of all configuration files here. Each path is of one of them."""

import os
import time

from seen import seen

# One of Gunicorn's workers hears TERM from here on.
seen('import')


def held():
    while True:
        time.sleep(0.01)


def app(environ, start_response):
    path = environ['PATH_INFO']
    body = 'hello'
    if path == '/held':
        held()
    elif path == '/variables':
        body = os.environ.get('SHOP_READY', 'no')
    elif path == '/owner':
        import database
        body = 'own' if database.connection.owner == os.getpid() else 'shared'
    elif path == '/count':
        from prometheus_client import Gauge
        Gauge('calls', 'Calls', multiprocess_mode='livesum').inc()
    elif path == '/span':
        from opentelemetry import trace
        with trace.get_tracer('shop').start_as_current_span('answer'):
            pass
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body.encode()]
