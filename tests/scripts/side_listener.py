#!/usr/bin/env python3
"""The side listener under all that may go on: probes have their answer in time, and counters are exact and never run back.

    side_listener.py SERVER SIZE

SIZE is 1 for a short run; 50 HUPs, 1,000 kills and 20 upgrades take a size of 50, and calls of 10 s one of 10. SERVER is
examples/serve. A machine that has other things to do lets probes wait: what the two processes of a probe have waited for a
processor (proc_pid_schedstat(5)) is taken off the time that is held to the bound, and printed. Beside them the same is asked
of a server of a few lines, for comparison.

As root the disk is full for a while: a file system of its own, with the logs and the temporary files of bodies.
"""

import atexit
import contextlib
import http.client
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from serving import children

# A probe has its answer within this time (seconds).
BOUND = 0.1
APP = """
import ctypes, os, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sleep":
        time.sleep(float(environ["QUERY_STRING"]))
    elif path == "/hold":
        # C code that holds the interpreter. A signal ends sleep(3).
        end = time.monotonic() + int(environ["QUERY_STRING"])
        while time.monotonic() < end:
            ctypes.PyDLL(None).sleep(int(end - time.monotonic()) + 1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\\n"]
"""


# An application that takes its time to load, in C code that holds the interpreter.
SLOW = """
import ctypes, os, time
end = time.monotonic() + float(os.environ["BOOT"])
while time.monotonic() < end:
    ctypes.PyDLL(None).sleep(1)
from shop import app
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    def __init__(self, program, folder, *flags, app="shop:app", ready=True, **variables):
        self.port, self.status = free_port(), free_port()
        self.config = os.path.join(folder, "conf.py")
        self.pidfile = os.path.join(folder, "pid")
        if not os.path.exists(self.config):
            write(self.config, "")
        write(os.path.join(folder, "shop.py"), APP)
        write(os.path.join(folder, "slow.py"), SLOW)
        self.log = open(os.path.join(folder, "log"), "ab")
        self.process = subprocess.Popen(
            [
                os.path.abspath(program),
                *("-c", self.config, "--bind", f"127.0.0.1:{self.port}", "--status-bind", f"127.0.0.1:{self.status}"),
                *("--pythonpath", folder, "--pid", self.pidfile, "--upgrade-retire", *flags, app),
            ],
            env={**os.environ, **variables},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        # What a failure leaves behind.
        atexit.register(end_session, self.process.pid)
        self.wait("/readyz" if ready else "/livez")

    def ask(self, path, timeout=10):
        connection = http.client.HTTPConnection("127.0.0.1", self.status, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def wait(self, path="/readyz"):
        def answers():
            try:
                return self.ask(path)[0] == 200
            except OSError:
                return False

        wait(f"no 200 of {path}", answers)

    def companion(self):
        """The process that answers probes."""
        return next((pid for pid in children(self.state()["pid"]) if is_companion(pid)), None)

    def state(self):
        return json.loads(self.ask("/status")[1])

    def stop(self):
        pid = self.state()["pid"]
        os.kill(pid, signal.SIGTERM)
        wait("the arbiter does not end", lambda: not alive(pid))
        self.log.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def end_session(leader):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def is_companion(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().startswith("oxicorn: status")
    except OSError:
        return False


def waited(process):
    """The seconds that a thread was ready to run and did not."""
    try:
        with open(f"/proc/{process}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def wait(what, is_so, patience=60):
    end = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"FAILED: {what}")
        time.sleep(0.01)


class Prober(multiprocessing.Process):
    """Probes without a pause, and keeps the longest time of an answer, and how counters went."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.ends = server, multiprocessing.Value("b", 0, lock=False)
        self.results, self.sends = multiprocessing.Pipe(duplex=False)
        listener = socket.create_server(("127.0.0.1", 0))
        self.plain_address = listener.getsockname()
        self.plain = multiprocessing.Process(target=answer_plainly, args=(listener,), daemon=True)
        # The longest times: of an answer, the same without waiting for a processor, and of the comparison.
        self.longest = self.ours = self.compared = 0.0
        self.probes, self.failed, self.not_ready = 0, [], set()
        self.counters, self.backwards, self.pids = {}, [], []

    def start(self):
        self.plain.start()
        super().start()

    def run(self):
        companion = None
        while not self.ends.value:
            for path in ("/livez", "/readyz", "/metrics", "/status"):
                before, began = waited(companion) + waited("thread-self"), time.monotonic()
                try:
                    status, text = self.server.ask(path)
                except OSError as error:
                    self.failed.append(f"{path}: {error}")
                    continue
                took = time.monotonic() - began
                for_processors = max(waited(companion) + waited("thread-self") - before, 0)
                self.longest, self.probes = max(self.longest, took), self.probes + 1
                self.ours = max(self.ours, took - for_processors)
                if path == "/readyz" and status != 200:
                    self.not_ready.add(text.strip())
                elif path == "/metrics":
                    self.compare(text)
                elif path == "/status":
                    pid = json.loads(text)["pid"]
                    if self.pids[-1:] != [pid]:
                        self.pids.append(pid)
                    if not is_companion(companion):
                        companion = self.server.companion()
            began = time.monotonic()
            with socket.create_connection(self.plain_address) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                client.recv(4096)
            self.compared = max(self.compared, time.monotonic() - began)
            time.sleep(0.005)
        facts = ("longest", "ours", "compared", "probes", "failed", "not_ready", "backwards", "pids")
        self.sends.send({name: getattr(self, name) for name in facts})

    def compare(self, text):
        for name, value in re.findall(r"^(\S+(?:_total|_count|_bucket|_sum)(?:\{\S*\})?) (\S+)$", text, re.M):
            value = float(value)
            if value < self.counters.get(name, 0):
                self.backwards.append(f"{name}: {self.counters[name]} and then {value}")
            self.counters[name] = value

    def end(self, what):
        self.ends.value = 1
        vars(self).update(self.results.recv())
        self.join()
        self.plain.kill()
        longest, ours, compared = (f"{time * 1000:.1f} ms" for time in (self.longest, self.ours, self.compared))
        print(f"{what}: {self.probes} answers, the longest after {longest}", end=", ")
        print(f"{ours} without waiting for a processor; for comparison: {compared}", flush=True)
        wrong = self.failed[:3] + self.backwards[:3]
        if len(self.pids) != len(set(self.pids)):
            wrong.append(f"an arbiter answers again after another one: {self.pids}")
        if self.ours > BOUND:
            wrong.append(f"longer than {BOUND * 1000:.0f} ms")
        if wrong or not self.probes:
            raise SystemExit(f"FAILED: {what}: {wrong}")
        return self


