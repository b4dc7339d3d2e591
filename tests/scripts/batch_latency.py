#!/usr/bin/env python3
"""Shows what responses that leave together do to others' latency, where 1 % of the calls take 50 ms and the rest 75 us.

    tests/scripts/batch_latency.py target/release/examples/serve [ROUNDS]

Each round measures a server with --no-batch-responses and one without that flag, in turn: 32 kept connections, each of
which asks again as soon as it has its answer, for SECONDS. The latencies are those of the short calls. It prints medians
of the rounds, with quartiles. On a machine that is not idle, run it with `chrt -f 10`.
"""

import os
import random
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS, SECONDS, SLOW = 32, 4, 0.01
APP = '''
import time
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.05)
    end = time.perf_counter() + 75e-6
    while time.perf_counter() < end:
        pass
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
'''


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def measure(serve, folder, flags, share):
    """Latencies of short calls, in seconds."""
    port = free_port()
    command = [serve, "-b", f"127.0.0.1:{port}", "--chdir", folder, *flags, "mixed:app"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        connect(port).close()
        dice, clock = random.Random(7), time.perf_counter
        selector = selectors.DefaultSelector()
        begun, latencies = {}, []

        def ask(client):
            slow = dice.random() < share
            begun[client] = None if slow else clock()
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" if slow else b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

        for _ in range(CONNECTIONS):
            client = connect(port)
            selector.register(client, selectors.EVENT_READ)
            ask(client)
        end = clock() + SECONDS
        while clock() < end:
            for key, _ in selector.select(1):
                if not key.fileobj.recv(4096).endswith(b"ok"):
                    sys.exit("a response came in pieces, or not at all")
                if begun[key.fileobj] is not None:
                    latencies.append(clock() - begun[key.fileobj])
                ask(key.fileobj)
        return sorted(latencies)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def main():
    serve = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    kinds = {"each at once": ["--no-batch-responses"], "together": []}
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "mixed.py"), "w") as file:
            file.write(APP)
        for share in (0, SLOW):
            found = {kind: [] for kind in kinds}
            for _ in range(rounds):
                for kind, flags in kinds.items():
                    found[kind].append(measure(serve, folder, flags, share))
            print(f"{share:.0%} of calls at 50 ms; latency of the others in ms: median of {rounds} rounds (quartiles)")
            for kind, runs in found.items():
                row = [f"{kind:12} {statistics.median(len(run) for run in runs):8.0f} calls"]
                for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
                    values = [1000 * run[int(part * len(run))] for run in runs]
                    low, middle, high = statistics.quantiles(values, n=4) if rounds > 1 else values * 3
                    row.append(f"{name} {middle:.2f} ({low:.2f} to {high:.2f})")
                print("  ".join(row), flush=True)


main()
