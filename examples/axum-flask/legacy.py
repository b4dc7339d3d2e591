"""The application that is served below /legacy."""

import time

from flask import Flask, Response, request, url_for

app = Flask(__name__)


@app.get("/")
def index():
    return f"Flask at {url_for('index')}, asked for {request.full_path!r}\n"


@app.get("/hello/<name>")
def hello(name):
    return f"Hello {name} from {request.remote_addr}: {url_for('hello', name=name)}\n"


@app.post("/upload")
def upload():
    size = 0
    while block := request.stream.read(64 * 1024):
        size += len(block)
    return f"{size}\n"


ended = []


@app.get("/endless")
def endless():
    def blocks():
        try:
            while True:
                yield b"x" * 8192
        finally:
            ended.append(True)

    return Response(blocks(), mimetype="text/plain")


@app.get("/ended")
def how_many_have_ended():
    return f"{len(ended)}\n"


@app.get("/slow")
def slow():
    def blocks():
        yield "begun\n"
        time.sleep(1)
        yield "ended\n"

    return Response(blocks(), mimetype="text/plain")
