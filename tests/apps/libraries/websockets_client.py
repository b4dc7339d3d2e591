"""Talks to websockets_app.py at the port that its argument names, and says what has not gone well."""

import sys
import time

from simple_websocket import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

port, scene = sys.argv[1:]
url = f"ws://127.0.0.1:{port}/"

if scene == "talks":
    large = {"max_size": 1 << 22}
    with connect(url + "echo", compression=None, **large) as one, connect(url + "echo", **large) as two:
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
            for ws, message in ((one, b"\xff" * size), (two, "ü" * size)):
                ws.send(message)
                assert ws.recv(timeout=10) == message, size
    with connect(url + "echo") as ws:
        ws.send(["frag", "ments"])
        assert ws.recv(timeout=10) == "fragments"
        assert ws.ping().wait(10)
        ws.send("close")
        try:
            ws.recv(timeout=10)
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as asked"), closed
    with connect(url + "echo") as ws:
        ws.send("return")
        try:
            ws.recv(timeout=10)
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1000, closed
    ws = Client(url + "echo")
    ws.send("simple")
    assert ws.receive(timeout=10) == "simple"
    ws.close()
    with connect(url + "fails") as ws:
        ws.send("now")
    # The extension's own thread has answered the close.
    assert ws.close_code == 1000, ws.close_code
    try:
        connect(url + "page")
    except InvalidStatus as refused:
        assert refused.response.status_code == 400
elif scene == "waits":
    # For longer than the server waits between two pings.
    with connect(url + "echo") as ws:
        ws.send("one")
        assert ws.recv(timeout=10) == "one"
        print("connected", flush=True)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            ws.send("again")
            assert ws.recv(timeout=10) == "again"
            time.sleep(0.5)
elif scene == "stays":
    with connect(url + "echo") as ws:
        print("connected", flush=True)
        try:
            ws.recv(timeout=20)
        except ConnectionClosed:
            print("ended", flush=True)
elif scene == "refused":
    try:
        connect(url + "echo")
    except InvalidStatus as refused:
        assert refused.response.status_code == 500
print("done", flush=True)
