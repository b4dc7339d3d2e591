"""Falcon: media, streams, a multipart form, static files, cookies, errors."""

from pathlib import Path

import falcon

STATIC = Path(__file__).resolve().parents[3] / "examples/apps/static"


class Things:
    def on_get(self, request, response, number):
        response.media = {"number": number, "word": request.get_param("word"), "host": request.host}
        response.set_cookie("seen", str(number), secure=False)
        response.append_header("Vary", "Accept")

    def on_put(self, request, response, number):
        response.media = {"got": request.media, "cookies": request.cookies}
        response.status = falcon.HTTP_201

    def on_delete(self, request, response, number):
        response.status = falcon.HTTP_204


class Raw:
    def on_post(self, request, response):
        response.data = request.bounded_stream.read()

    def on_get(self, request, response):
        response.stream = (b"%d\n" % number for number in range(3))


class Upload:
    def on_post(self, request, response):
        response.media = {part.name: len(part.stream.read()) for part in request.get_media()}


class Fails:
    def on_get(self, request, response):
        raise ValueError("the resource that fails")


app = falcon.App()
app.add_route("/things/{number:int}", Things())
app.add_route("/raw", Raw())
app.add_route("/upload", Upload())
app.add_route("/fails", Fails())
app.add_static_route("/static", str(STATIC))
