#!/usr/bin/env python3
"""Four hosts with a server each, HAProxy in front, and clients that never pause: what fails while the fleet is changed?

usage: fleet.py SERVE [ROUNDS [CLIENTS]]

Each host is a network namespace (ip-netns(8)). Where the system permits none, it is an address of the loopback, and a
partition is a stopped server: the script says so. HAProxy looks at `/readyz` of each side listener.

- Rolling upgrade, ROUNDS times (default 2): one host after another is stopped (TERM), started anew and waited for. No request
  may fail.
- A host is killed, and a host is partitioned: HAProxy repeats what it can, a GET without a byte of an answer. At most one
  request of each client may fail.

Needs haproxy on the PATH. Ends with status 0 if all of that holds.
"""
import collections
import csv
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from serving import PATIENCE, ROOT, check, eventually

HOSTS = range(1, 5)
CONFIG = """
global
    stats socket {folder}/admin
{common}
frontend front
    bind 127.0.0.1:8080
    default_backend hosts
backend hosts
    balance roundrobin
    http-request disable-l7-retry unless METH_GET
    option httpchk
    http-check send meth GET uri /readyz
    http-check expect status 200
    default-server check port 9100 inter 200ms fall 1 rise 1
    {servers}
"""
DEFAULTS = """
defaults
    mode http
    timeout client 10s
    timeout connect 500ms
    timeout check 500ms
    timeout server 2s
    timeout queue 5s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
"""


def run(*command):
    subprocess.run(command, check=True)


class Network:
    """Namespaces with a bridge between them."""

    def __init__(self):
        self.name = f"fleet{os.getpid()}"
        made = shutil.which("ip") and subprocess.run(["ip", "netns", "add", self.front()], capture_output=True)
        self.is_real = bool(made) and made.returncode == 0
        if not self.is_real:
            return
        inside = ["ip", "-n", self.front()]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "add", "bridge", "type", "bridge")
        run(*inside, "addr", "add", "10.77.0.254/24", "dev", "bridge")
        run(*inside, "link", "set", "bridge", "up")
        for host in HOSTS:
            there = f"{self.name}-{host}"
            run("ip", "netns", "add", there)
            run(*inside, "link", "add", f"host{host}", "type", "veth", "peer", "name", "eth0", "netns", there)
            run(*inside, "link", "set", f"host{host}", "master", "bridge", "up")
            run("ip", "-n", there, "addr", "add", f"10.77.0.{host}/24", "dev", "eth0")
            run("ip", "-n", there, "link", "set", "eth0", "up")
            run("ip", "-n", there, "link", "set", "lo", "up")

    def front(self):
        return f"{self.name}-front"

    def at(self, place):
        return ["ip", "netns", "exec", f"{self.name}-{place}"] if self.is_real else []

    def address(self, host):
        return f"10.77.0.{host}" if self.is_real else f"127.0.0.{10 + host}"

    def cable(self, host, state):
        run("ip", "-n", self.front(), "link", "set", f"host{host}", state)

    def remove(self):
        for place in [*HOSTS, "front"] if self.is_real else []:
            subprocess.run(["ip", "netns", "del", f"{self.name}-{place}"], check=False)


class Host:
    """A server on a host of its own."""

    def __init__(self, network, serve, number, folder):
        self.network, self.number, self.log = network, number, open(folder / f"host{number}.log", "w")
        address = network.address(number)
        self.command = [*network.at(number), serve, "-b", f"{address}:8000", "--status-bind", f"{address}:9100"]
        self.command += ["-w", "2", "--threads", "4", "--keep-alive", "60", "--graceful-timeout", "10"]
        self.command += ["--chdir", str(ROOT / "tests" / "apps"), "probe:app"]

    def start(self):
        self.server = subprocess.Popen(self.command, stderr=self.log, start_new_session=True)

    def is_ready(self):
        client = http.client.HTTPConnection(self.network.address(self.number), 9100, timeout=PATIENCE)
        try:
            client.request("GET", "/readyz")
            return client.getresponse().status == 200
        except OSError:
            return False

    def stop(self):
        self.server.terminate()
        check(f"host {self.number} ends with status 0", self.server.wait(PATIENCE) == 0)

    def signal(self, number):
        os.killpg(self.server.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.server.wait(PATIENCE)


class Load:
    """Clients that ask without a pause, and count."""

    def __init__(self, clients):
        self.ends, self.lock, self.counts = False, threading.Lock(), collections.Counter()
        self.slowest, self.failures = 0, []
        self.threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, number):
        client = None
        for turn in range(sys.maxsize):
            if self.ends:
                return
            # Some are begun before a stop, and are answered after it.
            target = "/ticks?0.1,0.1" if (turn + number) % 10 == 0 else "/pid"
            start = time.monotonic()
            try:
                client = client or http.client.HTTPConnection("127.0.0.1", 8080, timeout=PATIENCE)
                client.request("GET", target)
                answer = client.getresponse()
                body = answer.read()
                failure = None if answer.status == 200 and body else f"{target}: {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                failure, client = f"{target}: {error!r}", None
            with self.lock:
                self.counts["failed" if failure else "answered"] += 1
                self.slowest = max(self.slowest, time.monotonic() - start)
                self.failures += [failure] if failure else []

    def phase(self, name, allowed, body):
        """What has happened to the clients during one step."""
        with self.lock:
            self.counts.clear()
            self.slowest, self.failures = 0, []
        start = time.monotonic()
        body()
        with self.lock:
            answered, failed, slowest = self.counts["answered"], self.counts["failed"], self.slowest
            failures = "; ".join(self.failures[:5])
        took = time.monotonic() - start
        print(f"{name}: {answered} answered, {failed} failed, the slowest in {slowest:.2f} s, {took:.0f} s in all", flush=True)
        check(f"{name}: {failed} failed, {allowed} may: {failures}", failed <= allowed)
        check(f"{name}: clients are answered", answered > 0)

    def stop(self):
        self.ends = True
        for thread in self.threads:
            thread.join()


