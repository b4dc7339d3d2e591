"""The guestbook's pages."""

import os
import time

from django import forms
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from .models import Entry


class Sign(forms.ModelForm):
    class Meta:
        model = Entry
        fields = ["name", "message"]


class Upload(forms.Form):
    file = forms.FileField()


@require_GET
def index(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return page(request, Sign())


@require_POST
def sign(request):
    form = Sign(request.POST)
    if not form.is_valid():
        return page(request, form, status=422)
    request.session["name"] = form.save().name
    return redirect("index")


@require_POST
def upload(request):
    form = Upload(request.POST, request.FILES)
    if not form.is_valid():
        return page(request, Sign(), status=422)
    file = form.cleaned_data["file"]
    return redirect("download", name=default_storage.save(file.name, file))


@require_GET
def download(request, name):
    if not default_storage.exists(name):
        raise Http404(name)
    return FileResponse(default_storage.open(name), as_attachment=True)


@require_GET
def stream(request):
    def lines():
        for number in range(5):
            yield f"line {number}\n"
            time.sleep(1)

    return StreamingHttpResponse(lines(), content_type="text/plain; charset=utf-8")


@require_GET
def boom(request):
    raise RuntimeError("the view that always fails")


def page(request, form, status=200):
    context = {"form": form, "entries": Entry.objects.all()[:50], "pid": os.getpid()}
    return render(request, "guestbook/page.html", context, status=status)
