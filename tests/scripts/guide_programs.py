#!/usr/bin/env python3
"""Builds the guide's programs as packages of their own, out of the words of the documents, and runs each of them.

usage: guide_programs.py [--venv FOLDER] [NAME ...]

FOLDER is a virtual environment with Flask and Django, such as `cargo test` makes under target/. The packages, with one
target folder for all, lie under target/guide. Ends with status 0 if each program compiles, and does what its page says.
"""
import argparse
import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess


from serving import PATIENCE, ROOT, check, eventually

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "guide"
ADDRESSES = ["127.0.0.1:8000", "0.0.0.0:8000"]


def block(page, kind, *words):
    """The first block of a page that is of that kind and has those words."""
    blocks = (ROOT / page).read_text().split(f"```{kind}\n")[1:]
    blocks = [text.partition("```\n")[0] for text in blocks]
    found = next((text for text in blocks if all(word in text for word in words)), None)
    check(f"{page} has no {kind} with {words}", found is not None)
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Program:
    """A package that is made of words, and built."""

    def __init__(self, name, main, options="", dependencies="", files=()):
        self.name, self.port = name, free_port()
        self.folder = TARGET / name
        shutil.rmtree(self.folder, ignore_errors=True)
        for address in ADDRESSES:
            main = main.replace(address, f"127.0.0.1:{self.port}")
        self.write("src/main.rs", main)
        # The line of the README, with the crate from here.
        line = block("README.md", "toml", "oxicorn").replace('"0.1"', f'{{ path = "{ROOT}"{options} }}')
        package = f'[package]\nname = "{name}"\nedition = "2024"\n[workspace]\n'
        self.write("Cargo.toml", package + line + dependencies)
        if "default-features = false" not in options:
            self.write("build.rs", block("README.md", "rust,no_run", "rustc-link-arg"))
        for path, text in files:
            self.write(path, text)
        # The versions that were fetched for the crate, where it has them.
        shutil.copy(ROOT / "Cargo.lock", self.folder / "Cargo.lock")
        command = ["cargo", "build", "--quiet", "--target-dir", str(TARGET / "target")]
        check(f"{name} does not compile", subprocess.run(command, cwd=self.folder).returncode == 0)
        self.program = TARGET / "target" / "debug" / name

    def write(self, path, text):
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60)

    @contextlib.contextmanager
    def running(self, *arguments, status=0, **environment):
        """The process; it is told to stop in the end, and has that status then (`None`: it is ended by the signal)."""
        with open(self.folder / "output", "w+") as output:
            environment = dict(os.environ, **environment)
            process = subprocess.Popen(
                [self.program, *arguments], cwd=self.folder, env=environment, stdout=output, stderr=output
            )
            self.output = lambda: (self.folder / "output").read_text()
            try:
                yield process
                process.send_signal(signal.SIGTERM)
                ended = process.wait(PATIENCE)
                wanted = -signal.SIGTERM if status is None else status
                check(f"{self.name} ended with {ended}: {self.output()}", ended == wanted)
            finally:
                process.kill()
                process.wait()

    def ask(self, path="/", method="GET", body=None, headers=()):
        """Status, fields and text of a response; the first request waits for the server."""

        def answer():
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                client.request(method, path, body, dict(headers))
                response = client.getresponse()
                return response.status, response.headers, response.read().decode()
            except ConnectionRefusedError:
                return None
            finally:
                client.close()

        return eventually(f"{self.name} serves", answer)

    def expect(self, path, status, text, **request):
        answer = self.ask(path, **request)
        check(f"{self.name} answers {path} with {answer[0]} {answer[2]!r}", answer[0] == status and text in answer[2])
        return answer[1]


def flask(venv):
    page = "docs/guide/getting-started.md"
    application = block(page, "python", "Flask")
    program = Program("flask-shop", block(page, "rust,no_run", ".venv"), files=[("shop/wsgi.py", application)])
    (program.folder / ".venv").symlink_to(venv)
    with program.running():
        program.expect("/", 200, "<h1>Shop</h1>")


def rust_api(_venv):
    main = block("README.md", "rust,no_run", "Listener::inherited", "0.0.0.0:8000")
    main = main.replace("/run/hello.sock", "./hello.sock")
    program = Program("rust-api", main, ", default-features = false")
    with program.running():
        program.expect("/", 200, "worker ")
        program.expect("/echo", 200, "tea and cake", method="POST", body="tea and cake")
        program.expect("/other", 404, "no such page")
        check("the Unix socket is there", (program.folder / "hello.sock").is_socket())


