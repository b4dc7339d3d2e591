"""Flask-Sock: websockets beside pages."""

from flask import Flask, request
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)
pinged = Flask("pinged")
pinged.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 1}
pinging = Sock(pinged)


def echo(ws):
    while True:
        data = ws.receive()
        if data == "close":
            ws.close(4001, "as asked")
        if data == "return":
            return
        ws.send(data)


sock.route("/echo")(echo)
pinging.route("/echo")(echo)


@sock.route("/fails")
def fails(ws):
    ws.receive()
    raise ValueError("the websocket that fails")


@app.get("/page")
def page():
    return f"a page for {request.headers['Host']}"
