"""Applications under all kinds of names."""


def saying(text):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return app


def make(first=None, name=None):
    return saying("made" if first is None else f"{first} and {name}")


hello = saying("hello")
application = saying("application")


class site:
    admin = staticmethod(saying("admin"))
    make = staticmethod(saying)


nothing = None
number = 3


def make_nothing():
    return None


def needs_two(first, second):
    return hello
