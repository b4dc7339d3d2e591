"""Pyramid: renderers, sessions, files, iterables, views of exceptions, a static view."""

from pathlib import Path

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory

STATIC = Path(__file__).resolve().parents[3] / "examples/apps/static"


def count(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return {"visits": request.session["visits"], "name": request.matchdict["name"]}


def sign(request):
    return Response(f"{request.POST['name']}: {request.POST['message']}")


def upload(request):
    return Response(request.POST["file"].file.read(), content_type="application/octet-stream")


def stream(request):
    return Response(app_iter=(part for part in (b"one ", b"two")), content_type="text/plain")


def file(request):
    return FileResponse(str(STATIC / "style.css"), request=request)


def away(request):
    raise HTTPFound("/count/there")


def fails(request):
    raise ValueError("the view that fails")


def failed(error, request):
    return Response(f"sorry: {error}", status=503)


with Configurator() as config:
    config.set_session_factory(SignedCookieSessionFactory("of no use"))
    for name, view, more in [
        ("count", count, {"renderer": "json"}),
        ("sign", sign, {"request_method": "POST"}),
        ("upload", upload, {}),
        ("stream", stream, {}),
        ("file", file, {}),
        ("away", away, {}),
        ("fails", fails, {}),
    ]:
        config.add_route(name, "/count/{name}" if name == "count" else f"/{name}")
        config.add_view(view, route_name=name, **more)
    config.add_exception_view(failed, context=ValueError)
    config.add_static_view("static", str(STATIC))
    app = config.make_wsgi_app()
