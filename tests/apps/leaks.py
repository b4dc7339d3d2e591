"""The application of tests/scripts/leaks.py: /state tells what the process has now."""

import gc
import json
import os
import sys
import threading
from email.parser import BytesParser


def answer(start_response, body, status="200 OK"):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return answer(start_response, b"hello\n")


def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read())


def fields(environ, start_response):
    return answer(start_response, str(sorted(environ)).encode())


def stream(environ, start_response):
    start_response("200 OK", [])
    for number in range(8):
        yield b"%d\n" % number


def long(environ, start_response):
    start_response("200 OK", [])
    for _ in range(64):
        yield b"x" * 65536


def raises(environ, start_response):
    raise ValueError("as it should")


def raises_midway(environ, start_response):
    write = start_response("200 OK", [])
    write(b"one\n")
    yield b"two\n"
    raise ValueError("as it should")


def upload(environ, start_response):
    head = b"Content-Type: " + environ["CONTENT_TYPE"].encode() + b"\r\n\r\n"
    form = BytesParser().parsebytes(head + environ["wsgi.input"].read())
    (part,) = form.get_payload()
    return answer(start_response, str(len(part.get_payload())).encode())


def state(environ, start_response):
    # CPython keeps the names of the attributes that were last looked up, each in one of 4,096 places. A
    # traceback makes such names anew, and they come to rest in other places each time.
    getattr(sys, "_clear_type_cache", lambda: None)()
    for _ in range(3):
        gc.collect()
    memory = {}
    with open("/proc/self/smaps_rollup") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                memory[name.lower()] = int(rest.split()[0])
    facts = {
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        **memory,
    }
    return answer(start_response, json.dumps(facts).encode())


def app(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
