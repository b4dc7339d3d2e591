"""Switches greenlets. The path names one of the functions below; each is called in one that was there before."""

import os
import signal
import threading
import time

from greenlet import getcurrent, greenlet


def serve_others():
    """A greenlet's life: does what it is given, for whoever switches here."""
    work = None
    while True:
        try:
            outcome = work and work()
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        work = getcurrent().parent.switch(outcome)


def made_now():
    made = greenlet(serve_others)
    made.switch()
    return made


# Its part of the stack begins where this is imported.
made_at_import = made_now()
# A greenlet belongs to a thread: those that serve have their own.
own = threading.local()


def other(environ):
    if environ["QUERY_STRING"] == "now":
        return made_now()
    if threading.current_thread() is threading.main_thread():
        return made_at_import
    if not hasattr(own, "made"):
        own.made = made_now()
    return own.made


def deeper(depth, call):
    """Has the call made where the stack is in use, which the other greenlet's slice then covers."""
    return sorted([0], key=lambda _: deeper(depth - 1, call))[0] if depth else call()


def write(environ, start_response):
    write = start_response("200 OK", [])
    answers = []
    deeper(20, lambda: answers.append(other(environ).switch(lambda: write(b"not sent"))) or 0)
    write(b"sent ")
    return [answers[0].encode()]


def hints(environ, start_response):
    answer = other(environ).switch(lambda: environ["wsgi.early_hints"]([("Link", "<a>")]))
    start_response("200 OK", [])
    return [answer.encode()]


def read(environ, start_response):
    answer = other(environ).switch(lambda: environ["wsgi.input"].read(3))
    start_response("200 OK", [])
    return [f"{answer} {environ['wsgi.input'].read()}".encode()]


def blocks(environ, start_response):
    """All the rest is anybody's: what is said of the response, its blocks, the log."""
    there = other(environ)
    there.switch(lambda: start_response("201 Created", [("X-Made", "there")]))
    there.switch(lambda: environ["wsgi.errors"].write("from a greenlet\n"))

    class Blocks:
        left = [b"c", b"b", b"a"]

        def __iter__(self):
            return self

        def __next__(self):
            block = there.switch(lambda: self.left and self.left.pop())
            if not block:
                raise StopIteration
            return block

    return Blocks()


def pid(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]


def rest(number, frame):
    """The main thread is elsewhere for a while, and its stack with it."""
    made_at_import.switch(lambda: deeper(50, lambda: time.sleep(1) or 0))
    with open(os.environ["HANDLED"], "a") as file:
        print("rested", file=file)


if "HANDLED" in os.environ:
    signal.signal(signal.SIGALRM, rest)


def app(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
