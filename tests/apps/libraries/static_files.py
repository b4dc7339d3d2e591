"""WhiteNoise before an application."""

from pathlib import Path

from whitenoise import WhiteNoise

STATIC = Path(__file__).resolve().parents[3] / "examples/apps/static"


def inner(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"no such file"]


app = WhiteNoise(inner, root=str(STATIC), prefix="static/", max_age=60)
