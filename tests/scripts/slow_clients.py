#!/usr/bin/env python3
"""Attacks `serve -w 1` with slow clients of every kind at once, and measures what an ordinary one notices.

usage: slow_clients.py SERVE [PERCENT [RUNS]] [-- FLAGS ...]

PERCENT (default 100) scales the attack: 500 clients that send one byte a second, half of them within a body;
200 that never read a response of 4 MiB; 200 that send nothing. RUNS (default 5) are measured and the median
counts. FLAGS go to the server. Ends with status 0 if the ordinary client's 99th percentile stays within three
times its quiet value or 10 ms, the larger.
"""
import contextlib
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 20
REQUESTS = 1000


def connect(port):
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def percentile_99(port):
    """Seconds, of an ordinary client's kept-alive requests."""
    took = []
    with connect(port) as client:
        for _ in range(REQUESTS):
            start = time.perf_counter()
            client.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = client.recv(65536)
            took.append(time.perf_counter() - start)
            if not answer.startswith(b"HTTP/1.1 200"):
                sys.exit(f"wrong: an ordinary client got {answer[:60]!r}")
            # More than any client sends, and less than makes this client the load itself.
            time.sleep(0.001)
    return statistics.quantiles(took, n=100)[98]


class Attack(threading.Thread):
    """Slow clients, until it is told to stop. A client that the server gives up on comes again."""

    HEAD = b"GET /small HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"s" * 4000
    BODY = b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n"

    def __init__(self, port, percent):
        super().__init__(daemon=True)
        self.port = port
        self.counts = {kind: max(1, n * percent // 100) for kind, n in
                       {"head": 250, "body": 250, "deaf": 200, "silent": 200}.items()}
        self.stopped = threading.Event()
        self.ready = threading.Event()

    def begin(self, kind):
        client = connect(self.port)
        if kind == "body":
            client.sendall(self.BODY)
        elif kind == "deaf":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        client.setblocking(False)
        return client

    def run(self):
        clients = [[kind, self.begin(kind), 0] for kind, n in self.counts.items() for _ in range(n)]
        self.ready.set()
        while not self.stopped.wait(1):
            for entry in clients:
                kind, client, sent = entry
                try:
                    if kind == "head":
                        client.send(self.HEAD[sent : sent + 1])
                    elif kind == "body":
                        client.send(b"b")
                    entry[2] += 1
                except OSError:
                    client.close()
                    entry[1:] = [self.begin(kind), 0]
        for _, client, _ in clients:
            client.close()


def memory_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


@contextlib.contextmanager
def serving(serve, flags):
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "log")
        with open(log, "w") as stderr:
            server = subprocess.Popen(
                [serve, "-b", "127.0.0.1:0", "-w", "1", "--chdir", str(ROOT / "tests" / "apps"), *flags, "attacked:app"],
                stderr=stderr,
            )
        end = time.monotonic() + PATIENCE
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)[\s\S]*Booting worker with pid: (\d+)", log.read_text())):
            if time.monotonic() > end or server.poll() is not None:
                sys.exit("the server did not start: " + log.read_text())
            time.sleep(0.02)
        try:
            yield int(found[1]), int(found[2])
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE)


def main():
    arguments = sys.argv[1:]
    flags = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, flags = arguments[:at], arguments[at + 1 :]
    serve = str(pathlib.Path(arguments[0]).resolve())
    percent, runs = (int(text) for text in (arguments[1:] + ["100", "5"][len(arguments) - 1 :]))
    ratios = []
    for run in range(runs):
        with serving(serve, flags) as (port, worker):
            percentile_99(port)
            quiet = percentile_99(port)
            attack = Attack(port, percent)
            attack.start()
            if not attack.ready.wait(PATIENCE * 3):
                sys.exit("the attack did not begin")
            attacked = percentile_99(port)
            resident = memory_mib(worker)
            attack.stopped.set()
            attack.join()
        bound = max(3 * quiet, 0.010)
        ratios.append(attacked / bound)
        print(
            f"run {run + 1}: p99 {quiet * 1000:.2f} ms quiet, {attacked * 1000:.2f} ms attacked "
            f"(bound {bound * 1000:.1f} ms); worker {resident} MiB"
        )
    if statistics.median(ratios) > 1:
        sys.exit("wrong: slow clients delay an ordinary one")
    print(f"ok: {sum(attack.counts.values())} slow clients, {' '.join(flags) or 'sync'}")


if __name__ == "__main__":
    main()
