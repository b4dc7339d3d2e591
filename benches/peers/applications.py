"""The applications that every server serves when servers are compared."""
import json

HELLO = b"Hello, World!"
BIG = bytes(range(256)) * 400
BLOCK = b"x" * 4096


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


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (BLOCK for _ in range(64))


def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read())


def flask():
    from flask import Flask, jsonify

    app = Flask("applications")
    app.get("/")(lambda: jsonify(message="Hello, World!"))
    return app


def django():
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import JsonResponse
    from django.urls import path

    urls = [path("", lambda request: JsonResponse({"message": "Hello, World!"}))]
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=tuple(urls), SECRET_KEY="measured", USE_TZ=True)
    return get_wsgi_application()


def __getattr__(name):
    """The frameworks' applications, made when a server asks for one."""
    if name == "flask_app":
        return flask()
    if name == "django_app":
        return django()
    raise AttributeError(name)
