#!/usr/bin/env python3
"""Watches that a worker in its stride asks the system for no memory.

usage: steady_memory.py SERVE [REQUESTS] [-- FLAGS ...]

After a tenth as many to warm up, or 500, REQUESTS (default 10000) requests of each shape are made, one after another and then
on 8 connections at once: a short answer, JSON, bodies of 1, 64 and 1024 KiB sent and sent back, an answer of 100 KiB,
and Flask where it is to be had. FLAGS go to the server. Ends with status 0 if none of them cost the worker more than 10
minor faults, nor, where strace(1) may trace it, more than 10 calls of brk, mmap and munmap. Where they cost more minor
faults, they are made a second time, which counts: more of them may have met than ever before.
"""
import contextlib
import http.client
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from serving import PATIENCE, check, eventually, serving, split

MOST = 10
SHAPES = [
    ("/hello", 0),
    ("/json", 0),
    ("/echo", 1),
    ("/echo", 64),
    ("/echo", 1024),
    ("/big", 0),
    ("/flask", 0),
]


def minor_faults(pid):
    """Pages that were not there when they were touched, and needed no disk (proc_pid_stat(5))."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7])


def ask(port, path, kib, count):
    """The status of the answers."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    body = b"b" * (kib * 1024) if kib else None
    for _ in range(count):
        client.request("POST" if kib else "GET", path, body)
        answer = client.getresponse()
        sent = answer.read()
        if answer.status != 200:
            break
        check(f"{path}: {len(sent)} bytes", not kib or sent == body)
    client.close()
    return answer.status


def ask_at_once(port, path, kib, count):
    threads = [threading.Thread(target=ask, args=(port, path, kib, count // 8)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def traced(pid):
    """Collects the calls of a process by which it gets or gives back memory; `None` where nobody may trace."""
    calls = []
    if not shutil.which("strace"):
        yield None
        return
    with tempfile.NamedTemporaryFile("r", prefix="strace-") as log:
        command = ["strace", "-f", "-qq", "-e", "trace=brk,mmap,munmap,mremap", "-o", log.name, "-p", str(pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        status = pathlib.Path(f"/proc/{pid}/status")

        def attached():
            return tracer.poll() is not None or not re.search(r"TracerPid:\s+0\n", status.read_text())

        eventually("strace attaches, or is refused", attached)
        if tracer.poll() is not None:
            yield None
            return
        try:
            yield calls
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(PATIENCE)
        calls += re.findall(r"^\d+ +(\w+)\(", log.read(), re.M)


def main():
    arguments, flags = split(sys.argv[1:])
    count = int(arguments[1]) if len(arguments) > 1 else 10000
    warm = max(500, count // 10)
    wrong = []
    with serving(arguments[0], "steady:app", flags) as (_, port, worker):
        for path, kib in SHAPES:
            if ask(port, path, kib, 1) != 200:
                print(f"{path}: not to be had")
                continue
            # Of several threads each has a stack of its own to begin with.
            ask_at_once(port, path, kib, warm)
            for name, load in [("one after another", ask), ("at once", ask_at_once)]:
                load(port, path, kib, warm)
                for _ in range(2):
                    before = minor_faults(worker)
                    load(port, path, kib, count)
                    faults = minor_faults(worker) - before
                    if faults <= MOST:
                        break
                    # A peak costs memory once; what requests cost by themselves comes again.
                    print(f"{path}, {kib} KiB, {name}: {faults} minor faults, and once more:")
                with traced(worker) as calls:
                    load(port, path, kib, count // 10)
                asked = "not traced" if calls is None else f"{len(calls)} calls for memory"
                print(f"{path}, {kib} KiB, {count} {name}: {faults} minor faults, {asked}")
                if faults > MOST or calls and len(calls) > MOST:
                    wrong.append(f"{path}, {kib} KiB, {name}")
    check("a worker in its stride asks for memory: " + "; ".join(wrong), not wrong)
    print(f"ok: {' '.join(flags) or 'sync'}")


if __name__ == "__main__":
    main()
