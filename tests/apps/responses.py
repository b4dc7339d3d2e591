"""Applications that keep to PEP 3333 in every way that it allows, and break it in many."""

import sys
import time

PLAIN = [("Content-Type", "text/plain")]
closed = 0


def app(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)


def plain(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"plain"]


def never_started(environ, start_response):
    return [b"x"]


def started_twice(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"x"]


def bad_status(environ, start_response):
    start_response("2000 OK", PLAIN)
    return [b"x"]


def status_of_bytes(environ, start_response):
    start_response(b"200 OK", PLAIN)
    return [b"x"]


def bad_header_name(environ, start_response):
    start_response("200 OK", [("Bad Name", "x")])
    return [b"x"]


def header_with_newline(environ, start_response):
    start_response("200 OK", [("X-Split", "a\r\nX-Injected: b")])
    return [b"x"]


def header_of_bytes(environ, start_response):
    start_response("200 OK", [(b"X-Bytes", b"x")])
    return [b"x"]


def bad_length(environ, start_response):
    start_response("200 OK", [("Content-Length", "many")])
    return [b"x"]


def returns_none(environ, start_response):
    start_response("200 OK", PLAIN)


def replaced(environ, start_response):
    start_response("200 OK", [("X-Old", "1")])
    try:
        1 / 0
    except ZeroDivisionError:
        start_response("503 Sorry", [("X-New", "1")], sys.exc_info())
    return [b"sorry"]


def replaced_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"begun"
    try:
        1 / 0
    except ZeroDivisionError:
        start_response("503 Sorry", PLAIN, sys.exc_info())
    yield b"never sent"


def tuple(environ, start_response):
    start_response("200 OK", PLAIN)
    return (b"one", b"two")


def generator(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"one"
    yield b"two"


def iterator(environ, start_response):
    start_response("200 OK", PLAIN)
    return iter([b"one", b"two"])


def written(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"one")
    write(b"two")
    return [b"three"]


def empty(environ, start_response):
    start_response("200 OK", PLAIN)
    return []


def empty_items(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"", b"one", b"", b"two", b""]


def started_late(environ, start_response):
    # A generator starts the response only when it is first asked for an item.
    start_response("200 OK", PLAIN)
    yield b"late"


def buffers(environ, start_response):
    class Bytes(bytes):
        pass

    start_response("200 OK", PLAIN)
    return [Bytes(b"bytes")]


def text_item(environ, start_response):
    start_response("200 OK", PLAIN)
    return ["text"]


def text_item_late(environ, start_response):
    start_response("200 OK", PLAIN)
    return (item for item in [b"begun", "text"])


class Closing:
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)

    def close(self):
        global closed
        closed += 1


def closes(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing([b"one"])


def closes_after_error(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing([b"one", None])


def status_204(environ, start_response):
    start_response("204 No Content", [])
    return [b"dropped"]


def status_304(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return [b"dropped"]


def too_long(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"123", b"456", b"789"]


def too_long_late(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    yield b"12345"
    yield b"6789"


def empty_for_ever(environ, start_response):
    start_response("200 OK", [])
    if environ["QUERY_STRING"]:
        yield b"begun"
    while True:
        time.sleep(0.01)
        yield b""


def empty_for_long(environ, start_response):
    start_response("200 OK", [])
    for _ in range(250):
        time.sleep(0.01)
        yield b""
    yield b"at last"


def reset(environ, start_response):
    start_response("205 Reset Content", [("Content-Length", "7")])
    return [b"dropped"]


def upgrade_required(environ, start_response):
    start_response("426 Upgrade Required", [("Upgrade", "HTTP/3.0"), ("Connection", "Upgrade")])
    return [b"newer, please"]


def too_short(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"123"]


def hop_by_hop(environ, start_response):
    start_response(
        "200 OK",
        [
            ("Server", "mine"),
            ("Date", "now"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "x"),
            ("TE", "x"),
            ("Trailers", "x"),
            ("Upgrade", "h2c"),
            ("X-Mine", "caf\xe9"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
        ],
    )
    return [b"ok"]


def says_close(environ, start_response):
    start_response("200 OK", [("Connection", "X-Other, Close")])
    return [b"ok"]


def closed_count(environ, start_response):
    start_response("200 OK", PLAIN)
    return [str(closed).encode()]
