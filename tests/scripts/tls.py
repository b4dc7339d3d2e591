#!/usr/bin/env python3
"""Speaks TLS with the real program by other people's clients, and asks what those who audit a server ask.

usage: tls.py SERVE [COUNT [CLIENT ...]]

SERVE is `serve` or `oxicorn`, built with the feature `tls`. COUNT (default 500) is how many handshakes stall at once.
CLIENT is what to ask with, all of them without it:

- openssl: versions, ciphers, compression, renegotiation, protocols by name, certificates by name, and sessions that are
  resumed by each worker, after a reload and after an upgrade;
- curl, requests (Python's, or the one that pip has within it) and chromium: a page;
- swap: certificate files that change under load, without a request that fails;
- stalled: what ordinary clients notice of COUNT handshakes that go no further.

A client that is not installed is left out with a line. Ends with status 0 if everything was right.
"""
import base64
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from serving import PATIENCE, ROOT, bound, check, connect, eventually, parent_and_state, percentile_99, serving

DATA = ROOT / "tests" / "data" / "tls"
AUTHORITY = DATA / "ca.pem"
# The first certificate is for `localhost`, the second one for every name below `wild.example`.
FILES = ["--certfile", f"{DATA}/server.pem,{DATA}/rsa.pem", "--keyfile", f"{DATA}/server.key,{DATA}/rsa.key"]
KINDS = [["-w", "1"], ["-w", "1", "--threads", "4"]]
REQUEST = b"GET /pid HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# All that TLS 1.2 has to be spoken with: keys of one connection alone, and encryption that is authenticated.
STRONG = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
STRONG += [name.replace("ECDSA", "RSA") for name in STRONG]


def run(*command, given=b""):
    """What a command writes, and its status."""
    ran = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return ran.stdout.decode(errors="replace"), ran.returncode


class Openssl:
    """`openssl s_client`, with a request for `/pid`."""

    def __init__(self, port):
        # Debian's own settings would keep it from offering what is weak.
        self.command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(AUTHORITY)]

    def ask(self, *flags):
        return run(*self.command, "-ign_eof", *flags, given=REQUEST)[0]

    def renegotiate(self):
        """A line of its own has the client shake hands again."""
        return run(*self.command, "-tls1_2", given=b"R\n")[0]

    def is_answered(self, *flags):
        return "HTTP/1.1 200" in self.ask(*flags)

    def refusal(self, *flags):
        """The alert by which a handshake has ended."""
        said = self.ask(*flags)
        found = re.search(r"alert [a-z ]+:", said)
        check(f"{flags} is not refused: {said}", found and "HTTP/1.1" not in said)
        return found[0].removeprefix("alert ").removesuffix(":")


def versions_and_ciphers(port):
    client, weak = Openssl(port), "ALL:COMPLEMENTOFALL@SECLEVEL=0"
    for old in ("-tls1", "-tls1_1"):
        alert = client.refusal(old, "-cipher", weak)
        # Whichever of what is wrong with it is seen first.
        check(f"{old}: {alert}", alert in ("protocol version", "handshake failure"))
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        said = client.ask(version, "-servername", "localhost")
        check(f"{name}: {said}", f"New, {name}, Cipher is" in said and "HTTP/1.1 200" in said)
        check(f"{name}: the certificate: {said}", "Verify return code: 0 (ok)" in said)
        check(f"{name}: compression: {said}", "Compression: NONE" in said)
    others = ":".join([weak.partition("@")[0], *(f"!{name}" for name in STRONG)]) + "@SECLEVEL=0"
    offered = run("openssl", "ciphers", "-s", "-tls1_2", others)[0].split(":")
    for name in ("localhost", "a.wild.example"):
        alert = client.refusal("-tls1_2", "-servername", name, "-cipher", others)
        check(f"weak ciphers: {alert}", alert == "handshake failure")
        kind = "RSA" if "wild" in name else "ECDSA"
        for cipher in (strong for strong in STRONG if kind in strong):
            flags = ["-tls1_2", "-servername", name, "-cipher", cipher]
            check(f"{cipher} is not spoken", client.is_answered(*flags))
        client.refusal("-tls1_2", "-servername", name, "-cipher", weak, "-sigalgs", "RSA+SHA1:ECDSA+SHA1")
    said = client.renegotiate()
    check(f"renegotiation: {said}", "RENEGOTIATING" in said and "no renegotiation" in said)
    check(f"renegotiation: {said}", "Secure Renegotiation IS supported" in said)
    print(f"ok: versions, renegotiation, compression, {len(offered)} weak ciphers refused, {len(STRONG)} others spoken")


