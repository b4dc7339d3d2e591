"""Answers with PATH_INFO as Python shows it."""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [repr(environ["PATH_INFO"]).encode()]
