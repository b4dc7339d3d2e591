"""What tests/scripts/steady_memory.py and instructions.py ask for: answers of several sizes, to bodies of several sizes."""
import json
import os

BIG = bytes(range(256)) * 400

try:
    from flask import Flask, jsonify
except ImportError:
    flask = None
else:
    flask = Flask(__name__)

    @flask.get("/flask")
    def hello():
        return jsonify(message="Hello, World!")


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/mark":
        # callgrind is told to write its counts whenever this function is called.
        os.getpgid(0)
    if path == "/flask":
        if flask is None:
            start_response("501 Not Implemented", [("Content-Length", "0")])
            return []
        return flask(environ, start_response)
    if path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/big":
        body = BIG
    elif path == "/json":
        body = json.dumps({"path": path, "items": [{"id": i, "name": "item"} for i in range(8)]}).encode()
    else:
        body = b"Hello, World!"
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