def names(port):
    client = Openssl(port)
    said = client.ask("-alpn", "h2,http/1.1")
    check(f"ALPN: {said}", "ALPN protocol: http/1.1" in said)
    alert = client.refusal("-alpn", "h2")
    check(f"ALPN: {alert}", alert == "no application protocol")
    # A name that no certificate has, and none at all, get the first one: clients see that it is not theirs.
    for name, shown in (("a.wild.example", "wild.example"), ("b.c.wild.example", "localhost"),
                        ("localhost", "localhost"), ("nobody.example", "localhost"), (None, "localhost")):
        for version in ("-tls1_2", "-tls1_3"):
            said = client.ask(version, *(["-servername", name] if name else ["-noservername"]))
            check(f"{name}: {said}", re.search(rf"subject=CN = {shown}\n", said))
    said = client.ask("-servername", "nobody.example", "-verify_hostname", "nobody.example", "-verify_return_error")
    check(f"a certificate for another name: {said}", "hostname mismatch" in said.lower())
    print("ok: protocols and certificates by name")


class Sessions:
    """Clients of both versions with a session each, which they try to resume."""

    def __init__(self, port, folder):
        self.client, self.folder = Openssl(port), pathlib.Path(folder)
        for version in self.VERSIONS:
            self.answered(version, "-sess_out", "New")

    VERSIONS = {"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}

    def answered(self, version, flag, kind):
        """The worker that has answered a handshake of this kind."""
        said = self.client.ask(version, "-servername", "localhost", flag, str(self.folder / version))
        check(f"{kind}, {version}: {said}", f"{kind}, {self.VERSIONS[version]}, Cipher is" in said)
        return re.search(r"\r\n\r\n(\d+)", said)[1]

    def resume(self, workers):
        """Resumes each until that many workers have done it."""
        for version in self.VERSIONS:
            pids, end = set(), time.monotonic() + PATIENCE
            while len(pids) < workers:
                check(f"only {len(pids)} workers answer", time.monotonic() < end)
                pids.add(self.answered(version, "-sess_in", "Reused"))


def resumption(serve):
    workers = 3
    with tempfile.TemporaryDirectory() as folder:
        pidfile, second = pathlib.Path(folder, "pid"), pathlib.Path(folder, "pid.2")
        flags = [*FILES, "-w", str(workers), "--pid", str(pidfile)]
        with serving(serve, "probe:app", flags) as (server, port, _):
            sessions = Sessions(port, folder)
            sessions.resume(workers)
            os.kill(server.pid, signal.SIGHUP)
            exits = "exited with code 0"
            eventually("the workers are new", lambda: server.log.read_text().count(exits) == workers)
            sessions.resume(workers)
            os.kill(server.pid, signal.SIGUSR2)
            new = int(eventually("a new arbiter", lambda: second.exists() and second.read_text().strip()))
            try:
                eventually("it serves", lambda: f"(pid:{new}) serves" in server.log.read_text())
                os.kill(server.pid, signal.SIGTERM)
                check("the old arbiter's status", server.wait(PATIENCE) == 0)
                sessions.resume(workers)
            finally:
                os.kill(new, signal.SIGTERM)
                eventually("the new arbiter ends", lambda: parent_and_state(new)[1] in (None, "Z"))
    print(f"ok: sessions resumed by {workers} workers, after a reload, and after an upgrade")


def curl(port):
    if not shutil.which("curl"):
        return print("skipped: curl is not on the PATH")
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", str(AUTHORITY)]
    for name in ("localhost", "a.wild.example"):
        resolved = ["--resolve", f"{name}:{port}:127.0.0.1"]
        url = f"https://{name}:{port}"
        for version in ("1.2", "1.3"):
            flags = [f"--tlsv{version}", "--tls-max", version, "-w", "%{http_code} %{num_connects} "]
            said, status = run(*command, *resolved, *flags, f"{url}/pid", f"{url}/pid")
            # Both on one connection.
            check(f"curl: {status} {said}", status == 0 and re.fullmatch(r"\d+200 1 \d+200 0 ", said))
    said, status = run(*command, "--resolve", f"nobody.example:{port}:127.0.0.1", f"https://nobody.example:{port}/pid")
    check(f"curl, a name of no certificate: {status} {said}", status == 60)
    said, status = run(*command, "-w", "%{http_code}", f"http://127.0.0.1:{port}/pid")
    check(f"curl, plain HTTP: {status} {said}", status == 0 and said.endswith("400"))
    print("ok: curl")


def requests(port):
    try:
        import requests as library
    except ImportError:
        try:
            from pip._vendor import requests as library
        except ImportError:
            return print("skipped: Python has no requests, and no pip with it")
    with library.Session() as session:
        session.trust_env, session.verify = False, str(AUTHORITY)
        for _ in range(20):
            answer = session.get(f"https://localhost:{port}/pid", timeout=PATIENCE)
            check(f"requests: {answer}", answer.status_code == 200 and answer.text.isdigit())
        facts = session.get(f"https://localhost:{port}/environ", timeout=PATIENCE).json()
        check(f"requests: {facts}", facts["wsgi.url_scheme"] == "'https'" and facts["SSL_TLS_SNI"] == "'localhost'")
        try:
            session.get(f"https://localhost:{port}/pid", timeout=PATIENCE, verify=str(DATA / "other-ca.pem"))
            check("requests believes another authority", False)
        except library.exceptions.SSLError:
            pass
    print(f"ok: requests {library.__version__}")


def chromium(port):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        return print("skipped: chromium is not on the PATH")
    pem = run("openssl", "x509", "-in", str(DATA / "server.pem"), "-noout", "-pubkey")[0]
    public = base64.b64decode("".join(pem.splitlines()[1:-1]))
    believed = base64.b64encode(hashlib.sha256(public).digest()).decode()
    with tempfile.TemporaryDirectory() as folder:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                   "--disable-component-update", "--no-first-run", "--no-proxy-server", f"--user-data-dir={folder}",
                   "--host-resolver-rules=MAP * 127.0.0.1", "--dump-dom"]
        page = f"https://127.0.0.1:{port}/environ"
        said, _ = run(*command, f"--ignore-certificate-errors-spki-list={believed}", page)
        check(f"chromium: {said}", "'TLSv1.3'" in said and "HeadlessChrome" in said)
        said, _ = run(*command, page)
        check(f"chromium believes a stranger's certificate: {said}", "HeadlessChrome" not in said)
    print("ok: chromium")


