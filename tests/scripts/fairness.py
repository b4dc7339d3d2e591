#!/usr/bin/env python3
"""Keeps all workers of `serve` busy, and measures whether all clients have the same of them.

usage: fairness.py SERVE [ROUNDS [MILLIS [CLIENTS ...]]] [-- FLAGS ...]

Each of CLIENTS (default 32 and 256) asks again as soon as it is answered, for calls of MILLIS (default 10), until
there were ROUNDS answers (default 15) for each: clients that keep their connections, clients that pipeline, and
clients that close theirs beside some that keep them; sync, with 1, 2, 4 and 8 threads, with one worker and with two;
one that sends without a pause beside others that do not. With FLAGS only the server with these is measured.

Ends with status 0 if each client has as many answers as the median of its kind, less or more a quarter or two, and
none has waited longer than three times what is ideal: clients times call over threads. Of two workers the kept
connections of each are a kind.
"""
import asyncio
import collections
import statistics
import sys
import time

from serving import check, connect, eventually, serving, split

# Of two or what a client has, beside what a busy machine does to it.
SLACK = 0.05
# Requests that a client which pipelines has on their way at any time.
AHEAD = 8


class Client(asyncio.Protocol):
    """Asks until it is told to stop."""

    def __init__(self, crowd, kind):
        self.crowd, self.kind = crowd, kind
        self.ahead = {"pipelines": AHEAD, "floods": 64}.get(kind, 1)
        self.answers, self.worst, self.worker = 0, 0, None
        self.begin()

    def begin(self):
        self.seen = b""
        self.since = time.monotonic()
        self.opening = asyncio.ensure_future(self.crowd.open(self))

    def connection_made(self, transport):
        self.transport, self.since = transport, time.monotonic()
        transport.write(self.crowd.request(self.kind) * self.ahead)

    def wait(self):
        """How long it has waited for what it waits for now, or the longest that it has."""
        return max(self.worst, time.monotonic() - self.since)

    def data_received(self, data):
        self.seen += data
        while not self.crowd.over:
            head, found, rest = self.seen.partition(b"\r\n\r\n")
            if not found:
                return
            check(f"an answer is {head!r}", head.startswith(b"HTTP/1.1 200"))
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(rest) < length:
                return
            body, self.seen = rest[:length].split(), rest[length:]
            self.worst, self.since = self.wait(), time.monotonic()
            self.answers += 1
            self.worker = int(body[0])
            self.crowd.answered(float(body[1]))
            if self.kind != "closes":
                self.transport.write(self.crowd.request(self.kind))

    def connection_lost(self, error):
        if not self.crowd.over:
            check(f"one that {self.kind} lost its connection: {error}", self.kind == "closes")
            self.begin()


class Crowd:
    """Clients of several kinds, and what they have seen."""

    def __init__(self, port, seconds, counts):
        self.port, self.seconds, self.counts = port, seconds, counts
        self.calls, self.took, self.over = 0, 0, False

    async def open(self, client):
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: client, "127.0.0.1", self.port)

    def request(self, kind):
        close = "Connection: close\r\n" if kind == "closes" else ""
        return f"GET /{self.seconds} HTTP/1.1\r\nHost: x\r\n{close}\r\n".encode()

    def answered(self, took):
        self.calls += 1
        self.took += took
        if self.calls >= self.enough:
            self.end.set()

    async def run(self, rounds):
        """The clients, after so many answers for each."""
        self.enough = rounds * sum(self.counts.values())
        self.end = asyncio.Event()
        clients = [Client(self, kind) for kind, count in self.counts.items() for _ in range(count)]
        # Ten times what it takes where nothing is wrong, if the machine is as fast as all that.
        patience = 10 + 10 * self.enough * self.seconds
        try:
            await asyncio.wait_for(self.end.wait(), patience)
        except asyncio.TimeoutError:
            check(f"{self.calls} answers in {patience:.0f} s, and not {self.enough}", False)
        for client in clients:
            client.worst = client.wait()
        self.over = True
        for client in clients:
            client.transport.abort()
        return clients


def all_ready(port, workers):
    """Whether so many workers answer, each of which is kept busy while the others are asked."""
    asked = []
    for _ in range(workers):
        asked.append(connect(port))
        asked[-1].sendall(b"GET /0.05 HTTP/1.0\r\n\r\n")
    pids = set()
    for client in asked:
        with client, client.makefile("rb") as answer:
            pids.add(answer.read().rpartition(b"\r\n\r\n")[2].split()[0])
    return len(pids) == workers


def measure(serve, flags, rounds, seconds, counts):
    """One line on one server and one crowd: whether it is fair."""
    workers, threads = (int(flags[flags.index(flag) + 1]) if flag in flags else 1 for flag in ("-w", "--threads"))
    with serving(serve, "takes:app", flags) as (_, port, _):
        eventually("all workers are ready", lambda: all_ready(port, workers))
        crowd = Crowd(port, seconds, counts)
        clients = asyncio.run(crowd.run(rounds))
    ideal = len(clients) * crowd.took / crowd.calls / threads / workers
    kinds = collections.defaultdict(list)
    for client in clients:
        # Who closes is now at this worker, now at that.
        kinds[client.kind, client.worker if client.kind != "closes" else None].append(client)
    said, wrong = [], []
    for (kind, _), those in sorted(kinds.items(), key=str):
        answers = sorted(client.answers for client in those)
        median, worst = statistics.median(answers), max(client.worst for client in those)
        said.append(f"{len(those)} {kind}: {answers[0]} to {answers[-1]} (median {median:g}), worst wait {worst:.2f} s")
        # Who has more of the connections than the other cannot give them as much.
        share = max(1, len(those) * workers / len(clients)) if len(counts) == 1 else 1
        if any(abs(n - median) > max(median / 4, 2) for n in answers) or worst > 3 * ideal * share + SLACK:
            wrong.append(kind)
    print(" ".join(flags) or "sync", "|", *said, f"| ideal {ideal:.2f} s", "| WRONG" if wrong else "", flush=True)
    return not wrong


def main():
    arguments, flags = split(sys.argv[1:])
    serve, rounds, millis, *sizes = [*arguments, *["15", "10"][len(arguments) - 1 :]]
    rounds, seconds = int(rounds), float(millis) / 1000
    sizes = [int(size) for size in sizes] or [32, 256]
    servers = [flags] if flags else [
        ["-w", str(workers), "--threads", str(threads)] for workers in (1, 2) for threads in (1, 2, 4, 8)
    ]
    fair = True
    for size in sizes:
        for server in servers:
            for counts in (
                {"keeps": size},
                {"pipelines": size},
                {"keeps": size // 2, "closes": size - size // 2},
                {"keeps": size - 1, "floods": 1},
            ):
                fair &= measure(serve, server, rounds, seconds, counts)
    check("some clients have more than others, or wait too long", fair)


if __name__ == "__main__":
    main()
