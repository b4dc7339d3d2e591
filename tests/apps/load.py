"""What tests/endurance asks: `/TOKEN/SIZE?MILLIS` is answered with as many bytes of the token, a POST with its body."""

import os
import time

# As an application that has much to import.
time.sleep(float(os.environ.get("LOAD_IMPORT_SECONDS", 0)))
# Broken as long as there is a file of that name.
if os.path.exists(os.environ.get("LOAD_BROKEN_BY") or "/nowhere/at/all"):
    raise RuntimeError("broken on purpose")
# In one piece, since other workers write there too.
os.write(2, b"loaded %d\n" % os.getpid())


def app(environ, start_response):
    if millis := int(environ["QUERY_STRING"]):
        time.sleep(millis / 1000)
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read()
    else:
        _, token, size = environ["PATH_INFO"].split("/")
        body = (token * (int(size) // len(token) + 1))[: int(size)].encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