def context(name="localhost"):
    made = ssl.create_default_context(cafile=AUTHORITY)
    made.check_hostname = name is not None
    return made


def secured(client, made=None):
    return (made or context()).wrap_socket(client, server_hostname="localhost")


class Load(threading.Thread):
    """Asks on a new connection each time, or on a kept one, and counts what it gets."""

    def __init__(self, port, keeps, stop):
        super().__init__(daemon=True)
        self.port, self.keeps, self.stop = port, keeps, stop
        self.answers, self.failures = 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                with secured(connect(self.port)) as client:
                    request = REQUEST.replace(b"close", b"keep-alive") if self.keeps else REQUEST
                    while True:
                        client.sendall(request)
                        seen = b""
                        while not re.search(rb"\r\n\r\n\d+$", seen):
                            block = client.recv(65536)
                            check(f"an end after {seen!r}", block)
                            seen += block
                        check(f"an answer is {seen!r}", seen.startswith(b"HTTP/1.1 200"))
                        self.answers += 1
                        if self.stop.is_set() or not self.keeps:
                            break
            except (OSError, SystemExit) as error:
                self.failures.append(repr(error))


def shown(port):
    with secured(connect(port)) as client:
        return client.getpeercert(binary_form=True)


def swap(serve, swaps=6):
    for flags in KINDS:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            def put(name):
                for kind in ("pem", "key"):
                    shutil.copy(DATA / f"{name}.{kind}", f"{folder}/new")
                    os.replace(f"{folder}/new", f"{folder}/used.{kind}")

            put("server")
            files = ["--certfile", f"{folder}/used.pem", "--keyfile", f"{folder}/used.key"]
            _, port, _ = stack.enter_context(serving(serve, "probe:app", [*files, *flags]))
            stop = threading.Event()
            loads = [Load(port, keeps, stop) for keeps in (False, False, True)]
            for load in loads:
                load.start()
            for n in range(swaps):
                name = "server" if n % 2 else "renewed"
                der = ssl.PEM_cert_to_DER_cert((DATA / f"{name}.pem").read_text())
                put(name)
                eventually(f"{name} is shown", lambda: shown(port) == der)
            stop.set()
            for load in loads:
                load.join(PATIENCE)
            failures = [failure for load in loads for failure in load.failures]
            check(f"requests that failed: {failures}", not failures)
            answers = [load.answers for load in loads]
            check(f"some had no answer: {answers}", all(answers))
            kind = " ".join(flags)
            print(f"ok: {kind}: {swaps} swaps of the certificate, {sum(answers)} requests, none failed", flush=True)


