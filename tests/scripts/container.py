#!/usr/bin/env python3
"""Runs `serve` as containers do: as process 1, without a file system to write to, without root, and killed.

usage: container.py SERVE

Where the system permits no namespaces (unshare(1)) those cases say so and are left out.
"""
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from serving import PATIENCE, ROOT, check, children, connect, eventually, parent_and_state, serving

NAMESPACE = ["unshare", "--fork", "--pid", "--mount-proc"]
# A user without rights, with nowhere to write to.
FROZEN = ["unshare", "--mount", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs -o ro none /tmp && "
          "mount -t tmpfs -o ro none /var/tmp && mount -o remount,bind,ro / && mount -t tmpfs -o ro none /dev/shm && "
          'exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$@"', "sh"]


class Gate:
    """A named pipe at which somebody stands until it is opened (fifo(7))."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder, "gate")
        os.mkfifo(self.path)
        self.end = None

    def wait(self):
        """Until somebody stands there."""

        def stands():
            try:
                self.end = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return False
            return True

        eventually("somebody stands at the gate", stands)

    def open(self, text):
        if self.end is None:
            self.wait()
        os.write(self.end, text.encode())
        os.close(self.end)


def permitted(command):
    if not shutil.which(command[0]):
        return False
    return subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def get(port, target):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    client.request("GET", target)
    answer = client.getresponse()
    return answer.status, answer.read().decode()


def process_1(serve):
    """It waits for children that others have left to it, and TERM stops it."""
    if not permitted(NAMESPACE):
        print("left out: as process 1, since unshare is not permitted here")
        return
    with tempfile.TemporaryDirectory() as folder, serving(serve, "contained:app", before=NAMESPACE) as (outer, port, _):
        (server,) = children(outer.pid)
        gate = Gate(folder)
        worker = children(server)
        check("no orphan was made", get(port, f"/orphan?{gate.path}") == (200, "left"))
        orphan = eventually("an orphan is the server's", lambda: set(children(server)) - set(worker)).pop()
        gate.open("")
        eventually("the orphan is waited for", lambda: parent_and_state(orphan) == (None, None))
        check("the worker has gone", children(server) == worker)
        os.kill(server, signal.SIGTERM)
        check(f"status {outer.wait(PATIENCE)}", outer.returncode == 0)
    print("ok: as process 1 it reaps orphans, and TERM stops it with status 0")


def frozen(serve):
    """It serves, and takes a body that it would rather spool."""
    if not permitted(["unshare", "--mount"]):
        print("left out: read-only and without root, since unshare is not permitted here")
        return
    # What is in /tmp is hidden there.
    shown = tempfile.mkdtemp(prefix="serve-", dir="/opt")
    try:
        os.chmod(shown, 0o755)
        copy = shutil.copy(serve, shown)
        shutil.copy(ROOT / "tests" / "apps" / "contained.py", shown)
        if not permitted([*FROZEN, copy, "--version"]):
            print("left out: read-only and without root, since mount or setpriv are not permitted here")
            return
        with serving(copy, "contained:app", ["--chdir", shown], before=FROZEN) as (server, port, _):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            body = os.urandom(1 << 20)
            client.request("POST", "/echo", body)
            answer = client.getresponse()
            check(f"an upload: {answer.status}", answer.status == 200 and answer.read() == body)
            user = pathlib.Path(f"/proc/{server.pid}/status").read_text()
            check("it runs as root", "Uid:\t65534\t65534" in user)
            server.send_signal(signal.SIGTERM)
            check(f"status {server.wait(PATIENCE)}", server.returncode == 0)
    finally:
        shutil.rmtree(shown)
    print("ok: it serves read-only and without root")


def killed(serve):
    """Without the arbiter idle workers go at once; a busy one finishes, and takes nothing new."""
    with tempfile.TemporaryDirectory() as folder:
        gate = Gate(folder)
        with serving(serve, "contained:app", ["-w", "3"], start_new_session=True) as (server, port, _):
            eventually("three workers have loaded", lambda: server.log.read_text().count("loaded") == 3)
            workers = children(server.pid)
            answers = []
            request = threading.Thread(target=lambda: answers.append(get(port, f"/wait?{gate.path}")))
            request.start()
            gate.wait()
            server.kill()
            server.wait()
            start = time.monotonic()
            left = eventually(
                "the idle workers go", lambda: len(left := [pid for pid in workers if alive(pid)]) == 1 and left, 1
            )
            eventually("the port is closed", lambda: refused(port), 1)
            took = time.monotonic() - start
            gate.open("waited")
            request.join(PATIENCE)
            check(f"the busy worker answered {answers}", answers == [(200, "waited")])
            eventually("the busy worker goes, too", lambda: not alive(left[0]))
    print(f"ok: without its arbiter idle workers and the listener are gone after {took * 1000:.0f} ms, a busy one finishes")


def alive(pid):
    return parent_and_state(pid)[1] not in (None, "Z", "X")


def refused(port):
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    except (ConnectionResetError, socket.timeout):
        pass
    return False


def main():
    serve = sys.argv[1]
    for case in (process_1, frozen, killed):
        case(serve)


if __name__ == "__main__":
    main()
