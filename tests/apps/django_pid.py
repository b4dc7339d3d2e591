"""The Django example, whose responses tell which process made them."""

import os

from django_site.wsgi import application as django

PID = "X-Pid"


def application(environ, start_response):
    def start(status, headers, *exc_info):
        return start_response(status, [*headers, (PID, str(os.getpid()))], *exc_info)

    return django(environ, start)