def answer_plainly(listener):
    while True:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nalive\n")


class Load(multiprocessing.Process):
    """Asks again and again, and counts the answers that it had whole. A process, which takes no turn of the prober's."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.ends, self.answered, self.lost = (multiprocessing.Value("q", 0, lock=False) for _ in range(3))

    def run(self):
        connection = None
        while not self.ends.value:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                self.answered.value += answer.status == 200
            except (OSError, http.client.HTTPException):
                self.lost.value += 1
                connection.close()
                connection = None
        if connection:
            connection.close()


def end_loads(loads):
    """Ends them; how many answers and how many failures they had."""
    for load in loads:
        load.ends.value = 1
    for load in loads:
        load.join()
    return sum(load.answered.value for load in loads), sum(load.lost.value for load in loads)


def hold(server, count, target):
    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", target)
        try:
            connection.getresponse().read()
        except OSError:
            pass  # Its worker was killed.

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def busy(program, folder, seconds):
    server = Server(program, folder, "-w", "2", "--timeout", str(seconds + 3))
    for name, target in (("all workers are in a call", "/sleep"), ("C code holds every interpreter", "/hold")):
        held = hold(server, 2, f"{target}?{seconds}")
        wait("the workers are not busy", lambda: server.state()["in_flight"] == 2)
        prober = Prober(server)
        prober.start()
        time.sleep(max(seconds - 1, 1))
        prober.end(name)
        for thread in held:
            thread.join()
    # Past `timeout`: the workers hang, and are killed and replaced.
    hold(server, 2, f"/hold?{6 * seconds + 30}")
    wait("the workers are not busy", lambda: server.state()["in_flight"] == 2)
    prober = Prober(server)
    prober.start()
    wait("the workers are not replaced", lambda: server.state()["restarts"]["timeout"] >= 2)
    prober.end("workers hang, and are replaced")
    server.wait()
    write(server.config, f"import time\ntime.sleep({seconds})\n")
    os.kill(server.state()["pid"], signal.SIGHUP)
    wait("it does not reload", lambda: server.state()["state"] == "reloading")
    prober = Prober(server)
    prober.start()
    time.sleep(max(seconds - 0.5, 0.5))
    if prober.end("a configuration file sleeps").not_ready:
        raise SystemExit(f"FAILED: {prober.not_ready}")
    wait("the reload does not end", lambda: server.state()["state"] == "serving")
    server.stop()
    os.remove(server.config)


def boots(program, folder, seconds):
    """All workers load for so long, then the arbiter does."""
    for name, flags in (("workers boot", ["-w", "4"]), ("the arbiter loads the application", ["--preload"])):
        server = Server(program, folder, *flags, app="slow:app", ready=False, BOOT=str(seconds))
        prober = Prober(server)
        prober.start()
        time.sleep(seconds / 2)
        reasons = prober.end(name).not_ready
        if not reasons or not all(reason.startswith("not ready: booting") for reason in reasons):
            raise SystemExit(f"FAILED: {name}: {reasons}")
        server.wait()
        server.stop()


def full(program, folder, seconds):
    """The logs and the temporary files of bodies are on a full file system, where workers are killed and replaced."""
    disk = os.path.join(folder, "disk")
    os.makedirs(disk, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        print("left out: a full disk, since mount is not permitted here")
        return
    try:
        logs = [f"--{name}-logfile={disk}/{name}" for name in ("access", "error")]
        server = Server(program, folder, "-w", "2", *logs, f"--worker-tmp-dir={disk}", TMPDIR=disk)
        fill = os.path.join(disk, "fill")
        with open(fill, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass  # It is full.
        prober = Prober(server)
        prober.start()
        load = Load(server.port)
        load.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            victim = server.state()["workers"][0]["pid"]
            os.kill(victim, signal.SIGKILL)
            wait("it is not replaced", lambda: victim not in [it["pid"] for it in server.state()["workers"]])
            server.wait()
            status = upload(server.port, 4 << 20)
            if status not in (200, 503, 507):
                raise SystemExit(f"FAILED: an upload to a full disk is answered with {status}")
        generation = server.state()["generation"]
        os.kill(server.state()["pid"], signal.SIGHUP)
        wait("no new generation", lambda: server.state()["generation"] > generation)
        server.wait()
        answered, _ = end_loads([load])
        prober.end(f"the disk is full, and {answered} requests are answered")
        os.remove(fill)
        length = os.path.getsize(f"{disk}/access")
        upload(server.port, 1)
        wait("nothing is logged when there is room again", lambda: os.path.getsize(f"{disk}/access") > length)
        server.stop()
    finally:
        subprocess.run(["umount", disk], check=True)


def upload(port, length):
    """The status of a request with so long a body; 0 where it was broken off."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/", bytes(length))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def settled_count(server):
    """How many requests were answered. A client may have its answer a moment before that is counted."""
    counts = []

    def is_settled():
        state = server.state()
        counts.append(sum(state["requests"].values()))
        time.sleep(0.2)
        return state["in_flight"] == 0 and counts[-3:] == 3 * counts[-1:]

    wait("requests are still counted", is_settled)
    return counts[-1]


