#!/usr/bin/env python3
"""Sends an arbiter mixed signals by surprise: at its start, during reloads, and during upgrades.

usage: signal_storm.py SERVE [COUNT [SEED]] [-- FLAGS ...]

COUNT (default 500) signals go to each of the three scenes; SEED (default: the time) chooses them, and is printed. At
its start a server may be ended by what it gets; otherwise clients are at work, and the signals are those that lose
nothing. Ends with status 0 if every request was answered, and nothing is left of any server: no process, no socket, no
pid file.
"""
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from serving import PATIENCE, ROOT, check, eventually, split

HARMLESS = [signal.SIGUSR1, signal.SIGCHLD]
RELOADING = [*HARMLESS, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU]
ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
# Each burst of a start has a server of its own.
BURST = 25
# Each burst of an upgrade has an upgrade of its own.
UPGRADE = 50
CLIENTS = 8


def session(leader):
    """The living processes of a session (proc_pid_stat(5))."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def send(pid, number):
    """Sends a signal to a process that may have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Server:
    """A server in a session of its own, on a Unix socket and with a pid file."""

    def __init__(self, serve, folder, flags):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / "socket"
        self.pid = self.folder / "pid"
        self.log = self.folder / "log"
        command = [str(pathlib.Path(serve).resolve()), "-b", f"unix:{self.socket}", "--pid", str(self.pid)]
        command += ["-w", "2", "--chdir", str(ROOT / "tests" / "apps"), *flags, "attacked:app"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, start_new_session=True)

    def wrote(self, text):
        return self.log.read_text().count(text)

    def arbiters(self):
        """The arbiters that have a pid file: the first one, and one that follows it."""
        found = []
        for path in (self.pid, self.folder / "pid.2"):
            with contextlib.suppress(OSError, ValueError):
                found.append(int(path.read_text()))
        return found

    def wait_for_arbiter(self):
        return eventually("an arbiter", self.arbiters)[0]

    def end(self):
        """Stops every arbiter that there is, and looks for what is left."""
        leader = self.process.pid

        def gone():
            for pid in self.arbiters():
                send(pid, signal.SIGTERM)
            self.process.poll()
            # A process that an arbiter makes during one look, and then ends, is seen by the next.
            return not session(leader) and not session(leader)

        eventually(f"the end of {session(leader)}\n{self.log.read_text()}", gone)
        self.process.wait(PATIENCE)
        left = [path.name for path in (self.socket, self.pid, self.folder / "pid.2") if path.exists()]
        check(f"left behind: {left}\n{self.log.read_text()}", not left)
        check("a panic:\n" + self.log.read_text(), not self.wrote("panicked"))


class Load:
    """Clients at work, half of them on kept connections. They forgive nothing."""

    REQUEST = b"GET /small HTTP/1.1\r\nHost: x\r\n"

    def __init__(self, path):
        self.path = str(path)
        self.stopped = threading.Event()
        self.answered = 0
        self.failures = []
        self.threads = [threading.Thread(target=self.run, args=(n % 2 == 0,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, keeps):
        client = None
        while not self.stopped.is_set():
            try:
                if client is None:
                    client = socket.socket(socket.AF_UNIX)
                    client.settimeout(PATIENCE)
                    client.connect(self.path)
                client.sendall(self.REQUEST + (b"\r\n" if keeps else b"Connection: close\r\n\r\n"))
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.endswith(b"small"):
                    piece = client.recv(65536)
                    if not piece:
                        raise ConnectionError(f"closed after {answer!r}")
                    answer += piece
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise ConnectionError(repr(answer))
                if not keeps or b"\r\nconnection: close\r\n" in answer.lower():
                    client.close()
                    client = None
                self.answered += 1
            except OSError as error:
                self.failures.append(f"{'kept' if keeps else 'new'}: {error!r}")
                client = None

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        check(f"{len(self.failures)} of {self.answered} requests failed: {self.failures[:5]}", not self.failures)


def start(serve, count, chance, flags):
    """Servers that get everything while they start; the last signal of each is one that ends it."""
    servers = max(1, count // BURST)
    for _ in range(servers):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(serve, folder, flags)
            for turn in range(BURST):
                time.sleep(chance.expovariate(1 / 0.004))
                # WINCH leaves no worker: elsewhere nobody would answer.
                mixed = [*RELOADING, signal.SIGUSR2, signal.SIGWINCH]
                numbers = mixed if turn < BURST - 1 else ENDING
                # Before the program has its handlers a signal ends it, which needs no test.
                if server.pid.exists():
                    send(server.process.pid, chance.choice(numbers))
            server.end()
    print(f"start: {servers} servers with {BURST} signals each ended whole")


def reload(serve, count, chance, flags):
    """One server with clients, and signals that lose nothing."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(serve, folder, flags)
        arbiter = server.wait_for_arbiter()
        load = Load(eventually("a socket", lambda: server.socket.exists() and server.socket))
        workers = 2
        for _ in range(count):
            time.sleep(chance.expovariate(1 / 0.004))
            number = chance.choice(RELOADING)
            # Some remain, and not so many that they are all that the machine does.
            step = {signal.SIGTTIN: 1, signal.SIGTTOU: -1}.get(number, 0)
            if 1 <= workers + step <= 4:
                workers += step
                send(arbiter, number)
        eventually("requests after the storm", lambda at=load.answered: load.answered > at + 100)
        load.stop()
        server.end()
        check(f"status {server.process.returncode}", server.process.returncode == 0)
    print(f"reload: {count} signals, {load.answered} requests, all answered")


def upgrade(serve, count, chance, flags):
    """One server after the other with clients, and signals to both."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(serve, folder, flags)
        server.wait_for_arbiter()
        load = Load(eventually("a socket", lambda: server.socket.exists() and server.socket))
        upgrades = max(1, count // UPGRADE)
        for turn in range(upgrades):
            old = server.wait_for_arbiter()
            served = server.wrote(") serves: stop this one")
            send(old, signal.SIGUSR2)
            for _ in range(UPGRADE):
                time.sleep(chance.expovariate(1 / 0.004))
                numbers = [*HARMLESS, signal.SIGUSR2, signal.SIGHUP]
                for pid in server.arbiters()[: chance.choice((1, 2))]:
                    send(pid, chance.choice(numbers))
            eventually(
                "the new arbiter serves\n" + server.log.read_text(),
                lambda: server.wrote(") serves: stop this one") > served and len(server.arbiters()) == 2,
            )
            new = server.arbiters()[1]
            send(old, signal.SIGTERM)
            eventually("the new arbiter is promoted", lambda: server.arbiters() == [new])
        load.stop()
        server.end()
    print(f"upgrade: {upgrades} upgrades with {UPGRADE} signals each, {load.answered} requests, all answered")


def main():
    arguments, flags = split(sys.argv[1:])
    count = int(arguments[1]) if len(arguments) > 1 else 500
    seed = int(arguments[2]) if len(arguments) > 2 else time.time_ns()
    print(f"seed {seed}, {' '.join(flags) or 'sync'}", flush=True)
    chance = random.Random(seed)
    for scene in (start, reload, upgrade):
        scene(arguments[0], count, chance, flags)


if __name__ == "__main__":
    main()
