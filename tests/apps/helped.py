"""Starts helper processes when it is imported, as HELPER says: `manager`, `pool` or `executor`.

A page shows what the helper says, and its process id.
"""

import atexit
import concurrent.futures
import multiprocessing
import os
import tempfile

HELPER = os.environ["HELPER"]
context = multiprocessing.get_context("fork")
file = tempfile.NamedTemporaryFile(dir=os.environ["FOLDER"], prefix="temporary-")
folder = tempfile.TemporaryDirectory(dir=os.environ["FOLDER"], prefix="temporary-")
written = open(os.path.join(os.environ["FOLDER"], "written"), "a")
written.write("once\n")

if HELPER == "manager":
    manager = context.Manager()
    shared = manager.dict(number=6)
    pids = [manager._process.pid]
elif HELPER == "pool":
    pool = context.Pool(2)
    pids = [process.pid for process in pool._pool]
elif HELPER == "executor":
    executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
    pids = [executor.submit(os.getpid).result()]


def app(environ, start_response):
    number = 7 * shared["number"] if HELPER == "manager" else 42
    body = f"{number} {os.getpid()} {' '.join(map(str, pids))}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
