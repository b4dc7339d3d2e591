"""`package.wsgi:application`."""

from names import saying

application = saying("package")
