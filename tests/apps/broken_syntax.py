"""A module that Python cannot parse."""


def app(environ, start_response:
    pass
