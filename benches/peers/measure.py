#!/usr/bin/env python3
"""Measures servers side by side, and writes what it has found as JSON: see docs/PERFORMANCE.md.

usage: measure.py [--rounds N] [--seconds N] [--workloads A;B] [--servers A;B] [--out FILE]

Makes a virtual environment with the servers of requirements.txt, and builds those of Rust, under target/peers. All servers of
a workload run at once, idle but for the one under load, and the rounds go from server to server, so that a slow moment of
the machine hits all alike. A server has one worker on the first core, and the client (wrk) has the second core. CPU time is
that of all threads of all of the server's processes, in nanoseconds, as the scheduler counts it (proc_pid_schedstat(5)).
Where the machine is a virtual one, a round in which its host took more than half a percent of the processors away is made
again, five times at the most: how much was taken from the round that counts stands with it.
Then each server that has Flask is asked at constant rates, which are parts of what the first one of the list can do.

All traffic stays on 127.0.0.1. A server that cannot be installed, or answers wrongly, is left out with a line.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = ROOT / "target" / "peers"
VENV = TARGET / "venv"
SERVER_CORE, CLIENT_CORE = "0", "1"
CONNECTIONS = 32
RATES = [0.3, 0.6, 0.9]


def python(code):
    return [VENV / "bin" / "python", "-c", f"import applications, sys; port = int(sys.argv[1]); {code}", "{port}"]


def oxicorn(*flags):
    return [TARGET / "release" / "examples" / "serve", "-b", "{address}", *flags, "applications:{app}"]


# Commands; {address}, {port} and {app} are filled in. The first one of a group is the one that others are compared with.
WSGI = {
    "oxicorn": oxicorn(),
    "oxicorn, threads 4": oxicorn("--threads", "4"),
    "bjoern": python("import bjoern; bjoern.run(applications.{app}, '127.0.0.1', port)"),
    "fastwsgi": python("import fastwsgi; fastwsgi.run(wsgi_app=applications.{app}, host='127.0.0.1', port=port, loglevel=2)"),
    "granian": [VENV / "bin" / "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--host", "127.0.0.1",
                "--port", "{port}", "--workers", "1", "--log-level", "warning", "applications:{app}"],
    "uwsgi": [VENV / "bin" / "uwsgi", "--master", "--processes", "1", "-H", VENV, "-w", "applications:{app}", "--need-app",
              "--die-on-term", "--disable-logging", "--listen", "1024", "--http11-socket", "{address}"],
    "gunicorn gthread": [VENV / "bin" / "gunicorn", "-b", "{address}", "-k", "gthread", "--threads", "4",
                         "--log-level", "warning", "applications:{app}"],
    "waitress": [VENV / "bin" / "waitress-serve", "--listen={address}", "applications:{app}"],
}
RUST = {
    "oxicorn": [TARGET / "release" / "hello", "{address}"],
    "floor": [TARGET / "release" / "floor", "{address}"],
    "axum": [TARGET / "release" / "axum", "{address}"],
    "actix-web": [TARGET / "release" / "actix", "{address}"],
}
# What a server does not do as WSGI has it, and the workloads in which it does less than others for that.
LACKS = {
    "bjoern": ("its blocks wait for each other", {"stream of 64 blocks"}),
    "fastwsgi": ("its blocks wait for each other, and `close` is never called", {"stream of 64 blocks", "flask", "django"}),
    "uwsgi": ("nothing says where a response of no known length ends", {"stream of 64 blocks"}),
}
# Name: servers, application, and the client's settings.
WORKLOADS = {
    "hello, no Python": (RUST, "", {}),
    "hello": ({**WSGI, "floor": RUST["floor"]}, "hello", {}),
    "hello, a connection each": (WSGI, "hello", {"PEERS_CLOSE": "1"}),
    "json": (WSGI, "to_json", {}),
    "10 fields more in, and out": (WSGI, "fields", {"PEERS_FIELDS": "10"}),
    "100 KiB": (WSGI, "big", {}),
    "stream of 64 blocks": (WSGI, "stream", {}),
    "echo of 64 KiB": (WSGI, "echo", {"PEERS_BODY": "65536"}),
    "file of 1 MiB": (WSGI, "file", {}),
    "flask": (WSGI, "flask_app", {}),
    "django": (WSGI, "django_app", {}),
}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def prepare(features=""):
    """Builds and installs what is to be measured."""
    build = ["cargo", "build", "--quiet", "--release", "--target-dir", TARGET]
    subprocess.run([*build, "--locked", "--features", features, "--example", "serve"], cwd=ROOT, check=True)
    subprocess.run(build, cwd=HERE / "rust", check=True)
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    for line in (HERE / "requirements.txt").read_text().splitlines():
        if not line.startswith("#"):
            installed = subprocess.run([VENV / "bin" / "pip", "install", "-q", line], capture_output=True, text=True)
            if installed.returncode:
                print(f"left out: {line} cannot be installed: {installed.stderr.strip().splitlines()[-1]}", flush=True)


def family(root):
    """A process and all that descends from it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, size = {root}, 0
    while size != len(found):
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


def cpu_nanoseconds(root):
    total = 0
    for pid in family(root):
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(task.read_text().split()[0])
    return total


