#!/usr/bin/env python3
"""Builds examples/python-package with pip, installs it, and serves Flask from the interpreter that imports it.

usage: python_package.py [PYTHON...]

Each PYTHON (default: the one that runs this) gets a virtual environment of its own, below the target folder. pip gets
maturin and Flask from its index. Ends with status 0 if all was right.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from serving import PATIENCE, ROOT, check, children, eventually, parent_and_state

PACKAGE = ROOT / "examples" / "python-package"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "python-package"

# The third word changes with a reload, and the others are told by each process.
FLASK = """
import os, sys
from flask import Flask, request
forks = []
os.register_at_fork(after_in_child=lambda: forks.append(1))
app = Flask(__name__)
@app.get("/")
def index():
    return f"{os.getpid()} {os.getppid()} WORD {sys.prefix} {sys.version_info[1]}"
@app.post("/length")
def length():
    return str(len(request.get_data()))
"""

PROGRAM = """
import os, signal, sys, threading, urllib.request
import oxicorn

PORT, forked = sys.argv[1], []
os.register_at_fork(after_in_child=lambda: forked.append(1))

def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{len(forked)} {threading.active_count()}".encode()]

def ask_and_stop(server):
    "In a process of its own: this one is to have no other thread."
    if os.fork():
        return
    while True:
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=20).read().decode()
            break
        except OSError:
            pass
    print("answered", answer, flush=True)
    os.kill(server, signal.SIGTERM)
    os._exit(0)

# A shell's background job ignores it.
before = signal.getsignal(signal.SIGINT)
for _ in range(2):
    ask_and_stop(os.getpid())
    oxicorn.serve(application, "--bind", f"127.0.0.1:{PORT}")
    os.wait()
    kept = signal.getsignal(signal.SIGINT) is before
    print("returned", kept, flush=True)

stay = threading.Event()
threading.Thread(target=stay.wait).start()
try:
    oxicorn.serve(application, "--bind", f"127.0.0.1:{PORT}")
except RuntimeError as error:
    print("refused", error, flush=True)
stay.set()
try:
    oxicorn.serve(application, "--workers", "none")
except ValueError as error:
    print("mistake", error, flush=True)
"""


def run(*command, **options):
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    check(f"{command} failed:\n{ended.stdout}{ended.stderr}", ended.returncode == 0)
    return ended.stdout


def installed(python):
    """A new virtual environment with the package and Flask: its interpreter."""
    version = run(python, "-c", "import platform; print(platform.python_version(), end='')")
    folder = TARGET / version
    shutil.rmtree(folder / "env", ignore_errors=True)
    run(python, "-m", "venv", folder / "env")
    own = folder / "env" / "bin" / "python"
    # The versions that were fetched for the crate.
    shutil.copy(ROOT / "Cargo.lock", PACKAGE / "Cargo.lock")
    build = {**os.environ, "CARGO_TARGET_DIR": str(folder / "build"), "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1"}
    for pinned in ("VIRTUAL_ENV", "PYO3_PYTHON"):
        build.pop(pinned, None)
    run(own, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "tests" / "requirements.txt", "flask")
    run(own, "-m", "pip", "install", "--quiet", PACKAGE, env=build)
    module = next((folder / "env").rglob("oxicorn/_oxicorn*.so"))
    check(f"{module} is linked to a libpython", "libpython" not in run("ldd", module))
    shared = "libpython" in run("ldd", own.resolve())
    print(f"Python {version}, {'with' if shared else 'without'} a shared library")
    return own


def get(port, path="/", data=None):
    """The body of an answer as words, or nothing where there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, PATIENCE) as answer:
            return answer.read().decode().split()
    except OSError:
        return []


def lives(pid):
    return parent_and_state(pid)[1] not in (None, "Z")


