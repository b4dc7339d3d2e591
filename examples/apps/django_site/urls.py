"""Where things are."""

from django.conf import settings
from django.urls import path
from django.views.static import serve

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("sign", views.sign, name="sign"),
    path("upload", views.upload, name="upload"),
    path("uploads/<str:name>", views.download, name="download"),
    path("stream", views.stream, name="stream"),
    path("boom", views.boom, name="boom"),
    # Good enough without a proxy in front that would serve them better.
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
]
