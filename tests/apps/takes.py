"""What tests/scripts/fairness.py asks: `/SECONDS` takes so long, and is answered with who took how long."""

import os
import time


def app(environ, start_response):
    begun = time.perf_counter()
    time.sleep(float(environ["PATH_INFO"][1:]))
    body = b"%d %.6f" % (os.getpid(), time.perf_counter() - begun)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