class Server:
    """`python -m oxicorn` in a session of its own, as a terminal starts it."""

    def __init__(self, python, folder, *flags):
        self.folder, self.log = folder, folder / "log"
        command = [str(python), "-m", "oxicorn", "--bind", "127.0.0.1:0", "--workers", "2", *flags, "site_flask:app"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, cwd=folder, stderr=log, start_new_session=True)
        self.pid = self.process.pid
        found = eventually("the server starts", self.address)
        self.port = int(found[1])
        eventually("two workers serve", lambda: len(self.answering()) == 2)

    def address(self):
        check("the server did not start: " + self.log.read_text(), self.process.poll() is None)
        return re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())

    def answering(self):
        """The workers that have answered one of some requests, by the arbiter's number."""
        answers = [get(self.port) for _ in range(8)]
        return {int(words[0]) for words in answers if words and int(words[1]) == self.pid}

    def ended(self, what):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            check(f"{what}: it does not end\n{self.log.read_text()}", False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # All of the session that is left, where a check has failed.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(PATIENCE)


def write_site(folder, word):
    (folder / "site_flask.py").write_text(FLASK.replace("WORD", word))
    # Python compares whole seconds and sizes of a source, so the compiled one of a moment ago would count.
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)


def served_and_reloaded(python, folder):
    write_site(folder, "first")
    with Server(python, folder) as server:
        words = get(server.port)
        check(f"it says {words}", words[2] == "first" and int(words[1]) == server.pid)
        check(f"another environment: {words[3]}", pathlib.Path(words[3]) == python.parent.parent)
        check("a body is lost", get(server.port, "/length", b"x" * 300_000) == ["300000"])
        write_site(folder, "other")
        server.process.send_signal(signal.SIGHUP)
        eventually("the reload has new code", lambda: get(server.port)[2:3] == ["other"])
        workers = eventually("two new workers", lambda: (found := server.answering()) and len(found) == 2 and found)
        server.process.send_signal(signal.SIGTERM)
        check("the status after TERM", server.ended("TERM") == 0)
        check("workers are left", not any(map(lives, workers)))


def ended_with_its_terminal(python, folder):
    with Server(python, folder, "--threads", "2") as server:
        workers = children(server.pid)
        os.killpg(server.pid, signal.SIGINT)
        check("the status after Ctrl-C", server.ended("Ctrl-C") == 0)
        check("workers are left after Ctrl-C", not any(map(lives, workers)))
        check(server.log.read_text(), "Traceback" not in server.log.read_text())
    with Server(python, folder) as server:
        workers = children(server.pid)
        server.process.kill()
        server.ended("KILL")
        eventually("workers end with the arbiter", lambda: not any(map(lives, workers)))


def upgraded(python, folder):
    with Server(python, folder) as server:
        server.process.send_signal(signal.SIGUSR2)

        def successor():
            words = get(server.port)
            return words and int(words[1]) != server.pid and int(words[1])

        following = eventually("another arbiter serves", successor)
        server.process.send_signal(signal.SIGTERM)
        check("the status of the first", server.ended("TERM") == 0)
        check("the environment is lost", pathlib.Path(get(server.port)[3]) == python.parent.parent)
        os.kill(following, signal.SIGTERM)
        eventually("the second ends", lambda: not lives(following))


def served_by_a_program(python, folder):
    (folder / "program.py").write_text(PROGRAM)
    with Server(python, folder) as server:
        port = server.port
        server.process.terminate()
        server.ended("TERM")
    said = run(python, folder / "program.py", port, timeout=3 * PATIENCE).splitlines()
    check(f"it said {said}", len(said) == 6)
    # Python's own steps ran in the worker, which has one thread.
    check(said[:4], said[:4] == ["answered 1 1", "returned True"] * 2)
    check(said[4], "refused this process has 2 threads" in said[4])
    check(said[5], said[5].startswith("mistake ") and "invalid value 'none' for workers" in said[5])


def main():
    for python in sys.argv[1:] or [sys.executable]:
        begun = time.monotonic()
        own = installed(python)
        for part in (served_and_reloaded, ended_with_its_terminal, upgraded, served_by_a_program):
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                write_site(folder, "first")
                part(own, folder)
        print(f"{own}: right after {time.monotonic() - begun:.0f} s")


main()
