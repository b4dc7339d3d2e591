#!/usr/bin/env python3
"""Floods the side listener and the control socket with strangers: do signals, reaping and heartbeats of the arbiter go on?

usage: floods.py SERVE [CONNECTIONS [ROUNDS]]

Without a flood, then with one at either, ROUNDS times (default 3) each: TTIN, until the new worker has loaded; TTOU; a worker
that is killed, until another has loaded; a worker that hangs, until the arbiter has replaced it. CONNECTIONS (default 1000)
strangers at once are silent, slow, huge, malformed, deaf, or ask for what would change the server. Ends with status 0 if
each of these took at most a second longer, no other worker was replaced and no zombie is left, the settings are what they
were, an operator and a probe (within a second) were answered meanwhile, and arbiter and status process have no more than
16 MiB more.
"""
import contextlib
import multiprocessing
import os
import pathlib
import signal
import socket
import statistics
import struct
import sys
import tempfile
import time

from serving import check, children, command, eventually, memory_mib, parent_and_state
from side_listener import Server, hold, write

HANG = 2
MORE_MIB = 16
APP = """
import ctypes, os
open(os.path.join(os.environ["BOOTED"], str(os.getpid())), "w").close()

def app(environ, start_response):
    # A signal ends sleep(3).
    while environ["PATH_INFO"] == "/hang":
        ctypes.PyDLL(None).sleep(60)
    start_response("200 OK", [])
    return [b"hello"]
"""
CHANGES = ["POST /reload", "DELETE /workers/1", "PUT /scale?workers=9", "GET /stop", "GET /../stop", "POST /-/quit"]


