"""What a Django application sees of a body; one of more than 64 bytes is too large for it."""

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATA_UPLOAD_MAX_MEMORY_SIZE=64,
    SECRET_KEY="of no use",
)

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path


def data(request):
    return HttpResponse(request.body)


def stream(request):
    return HttpResponse(request.read())


def form(request):
    return HttpResponse(request.POST["name"])


urlpatterns = [path("data", data), path("stream", stream), path("form", form)]
application = get_wsgi_application()
