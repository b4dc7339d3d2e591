"""Forks children that stay, leave, or come back to where they were forked.

The path names one of the functions below, the query is a gate to stand at. With FORK_AT=import a child comes back from
the import; how such children ended is noted in the folder that FOLDER names.
"""
import os
import signal
import sys

FOLDER = os.environ.get("FOLDER")
STATUS = os.environ.get("STATUS")


def come_back(name):
    """Forks a child that goes on as its parent would; notes how it ended."""
    pid = os.fork()
    if pid == 0:
        if STATUS:
            sys.exit(int(STATUS))
        return
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(os.path.join(FOLDER, name), "w") as file:
        print(ended, file=file)


def pid(gate):
    return str(os.getpid())


def stay(gate):
    """Forks a child that stays until it is ended."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return str(pid)


def stray(gate):
    """Forks a child that comes back from the request, when the gate opens; tells how it ended."""
    with open(gate) as pipe:
        pipe.read()
    pid = os.fork()
    if pid == 0:
        return "the child's"
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def orders(gate):
    """Forks a child, and sends it what an arbiter sends a worker, then TERM; tells how it ended."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    for order in (6, 7, 8):
        os.kill(pid, signal.SIGRTMIN + order)
    # TERM would overtake them.
    while "ShdPnd:\t0000000000000000" not in open(f"/proc/{pid}/status").read():
        pass
    os.kill(pid, signal.SIGTERM)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def app(environ, start_response):
    body = globals()[environ["PATH_INFO"].strip("/")](environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


if os.environ.get("FORK_AT") == "import":
    come_back("import")
if os.environ.get("FORK_AT") == "signal":
    signal.signal(signal.SIGUSR2, lambda *_: come_back("signal"))
