"""The applications that every server serves when servers are compared."""
import json
import os
import tempfile
import time

FILE = tempfile.NamedTemporaryFile()
FILE.write(bytes(1 << 20))
FILE.flush()
HELLO = b"Hello, World!"
BIG = bytes(range(256)) * 400
BLOCK = b"x" * 4096
FIELDS = [(f"X-Field-{number}", f"the value of field {number}") for number in range(10)]


def answer(start_response, body, content_type="text/plain"):
    start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return answer(start_response, HELLO)


def to_json(environ, start_response):
    items = [{"id": number, "name": f"item {number}"} for number in range(8)]
    return answer(start_response, json.dumps({"items": items}).encode(), "application/json")


def big(environ, start_response):
    return answer(start_response, BIG)


def fields(environ, start_response):
    """Reads what the client has said in its fields, and says as much itself."""
    length = sum(len(value) for name, value in environ.items() if name.startswith("HTTP_X_"))
    body = str(length).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *FIELDS])
    return [body]


def file(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(1 << 20))])
    content = open(FILE.name, "rb")
    if "wsgi.file_wrapper" in environ:
        return environ["wsgi.file_wrapper"](content, 65536)
    return iter(lambda: content.read(65536), b"")


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (BLOCK for _ in range(64))


def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read())


def burn(environ, start_response):
    """Uses the processor for 2 ms, and tells which process did."""
    end = time.thread_time() + 0.002
    while time.thread_time() < end:
        pass
    return answer(start_response, str(os.getpid()).encode())


def sleep(environ, start_response):
    time.sleep(0.01)
    return answer(start_response, HELLO)


def flask():
    from flask import Flask, jsonify, request

    app = Flask("applications")
    app.get("/")(lambda: jsonify(message="Hello, World!"))
    app.post("/", endpoint="upload")(lambda: str(len(request.files["file"].read())))
    return app


def django():
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, JsonResponse
    from django.urls import path

    def index(request):
        if request.method == "POST":
            return HttpResponse(str(len(request.FILES["file"].read())))
        return JsonResponse({"message": "Hello, World!"})

    urls = [path("", index)]
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=tuple(urls), SECRET_KEY="measured", USE_TZ=True)
    return get_wsgi_application()


def __getattr__(name):
    """The frameworks' applications, made when a server asks for one."""
    if name == "flask_app":
        return flask()
    if name == "django_app":
        return django()
    raise AttributeError(name)
