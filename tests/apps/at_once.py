"""Goes to sleep within the very step in which a signal comes: no Python runs between the two.

The signal WHEN names comes `import` (TERM), `early` (TERM, before Python is ready), in a `call` (INT, or any), or `atexit`
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


C = ctypes.CDLL(None)


def sleep_after(*steps):
    """Only C code runs between these steps and the sleep, which looks at no signal."""
    try:
        list(map(functools.partial.__call__, [*steps, functools.partial(time.sleep, 3600)]))
    finally:
        note("finally")


def sleep_signalled(number):
    sleep_after(functools.partial(C["raise"], number))


def sleep_late():
    """What comes within a second and a half comes right before the sleep."""
    everything = ctypes.create_string_buffer(128)
    C.sigfillset(everything)
    sleep_after(
        functools.partial(C.pthread_sigmask, signal.SIG_BLOCK, everything, None),
        functools.partial(C.usleep, 1_500_000),
        functools.partial(C.pthread_sigmask, signal.SIG_UNBLOCK, everything, None),
    )


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
    if environ["PATH_INFO"] == "/late":
        sleep_late()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
