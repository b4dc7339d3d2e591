"""What the scripts beside this one have in common: a server to be started, its memory, and an ordinary client."""
import contextlib
import json
import pathlib
import re
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 20


def check(what, right):
    """Ends the script where something is wrong."""
    if not right:
        sys.exit(f"wrong: {what}")


def eventually(what, ask, patience=PATIENCE):
    """The first answer that is one, within a time."""
    end = time.monotonic() + patience
    while not (answer := ask()):
        check(f"waited in vain: {what}", time.monotonic() < end)
        time.sleep(0.01)
    return answer


def command(control, words, patience=PATIENCE):
    """What the control socket of this path answers to a command."""

    def read(count):
        received = b""
        while len(received) < count:
            piece = client.recv(count - len(received))
            if not piece:
                raise ConnectionError("the control socket was closed")
            received += piece
        return received

    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience)
        client.connect(str(control))
        text = json.dumps({"id": 1, "command": words}).encode()
        client.sendall(struct.pack(">I", len(text)) + text)
        (length,) = struct.unpack(">I", read(4))
        answer = json.loads(read(length))
    check(f"{words}: {answer.get('error')}", answer["status"] == "ok")
    return answer["data"]


def split(arguments):
    """The script's own arguments, and the server's behind `--`."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def connect(port):
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def percentile_99(port, requests=1000, wrap=lambda client: client):
    """Seconds, of an ordinary client's kept-alive requests. `wrap` makes what it speaks through of its socket."""
    took = []
    with wrap(connect(port)) as client:
        for _ in range(requests):
            start = time.perf_counter()
            client.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = client.recv(65536)
            took.append(time.perf_counter() - start)
            check(f"an ordinary client got {answer[:60]!r}", answer.startswith(b"HTTP/1.1 200"))
            # More than any client sends, and less than makes this client the load itself.
            time.sleep(0.001)
    return statistics.quantiles(took, n=100)[98]


def bound(quiet):
    """What an ordinary client's 99th percentile may be, in seconds, where it is `quiet` without disturbance."""
    return max(3 * quiet, 0.010)


def memory_mib(pid, field="VmRSS"):
    """A process's memory: what it has now, or with VmHWM its peak."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def parent_and_state(pid):
    """From proc_pid_stat(5); nothing where there is no such process."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    return int(fields[1]), fields[0]


def children(parent):
    """The processes, zombies included, whose parent this is."""
    pids = (int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if parent_and_state(pid)[0] == parent]


def with_descriptors(soft):
    """What a child does first to have that soft limit of descriptors."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def serving(serve, app, flags=(), before=(), **options):
    """A server with one worker: its process, its port, and the worker's process id. `before` is put before its
    command, and `options` are Popen's."""
    command = [*before, str(pathlib.Path(serve).resolve()), "-b", "127.0.0.1:0", "-w", "1"]
    command += ["--chdir", str(ROOT / "tests" / "apps"), *flags, app]
    with tempfile.NamedTemporaryFile("r", prefix="serve-log-") as log:
        with open(log.name, "w") as stderr:
            server = subprocess.Popen(command, stderr=stderr, **options)
        server.log = pathlib.Path(log.name)

        def booted():
            text = server.log.read_text()
            check("the server did not start: " + text, server.poll() is None)
            return re.search(r"https?://127\.0\.0\.1:(\d+)[\s\S]*Booting worker with pid: (\d+)", text)

        try:
            found = eventually("the server starts", booted)
            yield server, int(found[1]), int(found[2])
            if server.poll() is None:
                server.send_signal(signal.SIGINT)
                status = server.wait(PATIENCE)
                check(f"status {status}", status == 0)
        finally:
            server.kill()
            server.wait(PATIENCE)