def states(folder):
    """What HAProxy thinks of each host."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(folder / "admin"))
        admin.sendall(b"show stat\n")
        text = b""
        while part := admin.recv(65536):
            text += part
    rows = csv.DictReader(text.decode().lstrip("# ").splitlines())
    return [row["status"] for row in rows if row["pxname"] == "hosts" and row["svname"].startswith("host")]


def within(network, serve, rounds, clients):
    """All of it, in the namespace of HAProxy and the clients."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        servers = "\n    ".join(f"server host{n} {network.address(n)}:8000" for n in HOSTS)
        config = folder / "haproxy.cfg"
        config.write_text(CONFIG.format(folder=folder, common=DEFAULTS, servers=servers))
        hosts = [Host(network, serve, number, folder) for number in HOSTS]
        front, load = None, None

        def all_are_up():
            eventually("all hosts are up", lambda: states(folder) == ["UP"] * len(hosts))

        def roll():
            for host in hosts * rounds:
                host.stop()
                is_missed(host)
                host.start()
                all_are_up()

        def is_missed(host):
            eventually("a host is missed", lambda: "DOWN" in states(folder)[host.number - 1])

        def kill():
            hosts[1].kill()
            is_missed(hosts[1])
            time.sleep(3)
            hosts[1].start()
            all_are_up()

        def partition():
            if network.is_real:
                network.cable(3, "down")
            else:
                hosts[2].signal(signal.SIGSTOP)
            is_missed(hosts[2])
            time.sleep(3)
            if network.is_real:
                network.cable(3, "up")
            else:
                hosts[2].signal(signal.SIGCONT)
            all_are_up()

        try:
            for host in hosts:
                host.start()
            # HAProxy takes a host for one that is up until its first look.
            for host in hosts:
                eventually(f"host {host.number} is ready", host.is_ready)
            front = subprocess.Popen(["haproxy", "-db", "-q", "-f", config])
            eventually("HAProxy runs", (folder / "admin").exists)
            all_are_up()
            load = Load(clients)
            load.phase("nothing", 0, lambda: time.sleep(2))
            load.phase(f"rolling upgrade of {len(hosts)} hosts, {rounds} times", 0, roll)
            load.phase("a host killed", clients, kill)
            load.phase("a host partitioned", clients, partition)
            load.stop()
            for host in hosts:
                host.stop()
                bad = re.findall(r".*\[(?:ERROR|CRITICAL)\].*", (folder / f"host{host.number}.log").read_text())
                check(f"the log of host {host.number}: {bad}", not bad)
        finally:
            if load:
                load.ends = True
            for process in [front, *(getattr(host, "server", None) for host in hosts)]:
                if process and process.poll() is None:
                    process.kill()
                    process.wait(PATIENCE)


def main():
    if sys.argv[1] == "--within":
        network = object.__new__(Network)
        network.name, network.is_real = sys.argv[2], sys.argv[3] == "True"
        within(network, sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
        return
    serve = str(pathlib.Path(sys.argv[1]).resolve())
    rounds, clients = sys.argv[2:4] + ["2", "8"][len(sys.argv) - 2 :]
    if not shutil.which("haproxy"):
        sys.exit("haproxy is not on the PATH")
    network = Network()
    try:
        if not network.is_real:
            print("no network namespaces here: hosts are addresses of the loopback, a partition is a stopped server")
        arguments = ["--within", network.name, str(network.is_real), serve, rounds, clients]
        status = subprocess.run([*network.at("front"), sys.executable, __file__, *arguments]).returncode
    finally:
        network.remove()
    if status == 0:
        print(f"ok: four hosts, {clients} clients")
    sys.exit(status)


main()
