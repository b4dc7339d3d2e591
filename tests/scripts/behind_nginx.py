#!/usr/bin/env python3
"""Puts the real nginx in front of `serve` and holds what comes through against what went in.

usage: behind_nginx.py SERVE [ROUNDS]

SERVE is the built example; ROUNDS (default 200) is how many kept-alive requests each way of proxying gets.
Needs nginx on the PATH. Ends with status 0 if every answer was right.
"""
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

from serving import PATIENCE, ROOT, check, eventually

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream app {{ server {upstream}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{buffered};
        location / {{ {proxy} }}
    }}
    server {{
        listen 127.0.0.1:{direct};
        location / {{ {proxy} proxy_buffering off; proxy_request_buffering off; }}
    }}
}}
"""

PROXY = """proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
           proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def exercise(port, rounds):
    """Every kind of request on one kept-alive connection to nginx."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    for n in range(rounds):
        client.request("GET", f"/page/{n}")
        answer = client.getresponse()
        text = answer.read().decode()
        check(f"GET /page/{n}: {answer.status}", answer.status == 200 and f"/page/{n}" in text)
    large = os.urandom(5 << 20)
    for body in (b"x", b"y" * 70_000, large):
        client.request("POST", "/echo", body)
        answer = client.getresponse()
        check(f"an upload of {len(body)} bytes", answer.status == 200 and answer.read() == body)
    pieces = (large[start : start + 4096] for start in range(0, len(large), 4096))
    client.request("POST", "/echo", pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    answer = client.getresponse()
    check("a chunked upload", answer.status == 200 and answer.read() == large)
    client.request("HEAD", "/page")
    answer = client.getresponse()
    check("HEAD", answer.status == 200 and answer.read() == b"")
    client.close()


def main():
    serve = pathlib.Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    nginx = shutil.which("nginx") or sys.exit("nginx is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for upstream in (f"unix:{folder}/app.sock", f"127.0.0.1:{free_port()}"):
            buffered, direct = free_port(), free_port()
            config = pathlib.Path(folder, "nginx.conf")
            config.write_text(
                NGINX.format(folder=folder, upstream=upstream, buffered=buffered, direct=direct, proxy=PROXY)
            )
            log = open(pathlib.Path(folder, "serve.log"), "w+")
            bind = [str(serve), "--bind", upstream, "--workers", "2", "--chdir", str(ROOT / "tests" / "apps")]
            app = subprocess.Popen([*bind, "proxied:app"], stderr=log)
            front = subprocess.Popen([nginx, "-p", folder, "-c", config, "-e", f"{folder}/error.log"])
            try:
                eventually("nginx listens", lambda: listens(buffered) and listens(direct))
                # nginx may be there before the server is.
                eventually("the server listens", lambda: "Booting worker" in pathlib.Path(log.name).read_text())
                for port in (buffered, direct):
                    exercise(port, rounds)
            finally:
                front.send_signal(signal.SIGQUIT)
                app.send_signal(signal.SIGTERM)
                statuses = front.wait(PATIENCE), app.wait(PATIENCE)
            check(f"the statuses {statuses}", statuses == (0, 0))
            log.seek(0)
            bad = re.findall(r".*\[(?:WARNING|ERROR)\].*", log.read())
            check("the server's log: " + "\n".join(bad), not bad)
            errors = pathlib.Path(folder, "error.log").read_text()
            check(f"nginx's log: {errors}", "[error]" not in errors)
            log.close()
            print(f"ok: nginx in front, upstream {upstream.split(':')[0]}, buffering on and off, {rounds} rounds each")


if __name__ == "__main__":
    main()
