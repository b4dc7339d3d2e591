# How long each request takes.
import time

from seen import seen

bind = '127.0.0.1:0'


def pre_request(worker, req):
    worker.log.debug('%s %s', req.method, req.path)
    req.began = time.monotonic()


def post_request(worker, req, environ, resp):
    took = time.monotonic() - req.began
    headers = dict(resp.headers)
    seen(req.method, req.path, req.query, resp.status, headers['Content-Length'], resp.sent, 0 <= took < 30,
         environ['PATH_INFO'], dict(req.headers)['X-MARK'], worker.nr)
