"""What a Bottle application sees of a body; it keeps none of more than 64 bytes in memory."""

from bottle import Bottle, BaseRequest, request

BaseRequest.MEMFILE_MAX = 64
app = Bottle()


@app.post("/data")
def data():
    return request.body.read()


@app.post("/stream")
def stream():
    return request.environ["wsgi.input"].read()


@app.post("/form")
def form():
    return request.forms["name"]
