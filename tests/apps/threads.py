"""An application for workers with threads: the query of /sleep is milliseconds; a call of /meet waits for seven more."""

import itertools
import threading
import time

running = 0
most = 0
asked = 0
lock = threading.Lock()
eight = threading.Barrier(8, timeout=30)


def app(environ, start_response):
    global running, most, asked
    with lock:
        running += 1
        most = max(most, running)
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(int(environ["QUERY_STRING"]) / 1000)
    if environ["PATH_INFO"] == "/meet":
        eight.wait()
    if environ["PATH_INFO"] == "/stuck":
        # One call in C that gives the interpreter to nobody.
        sum(itertools.repeat(0))
    if environ["PATH_INFO"] == "/burn":
        # Python code that gives the interpreter to others now and then, until the others have had what they ask for.
        while asked < int(environ["QUERY_STRING"]):
            pass
    if environ["PATH_INFO"] == "/short":
        asked += 1
    with lock:
        running -= 1
    facts = {
        "/meet": "met",
        "/most": str(most),
        "/multithread": str(environ["wsgi.multithread"]),
    }
    body = facts.get(environ["PATH_INFO"], environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