def hybrid(venv):
    application = "from django_site.wsgi import application\n"
    files = [("shop/wsgi.py", application), ("static/a.txt", "a file\n")]
    program = Program("hybrid-shop", block("README.md", "rust,no_run", "Router", "Files"), files=files)
    with program.running(VIRTUAL_ENV=str(venv), PYTHONPATH=str(ROOT / "examples" / "apps"), DEMO_DATA=str(program.folder)):
        fields = program.expect("/", 200, "<html")
        check("the middleware's field is there", fields["x-frame-options"] == "DENY")
        program.expect("/ping", 204, "")
        program.expect("/static/a.txt", 200, "a file\n")


def host(_venv):
    program = Program("host-pyo3", (ROOT / "examples" / "host_pyo3.rs").read_text())
    with program.running(f"127.0.0.1:{program.port}"):
        program.expect("/counter/a", 200, "of ada for /counter /a", headers={"x-tenant": "ada"})
        program.expect("/health", 200, "well")


def axum(venv):
    folder = ROOT / "examples" / "axum-flask"
    shutil.copy(ROOT / "Cargo.lock", folder)
    command = ["cargo", "test", "--quiet", "--target-dir", str(TARGET / "target")]
    tested = subprocess.run(command, cwd=folder, env=dict(os.environ, VIRTUAL_ENV=str(venv)))
    check("examples/axum-flask", tested.returncode == 0)


def groups(_venv):
    program = Program("two-groups", block("README.md", "rust,no_run", '.group("mail"'), ", default-features = false")
    with program.running():
        eventually("both groups work", lambda: "of group mail" in program.output() and "scaled: Ok" in program.output())


def protocol(_venv):
    page = "docs/guide/protocol.md"
    bytes_too = 'bytes = "1.10"\n'
    over_std = block(page, "rust,no_run", "TcpListener")
    over_tokio = over_std[: over_std.index("fn main")] + block(page, "rust,ignore", "tokio::main")
    over_tokio = over_tokio.replace("use std::io::{Read, Write};\nuse std::net::TcpListener;\n", "")
    tokio = bytes_too + 'tokio = { version = "1.44", features = ["io-util", "macros", "net", "rt-multi-thread"] }\n'
    for name, main, dependencies in [("over-std", over_std, bytes_too), ("over-tokio", over_tokio, tokio)]:
        program = Program(name, main, ", default-features = false", dependencies)
        with program.running(status=None):
            program.expect("/", 200, "0 bytes")
            program.expect("/", 200, "8 bytes", method="POST", body="tea tea ")
            program.expect("/", 400, "", headers={"Content-Length": "many"})


def testing(_venv):
    program = Program("no-sockets", block("docs/guide/testing.md", "rust", "greet"), ", default-features = false")
    ran = program.run()
    check(f"the tests of a service fail: {ran.stderr}", ran.returncode == 0)


def branded(_venv):
    main = (ROOT / "examples" / "shopd.rs").read_text()
    prices = block("docs/guide/branded-servers.md", "toml", "[prices]")
    program = Program("shopd", main, ', features = ["cli", "toml"]')
    program.write("shopd.toml", prices.replace(ADDRESSES[0], f"127.0.0.1:{program.port}").replace("/run/shop.sock", "./shop.sock"))
    checked = program.run("--check-config")
    check(f"the page's file is refused: {checked.stderr}", checked.returncode == 0)
    with program.running("--greeting", "Welcome"):
        program.expect("/tea", 200, "Welcome: 2.5\n")
        program.expect("/coffee", 404, "sold out")
    program.write("shopd.toml", "workrs = 2\n" + prices)
    wrong = program.run("--check-config")
    check(f"a misspelt setting: {wrong.stderr}", wrong.returncode == 1 and "did you mean workers?" in wrong.stderr)


PROGRAMS = [flask, rust_api, hybrid, host, axum, groups, protocol, testing, branded]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=pathlib.Path, default=os.environ.get("VIRTUAL_ENV"))
    parser.add_argument("names", nargs="*", choices=[[], *(program.__name__ for program in PROGRAMS)])
    arguments = parser.parse_args()
    check("needed: a virtual environment with Flask and Django (--venv)", arguments.venv)
    for program in PROGRAMS:
        if not arguments.names or program.__name__ in arguments.names:
            program(pathlib.Path(arguments.venv).resolve())
            print(f"{program.__name__}: ok", flush=True)


if __name__ == "__main__":
    main()
