"""Knows who loaded it. With THREADS set, loading it starts threads; COUNT names a file in which one counts.

With DEAF set it takes no notice of signals that ask it to leave.
"""

import os
import random
import signal
import threading

LOADED_BY = os.getpid()


def busy():
    number = 0
    while True:
        number += 1


def counts():
    number = 0
    with open(os.environ["COUNT"], "w") as file:
        while True:
            number += 1
            print(number, file=file, flush=True)
            threading.Event().wait(0.01)


if "THREADS" in os.environ:
    threading.Thread(target=busy, name="a busy one", daemon=True).start()
    threading.Thread(target=counts, name="a counter", daemon=True).start()

if "DEAF" in os.environ:
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGQUIT:
        signal.signal(number, lambda *_: None)


def loaded(argument):
    return f"{LOADED_BY} {os.getpid()}"


def chance(argument):
    return str(random.random())


def threads(argument):
    return ",".join(thread.name for thread in threading.enumerate())


def hold(argument):
    with open(argument) as gate:
        return gate.read()


def app(environ, start_response):
    page = globals()[environ["PATH_INFO"].strip("/")]
    body = page(environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
