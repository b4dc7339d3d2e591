"""What stands behind nginx in tests/scripts/behind_nginx.py."""


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    if environ["REQUEST_METHOD"] != "POST":
        body = environ["PATH_INFO"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
