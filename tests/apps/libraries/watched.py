"""An application with WebTest's lint and the standard library's validator around it, which watch its server, too."""

from wsgiref.validate import validator

from webtest.lint import middleware


def inner(environ, start_response):
    kind = environ["PATH_INFO"]
    length = int(environ.get("CONTENT_LENGTH") or 0)
    seen = environ["wsgi.input"].read(length) if length else b""
    if kind == "/lines":
        seen = b"|".join(seen.splitlines())
    elif kind == "/none":
        start_response("204 No Content", [])
        return []
    elif kind == "/written":
        start_response("200 OK", [("Content-Type", "text/plain")])(b"written, ")
        return [b"returned"]
    elif kind == "/raises":
        raise ValueError("watched")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"seen: ", seen])


app = middleware(inner)
validated = validator(inner)
both = validator(middleware(inner))
