# Health checks are no news.
from gunicorn.glogging import Logger

from seen import seen

bind = '127.0.0.1:0'
accesslog = '-'
access_log_format = 'seen access %(m)s %(U)s %(s)s %(B)s'


class QuietLogger(Logger):
    def access(self, resp, req, environ, request_time):
        if environ['PATH_INFO'] != '/health':
            super().access(resp, req, environ, request_time)


logger_class = QuietLogger


def when_ready(server):
    seen('logger', logger_class.__name__)