class Server:
    def __init__(self, command, app, scheme="http"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"{scheme}://{self.address}/"
        words = {"{address}": self.address, "{port}": str(self.port), "{app}": app}
        self.command = [re.sub(r"\{\w+\}", lambda found: words[found[0]], str(word)) for word in command]
        self.process = None

    def start(self, body):
        """Starts it, and returns what is wrong with its answer, if anything is."""
        environment = dict(os.environ, PYTHONPATH=str(HERE), VIRTUAL_ENV=str(VENV))
        log = open(TARGET / "server.log", "w")
        try:
            self.process = subprocess.Popen(
                ["taskset", "-c", SERVER_CORE, *self.command], cwd=HERE, env=environment, stdout=log, stderr=log
            )
        except OSError as error:
            return str(error)
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:
                request = urllib.request.Request(self.url, b"b" * body if body else None)
                # No certificate is believed or not: the server is this machine's.
                with urllib.request.urlopen(request, timeout=5, context=ssl._create_unverified_context()) as answer:
                    answer.read()
                return None
            except urllib.error.HTTPError as error:
                return f"it answers with {error.code}"
            except OSError:
                time.sleep(0.05)
        return "it does not answer"

    def stop(self):
        if self.process is None:
            return
        pids = family(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            self.process.wait()


def load(server, seconds, settings):
    """One round: requests a second, CPU microseconds a request, and latencies in microseconds."""
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s",
               "-s", HERE / "report.lua", server.url]
    before = cpu_nanoseconds(server.process.pid)
    ran = subprocess.run(command, env=dict(os.environ, **settings), capture_output=True, text=True, check=True)
    cpu = cpu_nanoseconds(server.process.pid) - before
    found = json.loads(ran.stdout.strip().splitlines()[-1])
    requests = max(found["requests"], 1)
    return {
        "requests_per_second": requests / found["seconds"],
        "cpu_us": cpu / 1000 / requests,
        **{key: found[key] for key in ("errors", "p50", "p99", "p999")},
    }


def constant_rate(server, rate, seconds):
    command = ["taskset", "-c", CLIENT_CORE, TARGET / "release" / "constant_rate"]
    return json.loads(output(*command, server.address, str(rate), str(seconds), str(CONNECTIONS)))


def stolen_ticks():
    """What the host of a virtual machine has given to others while this one had work (proc_stat(5))."""
    return int(pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])


def undisturbed(once):
    """A round of its own, or the best of some where the host of the machine takes processors away."""
    best = None
    for _ in range(6):
        begun, before = time.monotonic(), stolen_ticks()
        found = once()
        ticks = (time.monotonic() - begun) * os.sysconf("SC_CLK_TCK") * os.cpu_count()
        found["stolen"] = round((stolen_ticks() - before) / ticks, 4)
        if best is None or found["stolen"] < best["stolen"]:
            best = found
        if best["stolen"] <= 0.005:
            break
    return best


def machine():
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    versions = output(VENV / "bin" / "pip", "freeze").splitlines()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": output("git", "-C", ROOT, "rev-parse", "--short", "HEAD"),
        "compiler": output("rustc", "--version"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "processor": f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "versions": [line for line in versions if re.match(r"(?i)(bjoern|django|fastwsgi|flask|granian|gunicorn|uwsgi|waitress)=", line)],
    }


def as_lines(results):
    """JSON with a line for each round."""
    rows = {key: ",\n".join(json.dumps(row) for row in results[key]) for key in ("rounds", "rates")}
    parts = [f'"machine": {json.dumps(results["machine"])}', *(f'"{key}": [\n{text}\n]' for key, text in rows.items())]
    return "{" + ",\n".join(parts) + "}\n"


def measure(name, arguments, results):
    servers, app, settings = WORKLOADS[name]
    body = int(settings.get("PEERS_BODY", 0))
    running, rounds = {}, []
    try:
        for server_name, command in servers.items():
            if arguments.servers and server_name not in arguments.servers:
                continue
            reason, workloads = LACKS.get(server_name, ("", ()))
            server = Server(command, app)
            wrong = reason if name in workloads else server.start(body)
            if wrong:
                print(f"left out: {name}, {server_name}: {wrong}", flush=True)
                server.stop()
            else:
                running[server_name] = server
        # The first round only warms them up.
        for number in range(-1, arguments.rounds):
            for server_name, server in list(running.items()):
                try:
                    found = undisturbed(lambda server=server: load(server, arguments.seconds, settings))
                except subprocess.CalledProcessError as error:
                    print(f"left out: {name}, {server_name}: it does not answer any more: {error.stderr.strip()}", flush=True)
                    running.pop(server_name).stop()
                    continue
                rounds.append({"workload": name, "server": server_name, "round": number, **found})
        results["rounds"] += [row for row in rounds if row["round"] >= 0 and row["server"] in running]
        if app == "flask_app" and running:
            measure_rates(running, arguments, results)
    finally:
        for server in running.values():
            server.stop()


def measure_rates(running, arguments, results):
    first = next(iter(running))
    rounds = [row for row in results["rounds"] if row["workload"] == "flask" and row["server"] == first]
    capacity = statistics.median(row["requests_per_second"] for row in rounds)
    for part in RATES:
        for number in range(arguments.rounds):
            for server_name, server in running.items():
                rate = round(part * capacity)
                found = undisturbed(lambda server=server, rate=rate: constant_rate(server, rate, arguments.seconds))
                results["rates"].append({"server": server_name, "of": first, "part": part, "round": number, **found})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--workloads", type=lambda text: text.split(";"), default=list(WORKLOADS), help="separated by ;")
    parser.add_argument("--servers", type=lambda text: text.split(";"), default=[], help="separated by ;")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "performance" / "results.json")
    arguments = parser.parse_args()
    prepare()
    results = {"machine": machine(), "rounds": [], "rates": []}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.workloads:
        measure(name, arguments, results)
        # What was measured stays, also where a later workload fails.
        arguments.out.write_text(as_lines(results))
        print(f"measured: {name}", flush=True)


if __name__ == "__main__":
    main()
