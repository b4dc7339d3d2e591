"""Bottle: forms, files, uploads, cookies, generators, errors."""

from pathlib import Path

from bottle import Bottle, HTTPError, redirect, request, response, static_file

STATIC = Path(__file__).resolve().parents[3] / "examples/apps/static"
app = Bottle()


@app.get("/hello/<name>")
def hello(name):
    response.set_cookie("name", name)
    return {"name": name, "before": request.get_cookie("name"), "query": dict(request.query)}


@app.post("/sign")
def sign():
    response.status = 201
    return f"{request.forms.name}: {request.forms.message}"


@app.post("/upload")
def upload():
    return request.files.file.file.read()


@app.get("/stream")
def stream():
    response.content_type = "text/plain"
    yield "one "
    yield "two"


@app.get("/static/<path:path>")
def static(path):
    return static_file(path, root=str(STATIC))


@app.get("/away")
def away():
    redirect("/hello/there")


@app.get("/refused")
def refused():
    raise HTTPError(403, "not for you")


@app.get("/fails")
def fails():
    raise ValueError("the route that fails")