def handshakes_99(port, count=200):
    """The 99th percentile of seconds for a new connection's answer."""
    made, took = context(), []
    for _ in range(count):
        start = time.perf_counter()
        with secured(connect(port), made) as client:
            client.sendall(REQUEST)
            check("no answer", client.recv(65536).startswith(b"HTTP/1.1 "))
        took.append(time.perf_counter() - start)
    return statistics.quantiles(took, n=100)[98]


def hello():
    """The first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def beside_stalled(port, count):
    """What ordinary clients have without and with that many stalled handshakes, kept connections and new ones."""

    def measured():
        return percentile_99(port, 500, secured), handshakes_99(port)

    quiet = measured()
    # Nothing, a part, and all of a hello that is answered and never followed up.
    whole = hello()
    clients = [connect(port) for _ in range(count)]
    for n, client in enumerate(clients):
        client.sendall(whole[: (0, 5, len(whole) // 2, len(whole))[n % 4]])
    for client in clients[3::4]:
        check("a hello has no answer", client.recv(1))
    beside = measured()
    for client in clients:
        client.close()
    return quiet, beside


def stalled(serve, count, runs=3):
    for flags in KINDS:
        with serving(serve, "attacked:app", [*FILES, *flags]) as (_, port, _):
            found = [beside_stalled(port, count) for _ in range(runs)]
        for what, n in (("a kept", 0), ("a new", 1)):
            pairs = [(quiet[n], beside[n]) for quiet, beside in found]
            said = ", ".join(f"{quiet * 1000:.1f} and {beside * 1000:.1f}" for quiet, beside in pairs)
            print(f"{' '.join(flags)}: 99 % of requests on {what} connection, without and with {count} stalled "
                  f"handshakes, in ms: {said}", flush=True)
            worst = statistics.median(beside / bound(quiet) for quiet, beside in pairs)
            check(f"{worst:.2f} times what may be", worst <= 1)


def main():
    serve, count, *wanted = [*sys.argv[1:], *["500"][len(sys.argv) - 2 :]]
    serve = str(pathlib.Path(serve).resolve())

    def asks(name):
        return not wanted or name in wanted

    if not shutil.which("openssl"):
        wanted = wanted or ["curl", "requests", "swap", "stalled"]
        print("skipped: openssl is not on the PATH, which chromium needs, too")
    for flags in KINDS:
        with serving(serve, "probe:app", [*FILES, *flags]) as (_, port, _):
            if asks("openssl"):
                versions_and_ciphers(port)
                names(port)
            for client in (curl, requests, chromium):
                if asks(client.__name__):
                    client(port)
    if asks("openssl"):
        resumption(serve)
    if asks("swap"):
        swap(serve)
    if asks("stalled"):
        stalled(serve, int(count))


if __name__ == "__main__":
    main()
