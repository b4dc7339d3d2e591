"""What Python says of the threads that call it. The path names one of the functions below.

HANDLED is a file to which the handler of SIGALRM writes a line each time it has run. If they are set, STACK is a
`threading.stack_size` in MiB; WAKE gives signals a wake-up descriptor; PATCHED has `threading` start no threads, as
gevent's monkey patching does; BROKEN has it fail.
"""

import os
import signal
import sys
import threading
import time

traced, profiled = set(), set()


def note_in(names):
    def note(frame, event, argument):
        names.add(threading.current_thread().name)

    return note


threading.settrace(note_in(traced))
threading.setprofile(note_in(profiled))
if "STACK" in os.environ:
    threading.stack_size(int(os.environ["STACK"]) << 20)
if "PATCHED" in os.environ:
    start = threading.Thread.start

    def start_at_once(thread):
        if not thread.daemon:
            return start(thread)
        # As a greenlet: on the thread that starts it.
        thread.run()

    threading.Thread.start = start_at_once


if "BROKEN" in os.environ:
    start = threading.Thread.start

    def start_some(thread):
        if thread.name == "oxicorn-3":
            raise RuntimeError("as intended")
        return start(thread)

    threading.Thread.start = start_some


def handle(number, frame):
    with open(os.environ["HANDLED"], "a") as file:
        print(threading.current_thread() is threading.main_thread(), file=file)


signal.signal(signal.SIGALRM, handle)
if "WAKE" in os.environ:
    woken_by, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
sys.setrecursionlimit(200_000)


def facts(query):
    thread = threading.current_thread()
    main = thread is threading.main_thread() or threading.get_native_id() == os.getpid()
    with open("/proc/thread-self/comm") as comm:
        shown = comm.read().strip()
    time.sleep(0.005)
    return f"{type(thread).__name__} {thread.name} {shown} daemon={thread.daemon} main={main}"


def hooks(query):
    return f"{threading.current_thread().name} {sorted(traced)} {sorted(profiled)}"


def nested(query):
    """The length of what so many nested lists are shown as; the limit of recursion may be met, the stack's not."""
    value = []
    for _ in range(int(query)):
        value = [value]
    try:
        return str(len(repr(value)))
    except RecursionError:
        return "RecursionError"


def sorting(query):
    def down(depth):
        return depth and sorted([depth], key=lambda _: down(depth - 1))[0]

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(int(query))
    try:
        return str(down(int(query)))
    except RecursionError:
        return "RecursionError"
    finally:
        sys.setrecursionlimit(before)


def busy(query):
    end = time.monotonic() + int(query) / 1000
    while time.monotonic() < end:
        pass
    return "busy"


def woken(query):
    return str(os.read(woken_by, 100) == bytes([signal.SIGALRM]) * 20)


def pid(query):
    return str(os.getpid())


def app(environ, start_response):
    body = globals()[environ["PATH_INFO"].strip("/")](environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
