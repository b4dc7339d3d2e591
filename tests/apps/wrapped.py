"""Answers with `wsgi.file_wrapper` around a file and around something that only looks like one."""

import io
import os

last = None


def app(environ, start_response):
    global last
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    page, path = environ["PATH_INFO"], environ["QUERY_STRING"]
    if page == "/closed":
        return [str(last.closed).encode()]
    if page == "/write-only":
        return environ["wsgi.file_wrapper"](open(os.devnull, "wb", buffering=0))
    last = open(path, "rb")
    if page == "/memory":
        with last:
            last = io.BytesIO(last.read())
    if page == "/from-offset":
        last.seek(100)
    return environ["wsgi.file_wrapper"](last)
