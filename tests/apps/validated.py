"""An application that the standard library's validator watches, together with its server."""

from wsgiref.validate import validator


@validator
def app(environ, start_response):
    length = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read(int(length) if length else 65536)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"valid: ", repr(body).encode()]
