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
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED_MEMORY = pathlib.Path("/dev/shm")
PATIENCE = 60
FIELDS = ("Rss", "Pss", "Private_Dirty")


def wait_for(what, ask):
    end = time.monotonic() + PATIENCE
    while not (answer := ask()):
        if time.monotonic() > end:
            sys.exit(f"no {what} in time")
        time.sleep(0.02)
    return answer


@contextlib.contextmanager
def serving(serve, workers, flags):
    # The site's database writes for each page: to memory, where there is such a folder.
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        log = pathlib.Path(folder, "log")
        with open(log, "w") as stderr:
            server = subprocess.Popen(
                [serve, "-b", "127.0.0.1:0", "-w", str(workers), "--keep-alive", "60", "--chdir", str(ROOT / "tests" / "apps"),
                 "--pythonpath", str(ROOT / "examples" / "apps"), *flags, "django_pid:application"],
                stderr=stderr,
                env={**os.environ, "DEMO_DATA": folder, "DJANGO_DEBUG": "0"},
            )
        try:
            port = wait_for("port", lambda: re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text()))
            booted = lambda: re.findall(r"Booting worker with pid: (\d+)", log.read_text())
            pids = wait_for("workers", lambda: len(booted()) == workers and booted())
            yield int(port[1]), [int(pid) for pid in pids], server.pid
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE)


def visit(client, cookie):
    """One page, from its session, its database and its templates: who made it, and the session's cookie."""
    client.request("GET", "/", headers={"Cookie": cookie})
    answer = client.getresponse()
    page = answer.read()
    if answer.status != 200 or b"Visit" not in page:
        sys.exit(f"wrong: {answer.status} {page[:200]}")
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
                if visit(client, cookie)[0] != pid:
                    sys.exit("wrong: a connection changed its worker")


def memory(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return [int(re.search(rf"^{field}:\s+(\d+)", rollup, re.M)[1]) / 1024 for field in FIELDS]


def main():
    arguments, flags = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, flags = arguments[:at], arguments[at + 1 :]
    serve = str(pathlib.Path(arguments[0]).resolve())
    calls, workers = (int(text) for text in (arguments[1:] + ["1000", "4"][len(arguments) - 1 :]))
    private = {}
    for name, more in (("cold", []), ("preloaded", ["--preload"])):
        with serving(serve, workers, [*flags, *more]) as (port, pids, arbiter):
            call(port, pids, calls)
            columns = zip(*map(memory, pids))
            means = {field: statistics.mean(column) for field, column in zip(FIELDS, columns)}
            shown = ", ".join(f"{field} {mib:.1f}" for field, mib in means.items())
            own = ", ".join(f"{field} {mib:.1f}" for field, mib in zip(FIELDS, memory(arbiter)))
            print(f"{name}: {shown} MiB a worker; arbiter {own}")
            private[name] = means["Private_Dirty"]
    if private["preloaded"] > private["cold"] / 2:
        sys.exit("wrong: preloaded workers share too little")
    print(f"ok: {workers} workers, {calls} calls each")


if __name__ == "__main__":
    main()
