"""The entry point: `django_site.wsgi:application`."""

import fcntl
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_site.settings")

from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

# A demonstration sets its own database up. Workers start side by side: one migrates, the others wait.
with open(settings.DATA / "migrate.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    call_command("migrate", verbosity=0)
