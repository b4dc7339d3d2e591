"""Goes to sleep within the very step in which a signal comes: no Python runs between the two.

The signal WHEN names comes `import` (TERM), `early` (TERM, before Python is ready), in a `call` (INT), or `atexit`
(TERM). What is broken off is noted in the folder that FOLDER names.
"""

import atexit
import ctypes
import functools
import os
import signal
import time

WHEN = os.environ["WHEN"]


def note(name):
    with open(os.path.join(os.environ["FOLDER"], name), "w"):
        pass


def sleep_signalled(number):
    """Only C code runs between the two, which looks at no signal."""
    steps = [functools.partial(ctypes.CDLL(None)["raise"], number), functools.partial(time.sleep, 3600)]
    try:
        list(map(functools.partial.__call__, steps))
    finally:
        note("finally")


if WHEN == "import":
    sleep_signalled(signal.SIGTERM)
elif WHEN == "early":
    try:
        time.sleep(3600)
    finally:
        note("begun")
elif WHEN == "atexit":
    loader = os.getpid()
    atexit.register(lambda: os.getpid() == loader and sleep_signalled(signal.SIGTERM))


def app(environ, start_response):
    if environ["PATH_INFO"] == "/sleep":
        sleep_signalled(signal.SIGINT)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
