"""What tests/scripts/slow_clients.py attacks."""

BLOCK = b"x" * 65536


def app(environ, start_response):
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [])
        return (BLOCK for _ in range(64))
    start_response("200 OK", [("Content-Length", "5")])
    return [b"small"]
