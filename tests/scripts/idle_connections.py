#!/usr/bin/env python3
"""Leaves thousands of kept-alive connections idle, and measures what an ordinary client notices of them.

usage: idle_connections.py SERVE [CONNECTIONS [RUNS]] [-- FLAGS ...]

CONNECTIONS (default 5000) clients ask once and then keep still. RUNS (default 5) are measured and the median counts.
FLAGS go to the server, which is started with room for them and a soft limit of 256 descriptors: it must raise that by
itself. Ends with status 0 if the ordinary client's 99th percentile stays within three times its quiet value or 10 ms,
the larger, and every idle connection still answers afterwards.
"""
import resource
import statistics
import sys

from serving import bound, check, connect, memory_mib, percentile_99, serving, split, with_descriptors


def ask(client):
    client.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = client.recv(65536)
    check(f"an idle client got {answer[:60]!r}", answer.startswith(b"HTTP/1.1 200"))


def main():
    arguments, flags = split(sys.argv[1:])
    count, runs = (int(text) for text in (arguments[1:] + ["5000", "5"][len(arguments) - 1 :]))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    check(f"the hard limit of {hard} descriptors is too low", hard > count + 1000 or hard < 0)
    room = ["--worker-connections", str(count + 1000), "--keep-alive", "600", *flags]
    ratios = []
    for run in range(runs):
        limited = with_descriptors(256)
        with serving(arguments[0], "attacked:app", room, preexec_fn=limited) as (_, port, worker):
            with_descriptors(hard)()
            percentile_99(port)
            quiet, before = percentile_99(port), memory_mib(worker)
            idle = [connect(port) for _ in range(count)]
            for client in idle:
                ask(client)
            among_idle, resident = percentile_99(port), memory_mib(worker)
            for client in idle:
                ask(client)
                client.close()
        ratios.append(among_idle / bound(quiet))
        print(
            f"run {run + 1}: p99 {quiet * 1000:.2f} ms quiet, {among_idle * 1000:.2f} ms among {count} idle "
            f"(bound {bound(quiet) * 1000:.1f} ms); worker {before:.0f} MiB, then {resident:.0f} MiB, "
            f"{(resident - before) * 1024 / count:.1f} KiB a connection"
        )
    check("idle connections delay an ordinary client", statistics.median(ratios) <= 1)
    print(f"ok: {count} idle connections, {' '.join(flags) or 'sync'}")


if __name__ == "__main__":
    main()
