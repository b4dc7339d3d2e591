#!/usr/bin/env python3
"""Attacks `serve -w 1` with slow clients of every kind at once, and measures what an ordinary one notices.

usage: slow_clients.py SERVE [PERCENT [RUNS]] [-- FLAGS ...]

PERCENT (default 100) scales the attack: 500 clients that send one byte a second, half of them within a body;
200 that never read a response of 4 MiB; 200 that send nothing. RUNS (default 5) are measured and the median
counts. FLAGS go to the server. Ends with status 0 if the ordinary client's 99th percentile stays within three
times its quiet value or 10 ms, the larger.
"""
import socket
import statistics
import sys
import threading

from serving import PATIENCE, bound, check, connect, memory_mib, percentile_99, serving, split


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


def main():
    arguments, flags = split(sys.argv[1:])
    percent, runs = (int(text) for text in (arguments[1:] + ["100", "5"][len(arguments) - 1 :]))
    ratios = []
    for run in range(runs):
        with serving(arguments[0], "attacked:app", flags) as (_, port, worker):
            percentile_99(port)
            quiet = percentile_99(port)
            attack = Attack(port, percent)
            attack.start()
            check("the attack did not begin", attack.ready.wait(PATIENCE * 3))
            attacked = percentile_99(port)
            resident = memory_mib(worker)
            attack.stopped.set()
            attack.join()
        ratios.append(attacked / bound(quiet))
        print(
            f"run {run + 1}: p99 {quiet * 1000:.2f} ms quiet, {attacked * 1000:.2f} ms attacked "
            f"(bound {bound(quiet) * 1000:.1f} ms); worker {resident:.0f} MiB"
        )
    check("slow clients delay an ordinary one", statistics.median(ratios) <= 1)
    print(f"ok: {sum(attack.counts.values())} slow clients, {' '.join(flags) or 'sync'}")


if __name__ == "__main__":
    main()
