"""The Django example with a page that the test can hold up."""

from django_site.wsgi import application

from django.http import StreamingHttpResponse
from django.urls import path

from django_site import urls


def gated(request):
    def pieces():
        yield "first\n"
        with open(request.META["QUERY_STRING"]) as gate:
            gate.read()
        yield "second\n"

    return StreamingHttpResponse(pieces(), content_type="text/plain")


urls.urlpatterns.append(path("gated", gated))
