"""What a Pyramid application sees of a body."""

from pyramid.config import Configurator
from pyramid.response import Response


def data(request):
    return Response(request.body)


def stream(request):
    return Response(request.body_file.read())


def form(request):
    return Response(request.POST["name"])


def made():
    config = Configurator()
    for view in (data, stream, form):
        config.add_route(view.__name__, "/" + view.__name__)
        config.add_view(view, route_name=view.__name__)
    return config.make_wsgi_app()


application = made()
