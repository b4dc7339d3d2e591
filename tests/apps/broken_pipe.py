"""Has the default of SIGPIPE and SIGXFSZ, as some programs want it for their children, and answers at a gate."""
import os
import signal

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def app(environ, start_response):
    if environ["QUERY_STRING"]:
        with open(environ["QUERY_STRING"]) as gate:
            gate.read()
    start_response("200 OK", [])
    return {"/pid": pid, "/blocks": blocks, "/file": file}[environ["PATH_INFO"]](environ)


def pid(environ):
    return [str(os.getpid()).encode()]


def blocks(environ):
    return (bytes(10000) for _ in range(10))


def file(environ):
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))
