"""What tests/scripts/profiles.py samples: `busy` is a Flask application with one function that takes most of the time, and
`mixed` has calls that a sampler may stumble over. The path `/told` of `mixed` tells what went wrong in this worker so far.
"""

import ctypes
import errno
import gc
import hashlib
import json
import os
import random
import re
import subprocess
import threading
import time
import zlib

LIBC = ctypes.CDLL(None, use_errno=True)
WRONG = []


def burn(rounds):
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def deep(depth):
    return depth and 1 + deep(depth - 1)


def nested(depth):
    yield depth
    if depth:
        yield from nested(depth - 1)


def recursion():
    assert deep(depth := random.randrange(400)) == depth


def generators():
    depth = random.randrange(100)
    assert sum(nested(depth)) == depth * (depth + 1) // 2


def exceptions():
    for _ in range(50):
        try:
            deep(random.randrange(50)) / 0
        except ZeroDivisionError as error:
            assert error.__traceback__ is not None


def fresh_code():
    """Functions whose code is gone again at once, so that another one has its address."""
    for _ in range(20):
        name = f"f{random.randrange(1 << 30)}"
        scope = {}
        exec(f"def {name}(n):\n return n and {name}(n - 1)", scope)
        assert scope[name](20) == 0
    gc.collect(0)


def callbacks_of_c():
    assert sorted(range(200), key=lambda number: -number)[0] == 199
    assert re.sub("a", lambda match: match[0].upper(), "a" * 200) == "A" * 200
    assert json.loads(json.dumps([object()] * 50, default=lambda value: 1)) == [1] * 50


def c_with_the_interpreter():
    ctypes.PyDLL(None).usleep(2000)
    "x".join(["y"] * 100_000).count("xyx")


def c_without_the_interpreter():
    hashlib.sha256(bytes(1 << 18)).digest()
    assert zlib.decompress(zlib.compress(bytes(1 << 18))) == bytes(1 << 18)


def system_calls():
    """Calls that a signal would end with EINTR: Python's own begin again (PEP 475), those of a library in C do not."""
    readable, writable = os.pipe()
    try:
        for call in (lambda: LIBC.usleep(3000), lambda: LIBC.poll(None, 0, 3)):
            if call() == -1 and ctypes.get_errno() == errno.EINTR:
                WRONG.append("EINTR")
        timer = threading.Timer(0.003, os.write, (writable, b"x"))
        timer.start()
        if LIBC.read(readable, ctypes.create_string_buffer(1), 1) != 1:
            WRONG.append(errno.errorcode[ctypes.get_errno()])
        timer.join()
    finally:
        os.close(readable)
        os.close(writable)


def threads():
    several = [threading.Thread(target=deep, args=(random.randrange(100),)) for _ in range(5)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()


def children():
    if random.random() < 0.05:
        subprocess.run(["true"], check=True)


def waiting():
    time.sleep(random.random() * 0.05)


KINDS = [
    *(recursion, generators, exceptions, fresh_code, callbacks_of_c, c_with_the_interpreter, c_without_the_interpreter),
    *(system_calls, threads, children),
    # Half of the threads wait at a time, or there would be nothing but a queue for the interpreter.
    *(10 * [waiting]),
]


def mixed(environ, start_response):
    if environ["PATH_INFO"] == "/told":
        body = json.dumps(WRONG).encode()
    else:
        random.choice(KINDS)()
        body = b"done"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def plain(environ, start_response):
    """Python and nothing else, some milliseconds of it."""
    burn(50_000)
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]


try:
    from flask import Flask, jsonify
except ImportError:
    pass
else:
    busy = Flask(__name__)

    @busy.get("/")
    def page():
        return jsonify(total=burn(20_000))
