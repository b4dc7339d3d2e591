"""The Flask example with a page that the test can hold up."""

from flask import request

from flask_app import app


@app.get("/gated")
def gated():
    path = request.query_string.decode()

    def pieces():
        yield "first\n"
        with open(path) as gate:
            gate.read()
        yield "second\n"

    return pieces(), {"Content-Type": "text/plain"}