def counted(program, folder, hups, kills, upgrades):
    server = Server(program, folder, "-w", "4")
    prober = Prober(server)
    prober.start()
    loads = [Load(server.port) for _ in range(4)]
    for load in loads:
        load.start()

    def settled():
        state = server.state()
        return state["serving"] >= state["target"]

    for _ in range(hups):
        generation = server.state()["generation"]
        os.kill(server.state()["pid"], signal.SIGHUP)
        wait("no new generation", lambda: server.state()["generation"] > generation)
        wait("no workers", settled)
    for _ in range(upgrades):
        pid = server.state()["pid"]
        os.kill(pid, signal.SIGUSR2)
        wait("the other arbiter does not answer", lambda: server.state()["pid"] != pid, 120)
        wait("the old arbiter does not end", lambda: not alive(pid), 120)
    victims, patience = set(), time.monotonic() + 600
    while len(victims) < kills and time.monotonic() < patience:
        for worker in server.state()["workers"]:
            serves = worker["state"] in ("ready", "busy") and worker["pid"] not in victims
            if len(victims) < kills and serves:
                os.kill(worker["pid"], signal.SIGKILL)
                victims.add(worker["pid"])
        time.sleep(0.05)
    killed = len(victims)
    wait("no workers", settled)
    answered, lost = end_loads(loads)
    served, state = settled_count(server), server.state()
    print(f"  {answered} answers at the clients, {served} counted, {lost} connections lost to kills")
    # An answer is counted when it was sent: of a worker that is killed in between, one is missing.
    if abs(served - answered) > killed:
        raise SystemExit("FAILED: the counts differ by more than the kills")
    if state["restarts"]["signal"] != killed:
        raise SystemExit(f"FAILED: {state['restarts']} after {killed} kills")
    before = served
    quiet = [Load(server.port) for _ in range(4)]
    for load in quiet:
        load.start()
    time.sleep(1)
    exact, _ = end_loads(quiet)
    served = settled_count(server) - before
    print(f"  without kills: {exact} answers at the clients, {served} counted")
    if served != exact:
        raise SystemExit("FAILED: the counts differ")
    prober.end(f"{hups} HUPs, {upgrades} upgrades, {killed} kills")
    server.stop()


def promtool(program, folder):
    """Prometheus' own tool reads both forms, where it is installed."""
    from shutil import which

    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    if not which("promtool"):
        print("promtool is not installed (Debian: prometheus): the metrics and the rules were not checked with it")
        return
    server = Server(program, folder)
    text = server.ask("/metrics")[1]
    subprocess.run(["promtool", "check", "metrics"], input=text.encode(), check=True)
    rules = os.path.join(here, "examples/prometheus")
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "oxicorn.test.yml"]):
        subprocess.run(["promtool", *command], cwd=rules, check=True)
    server.stop()


def main():
    program, size = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        seconds = 10 if size >= 10 else 3
        busy(program, folder, seconds)
        boots(program, folder, seconds)
        full(program, folder, seconds)
        counted(program, folder, hups=size, kills=0, upgrades=max(1, 2 * size // 5))
        counted(program, folder, hups=0, kills=20 * size, upgrades=0)
        promtool(program, folder)
    print("all of it holds")


if __name__ == "__main__":
    main()
