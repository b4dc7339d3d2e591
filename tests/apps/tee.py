"""Reads its own error stream in a thread, as programs do that send a copy of it elsewhere.

The query of each page is how many bytes it has logged.
"""

import os
import sys
import threading

reader, writer = os.pipe()
console = os.dup(2)
os.dup2(writer, 2)


def pass_on():
    while True:
        text = os.read(reader, 4096)
        os.write(console, text)


threading.Thread(target=pass_on, daemon=True).start()


def logged(environ, size):
    environ["wsgi.errors"].write("x" * size + "\n")
    return [b"logged"]


def printed(environ, size):
    print("x" * size, file=sys.stderr)
    return [b"printed"]


def raised(environ, size):
    raise ValueError("x" * size)


def closed(environ, size):
    class Blocks(list):
        def close(self):
            raise ValueError("x" * size)

    return Blocks([b"closed"])


def app(environ, start_response):
    size = int(environ["QUERY_STRING"])
    body = globals()[environ["PATH_INFO"].strip("/")](environ, size)
    start_response("200 OK", [])
    return body
