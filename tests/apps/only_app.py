"""A module without `application`: its `app` is meant."""

from names import saying

app = saying("app")
