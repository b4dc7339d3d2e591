"""What an access log has to tell of: the query says how to answer."""

import os
from urllib.parse import parse_qs


def app(environ, start_response):
    asked = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    environ["shop.user"] = asked.get("user", ["nobody"])[0]
    body = b"x" * int(asked.get("size", ["3"])[0])
    headers = [("Content-Type", "text/plain"), ("X-Pid", str(os.getpid()))]
    if "chunked" not in asked:
        headers.append(("Content-Length", str(len(body))))
    for name in ("X-One", "X-Two"):
        if name in asked:
            headers += [(name, value) for value in asked[name]]
    environ["wsgi.input"].read()
    start_response(asked.get("status", ["200 OK"])[0], headers)
    if "twice" in asked:
        return [body, body]
    return [body]
