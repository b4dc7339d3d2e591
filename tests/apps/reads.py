"""Makes the call that the query names on `wsgi.input`, and answers with its result."""


def app(environ, start_response):
    call = environ["QUERY_STRING"].replace("%20", " ")
    try:
        result = repr(eval("source." + call, {"source": environ["wsgi.input"]}))
    except StopIteration:
        result = "StopIteration"
    except Exception as error:
        result = type(error).__name__
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [result.encode()]
