"""Django with views that are coroutines: asgiref runs them for a WSGI server."""

import asyncio
import threading

from django.conf import settings

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of no use", USE_TZ=True)

from asgiref.sync import sync_to_async
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path


async def twice(number):
    await asyncio.sleep(0.001)
    return 2 * number


async def gathers(request):
    return JsonResponse({"twice": await asyncio.gather(*(twice(number) for number in range(5)))})


async def thread(request):
    """What is sensitive to threads runs in the thread of the call."""
    here = request.META["the.thread"]
    there = await sync_to_async(threading.get_ident)()
    return HttpResponse(str(here == there))


async def upload(request):
    total = 0
    for chunk in request.FILES["file"].chunks():
        total += len(chunk)
        await asyncio.sleep(0)
    return HttpResponse(str(total))


def stream(request):
    async def parts():
        for number in range(3):
            await asyncio.sleep(0)
            yield f"{number} "

    return StreamingHttpResponse(parts(), content_type="text/plain")


async def fails(request):
    await asyncio.sleep(0)
    raise ValueError("the coroutine that fails")


urlpatterns = [path(view.__name__, view) for view in (gathers, thread, upload, stream, fails)]
django = get_wsgi_application()


def app(environ, start_response):
    environ["the.thread"] = threading.get_ident()
    return django(environ, start_response)