def http(number):
    """What a stranger sends at once to the side listener, and then again and again."""
    head = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
    change = CHANGES[number % len(CHANGES)]
    return [
        (b"", b""),
        (head, b"X"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n", bytes(65536)),
        (os.urandom(64), b"\r\n\r\n"),
        (50 * (head + b"\r\n"), head + b"\r\n"),
        (f"{change} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode(), b""),
    ][number % 6]


def frame(text):
    return struct.pack(">I", len(text)) + text


def control(number):
    """The same for the control socket."""
    config = frame(b'{"id": 1, "command": "config"}')
    return [
        (b"", b""),
        (b"\0\0\1\0", b"{"),
        (struct.pack(">I", 0xFFFFFFFF), bytes(65536)),
        (frame(b"[" * 60000), os.urandom(64)),
        (20 * config, config),
        (b"POST /reload HTTP/1.1\r\n\r\n", b"\r\n"),
    ][number % 6]


class Stranger:
    """One connection, and another one when it was closed."""

    def __init__(self, address, first, more):
        self.address, self.first, self.more, self.socket = address, first, more, None

    def go_on(self):
        try:
            if self.socket is None:
                self.socket = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
                self.socket.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    self.socket.connect(self.address)
                if self.first:
                    self.socket.send(self.first)
            elif self.more:
                self.socket.send(self.more)
            else:
                self.socket.send(b"", socket.MSG_NOSIGNAL)
        except BlockingIOError:
            pass
        except OSError:
            self.socket.close()
            self.socket = None


def flood(address, send, count, begun):
    os.nice(19)
    strangers = [Stranger(address, *send(number)) for number in range(count)]
    while True:
        for stranger in strangers:
            stranger.go_on()
        begun.value = 1
        time.sleep(0.01)


class Scene:
    """A server whose workers leave a file when they have loaded."""

    def __init__(self, serve, folder):
        self.booted, self.control = os.path.join(folder, "booted"), os.path.join(folder, "control")
        os.mkdir(self.booted)
        flags = ["-w", "2", "--timeout", str(HANG), "--control-socket", self.control]
        write(os.path.join(folder, "flooded.py"), APP)
        self.server = Server(serve, folder, *flags, app="flooded:app", BOOTED=self.booted)
        self.arbiter, self.companion = self.server.process.pid, self.server.companion()
        self.status = ("127.0.0.1", self.server.status)

    def loaded(self):
        """The living workers that have loaded."""
        pids = {int(name) for name in os.listdir(self.booted)}
        return {pid for pid in pids if parent_and_state(pid) not in ((None, None), (self.arbiter, "Z"))}

    def settings(self):
        """What no stranger may change."""
        state = self.operator("status")
        return {name: state[name] for name in ("pid", "target", "reloads", "state")}

    def operator(self, words):
        """The answer to an operator, who tries again where strangers have pushed him out."""

        def ask():
            with contextlib.suppress(OSError):
                return command(self.control, words, 2)

        return eventually(f"{words} is answered", ask)

    def until(self, what, begin, changed):
        """The seconds until the workers are as they are to be."""
        before, start = self.loaded(), time.monotonic()
        begin(before)
        after = eventually(what, lambda: changed(before, now := self.loaded()) and now)
        return time.monotonic() - start, before, after

    def kill(self, workers):
        os.kill(min(workers), signal.SIGKILL)

    def measure(self, rounds):
        """The median of each thing that the arbiter has to do."""
        took = {name: [] for name in ("a new worker by TTIN", "one fewer by TTOU", "a killed worker", "a hanging worker")}
        replaced = lambda before, now: len(now) == 2 and len(now - before) == 1
        for _ in range(rounds):
            steps = [
                (lambda _: os.kill(self.arbiter, signal.SIGTTIN), lambda _, now: len(now) == 3),
                (lambda _: os.kill(self.arbiter, signal.SIGTTOU), lambda _, now: len(now) == 2),
                (self.kill, replaced),
                (lambda _: hold(self.server, 1, "/hang"), replaced),
            ]
            for (name, times), (begin, changed) in zip(took.items(), steps):
                time_taken, before, after = self.until(name, begin, changed)
                check(f"{name}: {before} became {after}", len(before - after) <= 1)
                times.append(time_taken)
        return {name: statistics.median(times) for name, times in took.items()}

    def probe(self):
        """The seconds until the answer."""
        start = time.monotonic()
        status, _ = self.server.ask("/livez")
        check(f"/livez: {status}", status == 200)
        return time.monotonic() - start

    def memory(self):
        return {"arbiter": memory_mib(self.arbiter), "status process": memory_mib(self.companion)}

    def processor(self):
        """The arbiter's seconds."""
        return int(pathlib.Path(f"/proc/{self.arbiter}/schedstat").read_text().split()[0]) / 1e9


def main():
    serve = sys.argv[1]
    count, rounds = (int(sys.argv[n]) if len(sys.argv) > n else default for n, default in ((2, 1000), (3, 3)))
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(serve, folder)
        for path in ("/", "/metrics", "/status"):
            scene.server.ask(path)
        for words in ("status", "config", "stacks"):
            scene.operator(words)
        quiet, settings, memory = scene.measure(rounds), scene.settings(), scene.memory()
        print("quiet:", ", ".join(f"{name} {time_taken * 1000:.0f} ms" for name, time_taken in quiet.items()), flush=True)
        for name, address, send in (("side listener", scene.status, http), ("control socket", scene.control, control)):
            begun = multiprocessing.Value("b", 0, lock=False)
            strangers = multiprocessing.Process(target=flood, args=(address, send, count, begun), daemon=True)
            strangers.start()
            eventually("the flood", lambda: begun.value)
            used, start = scene.processor(), time.monotonic()
            times = scene.measure(rounds)
            used = (scene.processor() - used) / (time.monotonic() - start)
            start = time.monotonic()
            check(f"settings: {settings} became {scene.settings()}", scene.settings() == settings)
            answered = time.monotonic() - start
            probes = [scene.probe() for _ in range(11)]
            more = {who: now - memory[who] for who, now in scene.memory().items()}
            check("the flood has ended", strangers.is_alive())
            strangers.kill()
            strangers.join()
            print(f"flood of the {name}:", ", ".join(f"{what} {took * 1000:.0f} ms" for what, took in times.items()))
            print(f"  two commands in {answered * 1000:.0f} ms, a probe in {statistics.median(probes) * 1000:.0f} ms,", end=" ")
            print(f"the arbiter uses {used * 100:.0f} % of a processor,", end=" ")
            print(", ".join(f"{who} {mib:+.1f} MiB" for who, mib in more.items()), flush=True)
            check(f"more memory: {more}", max(more.values()) <= MORE_MIB)
            check(f"probes took {probes}", statistics.median(probes) <= 1)
            for what, time_taken in times.items():
                check(f"{what} took {time_taken:.2f} s", time_taken <= quiet[what] + 1)
            check("another status process", scene.server.companion() == scene.companion)
        left = [pid for pid in children(scene.arbiter) if parent_and_state(pid)[1] == "Z"]
        check(f"zombies: {left}", not left)
        scene.server.stop()
    print("all of it holds")


if __name__ == "__main__":
    main()
