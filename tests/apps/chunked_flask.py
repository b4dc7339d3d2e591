"""What a Flask application sees of a body; one of more than 64 bytes is too large for it."""

from flask import Flask, request

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64


@app.post("/data")
def data():
    return request.get_data()


@app.post("/stream")
def stream():
    return request.stream.read()


@app.post("/form")
def form():
    return request.form["name"]
