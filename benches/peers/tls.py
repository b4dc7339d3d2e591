#!/usr/bin/env python3
"""Measures what TLS costs several servers, and prints tables: see docs/PERFORMANCE.md.

usage: tls.py [--rounds N] [--seconds N] [--handshakes N] [--servers A;B] [--features tls-aws-lc]

CPU microseconds of all of a server's processes, as in measure.py, which has the rest: for a request of a kept connection, and
for a handshake of each kind on a connection that asks for nothing. Each server has one worker, and the same key, of both kinds
in turn; all speak TLS 1.3 with TLS_AES_256_GCM_SHA384 and X25519. Needs wrk and nginx, which serves its answer by itself.
"""
import argparse
import json
import os
import statistics
import subprocess

from measure import CLIENT_CORE, HERE, ROOT, TARGET, VENV, Server, cpu_nanoseconds, load, machine, oxicorn, prepare

KEYS = {"ECDSA P-256": "server", "RSA 2048": "rsa"}
KINDS = ["kept", "full", "resumed"]

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen {{address}} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ default_type text/plain; return 200 "Hello, World!"; }}
    }}
}}
"""


def commands(name):
    certificate, key = (ROOT / "tests" / "data" / "tls" / f"{name}.{kind}" for kind in ("pem", "key"))
    folder = TARGET / f"nginx-{name}"
    folder.mkdir(exist_ok=True)
    text = NGINX.format(folder=folder, certificate=certificate, key=key)
    script = "printf '%s' \"$1\" > $0/nginx.conf && exec nginx -p $0 -c $0/nginx.conf -e $0/error.log"
    files = ["--certfile", certificate, "--keyfile", key]
    return {
        "oxicorn": oxicorn(*files),
        "oxicorn, threads 4": oxicorn(*files, "--threads", "4"),
        "granian": [VENV / "bin" / "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--host", "127.0.0.1", "--port",
                    "{port}", "--workers", "1", "--log-level", "warning", "--ssl-certificate", certificate, "--ssl-keyfile", key,
                    "applications:{app}"],
        "gunicorn gthread": [VENV / "bin" / "gunicorn", "-b", "{address}", "-k", "gthread", "--threads", "4", "--log-level",
                             "warning", *files, "applications:{app}"],
        "nginx, no Python": ["sh", "-c", script, folder, text],
    }


def handshakes(server, count, kind):
    """Nothing where the server resumes no session."""
    command = ["taskset", "-c", CLIENT_CORE, TARGET / "release" / "handshakes", server.address, str(count), kind]
    before = cpu_nanoseconds(server.process.pid)
    if subprocess.run(command, capture_output=True).returncode:
        return None
    return (cpu_nanoseconds(server.process.pid) - before) / 1000 / count


def measure(name, arguments):
    """For each server and kind the figures of all rounds."""
    running, found = {}, {}
    try:
        for server_name, command in commands(name).items():
            if arguments.servers and server_name not in arguments.servers:
                continue
            server = Server(command, "hello", "https")
            wrong = server.start(0)
            if wrong:
                print(f"left out: {server_name}: {wrong}", flush=True)
                server.stop()
            else:
                running[server_name] = server
        for number in range(-1, arguments.rounds):
            for kind in KINDS:
                for server_name, server in running.items():
                    if kind == "kept":
                        figure = load(server, arguments.seconds, {})["cpu_us"]
                    else:
                        figure = handshakes(server, arguments.handshakes, kind)
                    # The first one is to warm up.
                    if number >= 0 and figure is not None:
                        found.setdefault((server_name, kind), []).append(figure)
    finally:
        for server in running.values():
            server.stop()
    return found


def shown(figures):
    if len(figures) < 2:
        return " ".join(f"{figure:.1f}" for figure in figures) or "–"
    low, middle, high = statistics.quantiles(figures, n=4)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--handshakes", type=int, default=2000)
    parser.add_argument("--features", default="tls")
    parser.add_argument("--servers", type=lambda text: text.split(";"), default=[], help="separated by ;")
    arguments = parser.parse_args()
    prepare(arguments.features)
    print(json.dumps(machine()))
    for key, name in KEYS.items():
        found = measure(name, arguments)
        servers = list(dict.fromkeys(server for server, _ in found))
        print(f"\n| {key} |", " | ".join(servers), "|\n|---|", "--:|" * len(servers), sep="")
        for kind in KINDS:
            print(f"| {kind} |", " | ".join(shown(found.get((server, kind), [])) for server in servers), "|", flush=True)


if __name__ == "__main__":
    main()
