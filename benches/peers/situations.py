#!/usr/bin/env python3
"""Measures what is no matter of a single request: start, reload, memory, workers, threads, crowds and uploads.

usage: situations.py [--rounds N] [SITUATION ...]

Servers, applications and the environment are those of measure.py, which is to be run before. Each situation prints a line for
each server: the lower quartile, the median and the upper quartile of N rounds (default: 5), in which the servers take
turns. All traffic stays on 127.0.0.1.
"""
import argparse
import http.client
import json
import os
import pathlib
import signal
import statistics
import subprocess
import threading
import time
from collections import Counter

import measure
from measure import Server, family

OXICORN, BJOERN, GRANIAN = (measure.WSGI[name] for name in ("oxicorn", "bjoern", "granian"))
GUNICORN = [measure.VENV / "bin" / "gunicorn", "-b", "{address}", "--log-level", "warning", "applications:{app}"]
BOTH = {"oxicorn": OXICORN, "gunicorn": GUNICORN}
EACH = {**BOTH, "bjoern": BJOERN, "granian": GRANIAN}


def flags(command, *more):
    """The command with flags before its application."""
    return [*command[:-1], *more, command[-1]]


class Running:
    """A server that answers, for the time of a block."""

    def __init__(self, command, app, both_cores=False):
        self.server, self.both_cores = Server(command, app), both_cores

    def __enter__(self):
        begun = time.monotonic()
        wrong = self.server.start(0)
        if wrong:
            raise SystemExit(f"{self.server.command}: {wrong}")
        self.took = time.monotonic() - begun
        if self.both_cores:
            for pid in family(self.server.process.pid):
                os.sched_setaffinity(pid, range(os.cpu_count()))
        return self.server

    def __exit__(self, *_):
        self.server.stop()


def children(server):
    return family(server.process.pid) - {server.process.pid}


def workers(server, count):
    """The `count` workers: of oxicorn and Gunicorn the children of the arbiter."""
    found = set()
    for pid in children(server):
        title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"status" not in title:
            found.add(pid)
    return found if len(found) == count else None


def until(condition, patience=20):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.002)
    raise SystemExit("it took too long")


def start(app):
    """Seconds from the start of the program to its first answer."""

    def once(command):
        server = Server(command, app)
        environment = dict(os.environ, PYTHONPATH=str(measure.HERE), VIRTUAL_ENV=str(measure.VENV))
        begun = time.monotonic()
        server.process = subprocess.Popen(server.command, cwd=measure.HERE, env=environment, stderr=subprocess.DEVNULL)
        try:
            until(lambda: answers(server))
            return time.monotonic() - begun
        finally:
            server.stop()

    return EACH, once


def answers(server):
    try:
        return ask(server, http.client.HTTPConnection("127.0.0.1", server.port, timeout=5))
    except OSError:
        return None


def ask(server, connection, method="GET", body=None, headers=()):
    connection.request(method, "/", body, dict(headers))
    response = connection.getresponse()
    content = response.read()
    assert response.status == 200, (server.command, response.status)
    return content


def reload(app):
    """Seconds from HUP until all of two workers are new, and one has answered."""

    def once(command):
        with Running(flags(command, "-w", "2"), app, both_cores=True) as server:
            old = until(lambda: workers(server, 2))
            begun = time.monotonic()
            server.process.send_signal(signal.SIGHUP)
            until(lambda: not old & children(server) and workers(server, 2))
            answers(server)
            return time.monotonic() - begun

    return BOTH, once


def memory():
    """MiB (PSS) of a worker, or of the one process, after requests."""

    def once(command):
        with Running(command, "hello") as server:
            measure.load(server, 1, {})
            pss = []
            for pid in family(server.process.pid):
                fields = dict(line.split(":") for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
                pss.append(int(fields["Pss"].split()[0]) / 1024)
            return max(pss)

    return EACH, once


def two_workers():
    """Requests a second of two workers over those of one, for calls that use the processor for 2 ms."""

    def once(command):
        rates = []
        for count in ("1", "2"):
            with Running(flags(command, "-w", count), "burn", both_cores=True) as server:
                rates.append(rate(server, 16))
        return rates[1] / rates[0]

    return BOTH, once


def spread():
    """Of 200 connections to two workers: the part of the one that has more, 0.5 where they are even."""

    def once(command):
        with Running(flags(command, "-w", "2"), "burn", both_cores=True) as server:
            seen, lock = Counter(), threading.Lock()

            def connect():
                for _ in range(25):
                    pid = ask(server, http.client.HTTPConnection("127.0.0.1", server.port, timeout=20))
                    with lock:
                        seen[pid] += 1

            together([connect] * 8)
            return max(seen.values()) / seen.total()

    return BOTH, once


def sleeping():
    """Of eight threads whose calls sleep for 10 ms: requests a second over the ideal 800."""
    threads = {"oxicorn": flags(OXICORN, "--threads", "8"), "gunicorn": flags(GUNICORN, "-k", "gthread", "--threads", "8")}

    def once(command):
        with Running(command, "sleep") as server:
            return rate(server, 32) / 800

    return threads, once


def crowd():
    """Milliseconds that 99 of 100 answers to 256 connections took at the most."""

    def once(command):
        with Running(command, "hello") as server:
            wrk = ["taskset", "-c", measure.CLIENT_CORE, "wrk", "-t1", "-c256", "-d3s", "-s", measure.HERE / "report.lua"]
            found = json.loads(measure.output(*wrk, f"http://{server.address}/").splitlines()[-1])
            return found["p99"] / 1000

    return {name: EACH[name] for name in ("oxicorn", "bjoern", "granian")}, once


def upload(app, size):
    """MiB a second of uploads as a multipart form, one after the other on one connection."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    form = head + b"x" * (size << 20) + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    def once(command):
        with Running(command, app) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            ask(server, connection, "POST", form, headers)
            count = max(2, 100 // size)
            begun = time.monotonic()
            for _ in range(count):
                assert int(ask(server, connection, "POST", form, headers)) == size << 20
            return count * size / (time.monotonic() - begun)

    return {name: EACH[name] for name in ("oxicorn", "gunicorn", "granian")}, once


def rate(server, connections):
    """Requests a second of so many clients, each on a connection that is kept where the server keeps it."""
    counts = []

    def client():
        connection, count = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20), 0
        while time.monotonic() < end:
            ask(server, connection)
            count += 1
        counts.append(count)

    begun = time.monotonic()
    end = begun + 3
    together([client] * connections)
    return sum(counts) / (time.monotonic() - begun)


def together(functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


SITUATIONS = {
    **{f"start, {app}": lambda app=app: start(app) for app in ("hello", "flask_app", "django_app")},
    **{f"reload, {app}": lambda app=app: reload(app) for app in ("hello", "flask_app", "django_app")},
    "memory": memory,
    "two workers": two_workers,
    "spread": spread,
    "sleeping": sleeping,
    "crowd": crowd,
    **{
        f"upload of {size} MiB, {app}": lambda app=app, size=size: upload(app, size)
        for app in ("flask_app", "django_app")
        for size in (1, 50)
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("situations", nargs="*", default=list(SITUATIONS), metavar="SITUATION")
    arguments = parser.parse_args()
    for name in arguments.situations:
        servers, once = SITUATIONS[name]()
        found = {server: [] for server in servers}
        for _ in range(arguments.rounds):
            for server, command in servers.items():
                found[server].append(once(command))
        for server, values in found.items():
            low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
            print(f"{name}; {server}: {low:.3f} {median:.3f} {high:.3f}", flush=True)


if __name__ == "__main__":
    main()
