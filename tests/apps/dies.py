"""Dies in calls: by os._exit for `/exit`, by a null pointer for `/crash`, by SIGKILL for `/kill`; for `/close` once its response
has been sent. A call of `/blocks` lasts until the file that it makes, ANSWERED and `.blocks`, is gone.

Other calls take 50 us. Each call writes the query of the one before to the file that ANSWERED names: the server is done
with that one.
"""

import ctypes
import os
import signal
import time

answered = os.open(os.environ["ANSWERED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
before = ""


class Dying(list):
    def close(self):
        os.kill(os.getpid(), signal.SIGKILL)


def app(environ, start_response):
    global before
    os.write(answered, (before + "\n").encode())
    path, before = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/exit":
        os._exit(1)
    if path == "/crash":
        ctypes.string_at(0)
    if path == "/kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/blocks":
        blocks = os.environ["ANSWERED"] + ".blocks"
        with open(blocks, "w"):
            pass
        while os.path.exists(blocks):
            time.sleep(0.001)
    end = time.perf_counter() + 50e-6
    while time.perf_counter() < end:
        pass
    start_response("200 OK", [("Content-Length", "2")])
    return Dying([b"ok"]) if path == "/close" else [b"ok"]
