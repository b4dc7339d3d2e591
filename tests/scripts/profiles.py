#!/usr/bin/env python3
"""Takes profiles of workers under load: does the application take any harm, and what do they cost?

usage: profiles.py SERVE [SAMPLES [ROUNDS [SECONDS]]] [-- FLAGS ...]

- SAMPLES stacks (default 1,000,000, which takes five minutes on two processors) of an application with all sorts of calls are
  taken, 100 a second of each thread, while workers reach `max_requests` and are replaced. Each request must be answered with a
  200, no worker may crash, and no system call of the application may fail with EINTR.
- The function that takes most of the time of a Flask application is the one that most samples met. Flask is measured where FLAGS, which
  are the server's, have a `--venv` with it.
- ROUNDS times (default 10), for SECONDS (default 5) each, the processor time a request without and with a profile are measured
  in turn, and the requests a second. A profile costs the same however many requests there are, so what it costs is the share
  of a processor that each worker uses more, which is what a busy one has less: at most 5 %, once there are 10 rounds. The
  requests a second mean something on a machine that has nothing else to do.
"""
import http.client
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter

from serving import PATIENCE, check, children, command, eventually, serving, split

RATE = 100
MOST_PERCENT = 5
WORKERS = 2


class Client(multiprocessing.Process):
    """Some connections that ask without a pause, and forgive nothing."""

    def __init__(self, port, connections):
        super().__init__(daemon=True)
        self.port, self.connections = port, connections
        self.ends, self.answered, self.failed = (multiprocessing.Value("q", 0) for _ in range(3))

    def ask(self):
        connection = None
        while not self.ends.value:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=6 * PATIENCE)
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise OSError(answer.status)
                with self.answered:
                    self.answered.value += 1
            except (OSError, http.client.HTTPException) as error:
                print(f"  a request failed: {error!r}", flush=True)
                with self.failed:
                    self.failed.value += 1
                return

    def run(self):
        threads = [threading.Thread(target=self.ask) for _ in range(self.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def __enter__(self):
        self.start()
        eventually("an answer", lambda: self.answered.value, 6 * PATIENCE)
        return self

    def __exit__(self, *_):
        self.ends.value = 1
        self.join()


def profile(control, seconds):
    return command(control, f"profile {seconds} {RATE}", seconds + 6 * PATIENCE)


def sample(serve, folder, flags, samples):
    control = os.path.join(folder, "mixed")
    # A thread that waits for a processor is sampled, too, and one that has no request is not: so there are many workers.
    workers = "4" if samples < 100_000 else "32"
    flags = [*flags, "--control-socket", control, "-w", workers, "--threads", "4", "--timeout", "120"]
    # A connection that a slow client leaves idle is not closed under its next request.
    flags += ["--max-requests", "3000", "--max-requests-jitter", "1000", "--keep-alive", "120"]
    taken = stacks = profiles = 0
    seconds = 1 if samples < 100_000 else 20
    with serving(serve, "profiled:mixed", flags) as (server, port, _), Client(port, 64) as client:
        await_workers(server)
        while taken < samples:
            told = profile(control, seconds)
            taken, profiles = taken + told["samples"], profiles + 1
            stacks = max(stacks, len(told["folded"].splitlines()))
            check(f"{told['workers']} workers have sampled", told["workers"] >= 1)
            if profiles % 10 == 0:
                print(f"  {taken} samples, {client.answered.value} requests", flush=True)
        status = command(control, "status")
        client.ends.value = 1
        client.join()
        for _ in range(50):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/told")
            wrong = json.loads(connection.getresponse().read())
            check(f"system calls of the application: {wrong}", not wrong)
        restarts = status["restarts"]
        log = server.log.read_text()
        check(f"{client.failed.value} requests failed\n{log}", not client.failed.value)
        check(f"workers were replaced: {restarts}\n{log}", not set(restarts) - {"max_requests"})
        check("a traceback or a panic:\n" + log, "Traceback" not in log and "panicked" not in log)
    print(f"{taken} samples in {profiles} profiles, at most {stacks} stacks in one, {client.answered.value} requests,", end=" ")
    print(f"{restarts.get('max_requests', 0)} workers replaced: none failed", flush=True)


def await_workers(server):
    """Until all of them serve: one that still loads would be sampled, too."""
    eventually("all workers are ready", lambda: "Ready in " in server.log.read_text(), 6 * PATIENCE)


def used(server):
    """The processor seconds of all threads of all workers (proc_pid_schedstat(5))."""
    total = 0
    for pid in children(server.pid):
        for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
    return total / 1e9


def cost(serve, folder, name, app, flags, rounds, seconds):
    control = os.path.join(folder, "cost")
    flags = [*flags, "--control-socket", control, "-w", str(WORKERS), "--timeout", "120"]
    rows = {False: [], True: []}
    with serving(serve, app, flags) as (server, port, _), Client(port, 8) as client:
        await_workers(server)
        for turn in range(2 * rounds):
            # Each is first in half of the pairs.
            with_profile = turn % 4 in (1, 2)
            began, before, answered = time.monotonic(), used(server), client.answered.value
            if with_profile:
                told = profile(control, seconds)
            else:
                time.sleep(seconds)
            took, processor = time.monotonic() - began, used(server) - before
            requests = client.answered.value - answered
            check("no request was answered", requests)
            rows[with_profile].append((processor / requests, requests / took))
    check(f"{client.failed.value} requests failed", not client.failed.value)
    (before, rate), (after, profiled) = ([statistics.median(column) for column in zip(*rows[it])] for it in (False, True))
    innermost = Counter()
    for line in told["folded"].splitlines():
        stack, count = line.rsplit(" ", 1)
        innermost[stack.rpartition(";")[2].split(" ")[0]] += int(count)
    (hottest, count), *_ = innermost.most_common(1)
    percent = 100 * (after - before) * profiled / WORKERS
    print(f"{name}: {before * 1e6:.0f} and {after * 1e6:.0f} µs a request,", end=" ")
    print(f"{percent:+.1f} % of a processor for each worker,", end=" ")
    print(f"{rate:.0f} and {profiled:.0f} requests a second ({100 * (profiled / rate - 1):+.1f} %);", end=" ")
    print(f"{hottest} is in {100 * count / told['samples']:.0f} % of {told['samples']} samples", flush=True)
    check("another function is the hottest", hottest == "burn")
    check(f"a profile costs {percent:.1f} %", percent <= MOST_PERCENT or rounds < 10)


def main():
    arguments, flags = split(sys.argv[1:])
    serve, *numbers = arguments
    samples, rounds, seconds = (int(it) for it in [*numbers, *(1_000_000, 10, 5)[len(numbers) :]])
    with tempfile.TemporaryDirectory() as folder:
        sample(serve, folder, flags, samples)
        for app in ("plain", "busy") if "--venv" in flags else ("plain",):
            for more in ([], ["--threads", "4"]):
                name = " ".join([{"plain": "Python", "busy": "Flask"}[app], *more])
                cost(serve, folder, name, f"profiled:{app}", [*flags, *more], rounds, seconds)
        if "--venv" not in flags:
            print("left out: Flask, for want of a --venv")


if __name__ == "__main__":
    main()
