"""Hangs in the way that the path names, and says on standard output that it is about to."""

import functools
import itertools
import os
import threading
import time


# Without a frame of its own.
say = functools.partial(os.write, 1, b"about to hang\n")


def busy():
    say()
    while True:
        pass


def sleeping():
    say()
    time.sleep(1000)


def in_c():
    say()
    # One call that gives the interpreter to nobody.
    sum(itertools.repeat(0))


def deadlocked():
    lock = threading.Lock()
    with lock:
        threading.Thread(target=waiting, args=(lock,), daemon=True).start()
        lock.acquire()


def waiting(lock):
    say()
    lock.acquire()


def crashing():
    say()
    os.abort()


def app(environ, start_response):
    globals()[environ["PATH_INFO"].strip("/")]()
