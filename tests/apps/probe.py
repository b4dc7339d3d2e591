"""The application of most tests: the path names one of the functions below, the query is their argument."""

import hashlib
import json
import os
import sys
import time


def app(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"].strip("/") or "pid", missing)
    return page(environ, start_response)


def answer(start_response, body, status="200 OK", *headers):
    if isinstance(body, str):
        body = body.encode()
    start_response(
        status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers]
    )
    return [body]


def wait(environ):
    """Stands at the gate that the query names."""
    with open(environ["QUERY_STRING"]) as gate:
        gate.read()


def missing(environ, start_response):
    return answer(start_response, "no such page", "404 Not Found")


def pid(environ, start_response):
    return answer(start_response, str(os.getpid()))


def environ(environ, start_response):
    return answer(start_response, json.dumps({name: repr(value) for name, value in environ.items()}))


def process(environ, start_response):
    facts = {
        "argv": sys.argv,
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "executable": sys.executable,
        "path": sys.path,
        "prefix": sys.prefix,
    }
    return answer(start_response, json.dumps(facts))


def imports(environ, start_response):
    __import__(environ["QUERY_STRING"])
    return answer(start_response, "there")


def hold(environ, start_response):
    wait(environ)
    return answer(start_response, str(os.getpid()))


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\n"
    wait(environ)
    yield b"second\n"


def sleep(environ, start_response):
    time.sleep(10)
    return answer(start_response, "awake")


def nap(environ, start_response):
    """Passes the gate, and works then for a second and a half, as a process that may be stopped meanwhile."""
    wait(environ)
    for _ in range(150):
        time.sleep(0.01)
    return answer(start_response, str(os.getpid()))


def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read())


def hints(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload"), (b"X-Bytes", b"b")])
    return answer(start_response, "hinted")


def unread(environ, start_response):
    return answer(start_response, "not read")


def digest(environ, start_response):
    return answer(start_response, hashlib.sha256(environ["wsgi.input"].read()).hexdigest())


def big(environ, start_response):
    """As many MiB as the query says, in pieces of 64 KiB, of unknown length."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (bytes(65536) for _ in range(16 * int(environ["QUERY_STRING"])))


def boom(environ, start_response):
    raise RuntimeError("the application's own words")


def late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    raise RuntimeError("too late for a 500")


def leave(environ, start_response):
    sys.exit(int(environ["QUERY_STRING"]))


def die(environ, start_response):
    os._exit(int(environ["QUERY_STRING"]))


def complain(environ, start_response):
    environ["wsgi.errors"].write("a line for the error log\n")
    environ["wsgi.errors"].flush()
    return answer(start_response, "done")


def speak(environ, start_response):
    print("a line for standard output")
    return answer(start_response, "done")


def prints(environ, start_response):
    print(environ["QUERY_STRING"], flush=True)
    return answer(start_response, "printed")


def ticks(environ, start_response):
    """Blocks, with a pause before each: its seconds in the query."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for pause in environ["QUERY_STRING"].split(","):
        time.sleep(float(pause))
        yield b"tick\n"


PAGES = {
    page.__name__: page
    for page in (
        big, boom, complain, die, digest, echo, environ, hints, hold, imports, late, leave, nap, pid, prints, process,
        sleep, speak, stream, ticks, unread,
    )
}
