"""Meets signals: what happens goes into files in the folder that FOLDER names.

The path names one of the functions below, the query is a gate to stand at.
"""

import atexit
import os
import signal
import threading

FOLDER = os.environ["FOLDER"]


def note(what):
    with open(os.path.join(FOLDER, what), "a") as file:
        print(os.getpid(), file=file)


atexit.register(note, "atexit")

# As libraries do that are careful while they start.
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.signal(number, signal.SIG_IGN))


def pid(gate):
    return str(os.getpid())


def hold(gate):
    try:
        with open(gate) as pipe:
            pipe.read()
    finally:
        note("finally")
    return "held"


def busy(gate):
    """Signals that it is there by opening the gate."""
    try:
        with open(gate):
            while True:
                pass
    finally:
        note("finally")


def endless(gate):
    try:
        while True:
            note("block")
            yield bytes(1 << 20)
    finally:
        note("finally")


def own_handler(gate):
    came = threading.Event()
    former = signal.signal(signal.SIGINT, lambda *_: came.set())
    with open(gate):
        came.wait()
    signal.signal(signal.SIGINT, former)
    return "handled"


def save(gate):
    number = getattr(signal, gate)
    former = signal.getsignal(number)
    signal.signal(number, lambda *_: None)
    signal.signal(number, former)
    return repr(signal.getsignal(number))


def chain(gate):
    def handler(*arguments):
        note("chained")
        former(*arguments)

    former = signal.signal(getattr(signal, gate), handler)
    return str(os.getpid())


def child(gate):
    """Forks a child, sends it a signal that is nothing to it, then that one, and tells how it ended."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    os.kill(pid, signal.SIGUSR1)
    os.kill(pid, getattr(signal, gate))
    return f"{os.getpid()} {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}"


def stray(gate):
    """Forks a child that comes back from the request as it is told to, and tells how it ended."""
    pid = os.fork()
    if pid == 0:
        if gate.startswith("exit"):
            raise SystemExit(int(gate[4:] or 0))
        if gate == "raise":
            raise ValueError("in the child")
        return "the child's"
    return f"{os.getpid()} {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}"


def app(environ, start_response):
    page = globals()[environ["PATH_INFO"].strip("/")]
    if page is endless:
        start_response("200 OK", [])
        return page(None)
    body = page(environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
