"""A guestbook in Django: sessions, forms with CSRF, uploads, redirects, SQLite, static files, streaming.

    pip install django
    serve --chdir examples/apps django_site.wsgi:application

What it stores is under $DEMO_DATA, by default a folder of the system's temporary directory;
$DJANGO_DEBUG=1 shows Django's exception page.
"""
