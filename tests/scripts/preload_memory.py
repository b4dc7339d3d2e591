#!/usr/bin/env python3
"""Shows what a worker of a Django site costs in memory: cold, and preloaded.

usage: preload_memory.py SERVE [CALLS [WORKERS]] [-- FLAGS ...]

CALLS (default 1000) are made to each of WORKERS (default 4) workers, then their `smaps_rollup` is read. FLAGS go to
the server: `--venv DIR` names an environment with Django. Ends with status 0 if a preloaded worker has at most half
of a cold one's private memory.
"""
import contextlib
import http.client
import os
import pathlib
import re
import statistics
import sys
import tempfile

from serving import PATIENCE, ROOT, check, eventually, serving, split

SHARED_MEMORY = pathlib.Path("/dev/shm")
FIELDS = ("Rss", "Pss", "Private_Dirty")


@contextlib.contextmanager
def site(serve, workers, flags):
    """The Django site: its port, its workers' process ids, and its arbiter's."""
    # The site's database writes for each page: to memory, where there is such a folder.
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        flags = ["-w", str(workers), "--keep-alive", "60", "--pythonpath", str(ROOT / "examples" / "apps"), *flags]
        environment = {**os.environ, "DEMO_DATA": folder, "DJANGO_DEBUG": "0"}
        with serving(serve, "django_pid:application", flags, env=environment) as (server, port, _):

            def booted():
                pids = re.findall(r"Booting worker with pid: (\d+)", server.log.read_text())
                return len(pids) == workers and [int(pid) for pid in pids]

            yield port, eventually("the workers boot", booted), server.pid


def visit(client, cookie):
    """One page, from its session, its database and its templates: who made it, and the session's cookie."""
    client.request("GET", "/", headers={"Cookie": cookie})
    answer = client.getresponse()
    page = answer.read()
    check(f"{answer.status} {page[:200]}", answer.status == 200 and b"Visit" in page)
    return int(answer.getheader("X-Pid")), (answer.getheader("Set-Cookie") or cookie).partition(";")[0]


def call(port, pids, calls):
    """A connection stays with its worker, and the workers share connections evenly: so there is one for each."""
    clients, cookie = {}, ""
    with contextlib.ExitStack() as stack:
        while len(clients) < len(pids):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            stack.enter_context(contextlib.closing(client))
            pid, cookie = visit(client, cookie)
            clients[pid] = client
        for _ in range(calls - 1):
            for pid, client in clients.items():
                check("a connection changed its worker", visit(client, cookie)[0] == pid)


def memory(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return [int(re.search(rf"^{field}:\s+(\d+)", rollup, re.M)[1]) / 1024 for field in FIELDS]


def main():
    arguments, flags = split(sys.argv[1:])
    calls, workers = (int(text) for text in (arguments[1:] + ["1000", "4"][len(arguments) - 1 :]))
    private = {}
    for name, more in (("cold", []), ("preloaded", ["--preload"])):
        with site(arguments[0], workers, [*flags, *more]) as (port, pids, arbiter):
            call(port, pids, calls)
            columns = zip(*map(memory, pids))
            means = {field: statistics.mean(column) for field, column in zip(FIELDS, columns)}
            shown = ", ".join(f"{field} {mib:.1f}" for field, mib in means.items())
            own = ", ".join(f"{field} {mib:.1f}" for field, mib in zip(FIELDS, memory(arbiter)))
            print(f"{name}: {shown} MiB a worker; arbiter {own}")
            private[name] = means["Private_Dirty"]
    check("preloaded workers share too little", private["preloaded"] <= private["cold"] / 2)
    print(f"ok: {workers} workers, {calls} calls each")


if __name__ == "__main__":
    main()
