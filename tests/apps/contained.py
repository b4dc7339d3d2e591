"""What tests/scripts/container.py asks for."""

import os
import subprocess

# In one piece, since other workers write there too.
os.write(2, b"loaded\n")


def app(environ, start_response):
    start_response("200 OK", [])
    return [PAGES[environ["PATH_INFO"]](environ)]


def small(environ):
    return b"small"


def echo(environ):
    return environ["wsgi.input"].read()


def wait(environ):
    """Stands at the gate that the query names."""
    with open(environ["QUERY_STRING"], "rb") as gate:
        return gate.read()


def orphan(environ):
    """Leaves a process behind that stands at the gate, and whose parent has gone."""
    subprocess.run(["sh", "-c", 'cat "$1" > /dev/null &', "sh", environ["QUERY_STRING"]], check=True)
    return b"left"


PAGES = {f"/{page.__name__}": page for page in (small, echo, wait, orphan)}
