"""Leaves files in the folder that FOLDER names, as programs do that rely on the end of Python.

MODE says what happens at that end: `slow`, `hangs` (with the interpreter held), `crashes`, `aborts`, or `daemon`, where
a thread is still busy. The path `/stays` never answers.
"""

import ctypes
import os
import sys
import tempfile
import threading
import time
import weakref

FOLDER = os.environ["FOLDER"]
MODE = os.environ.get("MODE")


def note(name, folder=FOLDER, path=os.path.join, pid=os.getpid, open=os.open, write=os.write):
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    write(open(path(folder, name), flags), b"%d\n" % pid())


class Object:
    pass


written = open(os.path.join(FOLDER, f"written-{os.getpid()}"), "w")
file = tempfile.NamedTemporaryFile(dir=FOLDER, prefix="temporary-")
folder = tempfile.TemporaryDirectory(dir=FOLDER, prefix="temporary-")
finalized = Object()
weakref.finalize(finalized, note, "finalized")
sys.stdout = open(os.path.join(FOLDER, f"stdout-{os.getpid()}"), "w")


class End:
    def __del__(self, note=note, mode=MODE, sleep=time.sleep, ctypes=ctypes, abort=os.abort):
        note("ending")
        if mode == "slow":
            sleep(0.5)
        elif mode == "hangs":
            ctypes.PyDLL(None).sleep(1000)
        elif mode == "crashes":
            ctypes.string_at(0)
        elif mode == "aborts":
            abort()
        note("ended")


end = End()


def busy():
    while True:
        pass


if MODE == "daemon":
    threading.Thread(target=busy, daemon=True).start()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/stays":
        note("stays")
        time.sleep(1000)
    written.write("a line\n")
    print("printed")
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
