#!/usr/bin/env python3
"""Compares the instructions that a request costs with those of an earlier commit.

usage: instructions.py [--before COMMIT] [--most PERCENT] [--venv FOLDER]

Builds the example `serve` of the work tree and of COMMIT (default: HEAD~1) with the same toolchain and flags, and counts the
user instructions of each workload with callgrind(1): one client on a kept connection, after some requests to warm up. Flask
is measured where FOLDER, a virtual environment, has it. The kernel's instructions are invisible to valgrind. Ends with status 1 if a
workload costs more than PERCENT (default: 2) above what it did.

Where valgrind is not installed, or there is no such commit, a line says so and the status is 0.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

from serving import PATIENCE, ROOT, connect, serving

# Path, the server's flags, the requests to warm up, and those that are counted.
WORKLOADS = {
    "hello": ("/hello", [], 200, 1000),
    "hello, threads 4": ("/hello", ["--threads", "4"], 200, 1000),
    "json": ("/json", [], 100, 500),
    "echo of 64 KiB": ("/echo", [], 50, 200),
    "flask": ("/flask", [], 50, 100),
}
# What the example is compiled from. Where none of it differs there is nothing to compare.
SOURCES = ["src", "build.rs", "Cargo.toml", "Cargo.lock", "examples/serve.rs"]


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True)


def build(source, target):
    """The example's program."""
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--example", "serve"]
    # Between crates there is little to inline, and the link takes a third of the time.
    command += ["--config", 'profile.release.lto="off"', "--config", "profile.release.debug=false"]
    subprocess.run([*command, "--target-dir", target], cwd=source, check=True)
    return target / "release" / "examples" / "serve"


def unpack(commit, folder):
    """The commit's files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=True)
    with tempfile.TemporaryFile() as file:
        file.write(archive.stdout)
        file.seek(0)
        tarfile.open(fileobj=file).extractall(folder)


def ask(port, path, count):
    """Requests on one connection; the status of the last answer."""
    body = b"b" * 65536 if path == "/echo" else b""
    method = "POST" if body else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    status = 0
    with connect(port) as client, client.makefile("rb") as answers:
        client.settimeout(6 * PATIENCE)
        for _ in range(count):
            client.sendall(head.encode() + body)
            status = int(answers.readline().split()[1])
            length = 0
            while (line := answers.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            answers.read(length)
    return status


def per_request(serve, path, flags, warm, counted):
    """The worker's user instructions a request, after some to warm up; `None` where the path is not to be had."""
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        # Writes, at each mark, what was executed since the one before.
        valgrind = ["valgrind", "--tool=callgrind", "--dump-before=getpgid", "--quiet"]
        valgrind.append(f"--callgrind-out-file={folder}/%p")
        environment = dict(os.environ, PYTHONHASHSEED="0")
        with serving(serve, "steady:app", ["--timeout", "0", *flags], valgrind, env=environment) as (_, port, worker):
            if ask(port, path, warm) != 200:
                return None
            for count in (0, counted):
                ask(port, path, count)
                ask(port, "/mark", 1)
        written = pathlib.Path(folder, f"{worker}.2").read_text(errors="replace")
        return int(re.search(r"^totals: (\d+)", written, re.M)[1]) / counted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", default="HEAD~1")
    parser.add_argument("--most", type=float, default=2)
    parser.add_argument("--venv")
    arguments = parser.parse_args()

    if not shutil.which("valgrind"):
        print("left out: valgrind is not installed")
        return
    found = git("rev-parse", "--verify", "--quiet", arguments.before + "^{commit}")
    if found.returncode:
        print(f"left out: there is no commit {arguments.before} to compare with")
        return
    if git("diff", "--quiet", arguments.before, "--", *SOURCES).returncode == 0:
        print(f"nothing to compare: the program is that of {arguments.before}")
        return
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "instructions"
    now = shutil.copy(build(ROOT, target), target / "now")
    unpacked = target / "before-source"
    unpack(found.stdout.decode().strip(), unpacked)
    before = shutil.copy(build(unpacked, target), target / "before")

    more = []
    venv = ["--venv", arguments.venv] if arguments.venv else []
    print(f"user instructions a request, {arguments.before} and now:")
    for name, (path, flags, warm, counted) in WORKLOADS.items():
        counts = []
        # What a busy machine adds to a count does not come each time.
        for _ in range(3):
            counts.append([per_request(serve, path, [*venv, *flags], warm, counted) for serve in (before, now)])
            if None in counts[0]:
                break
            was, is_now = (min(column) for column in zip(*counts))
            change = 100 * (is_now / was - 1)
            if change <= arguments.most:
                break
        if None in counts[0]:
            print(f"{name}: left out, not to be had", flush=True)
            continue
        print(f"{name}: {was:,.0f} and {is_now:,.0f} ({change:+.1f} %)", flush=True)
        if change > arguments.most:
            more.append(name)
    if more:
        sys.exit(f"wrong: more than {arguments.most} % above {arguments.before}: {', '.join(more)}")


if __name__ == "__main__":
    main()
