"""Tells by files how its process ended."""
import atexit
import os
import threading

FOLDER = os.environ["LEAVES_FOLDER"]
_go = threading.Event()


def _leave(name):
    with open(os.path.join(FOLDER, name), "a") as file:
        print(os.getpid(), file=file)


def _background():
    _go.wait()
    _leave("thread")


def _at_exit():
    _leave("atexit")
    raise RuntimeError("the last words")


# Python waits for this one: it is no daemon. It ends when the main thread has begun to leave.
threading._register_atexit(_go.set) if hasattr(threading, "_register_atexit") else _go.set()
threading.Thread(target=_background, name="background").start()
threading.Thread(target=threading.Event().wait, name="daemon", daemon=True).start()
atexit.register(_at_exit)


def app(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
