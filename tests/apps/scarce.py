"""Reads a request's body where the process may have no more memory than it has, and 16 MiB."""
import resource

PAGE = resource.getpagesize()


def outcome(call):
    """What comes of a call without memory: the name of its exception, or the size of its result."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * PAGE
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), hard))
    try:
        return str(len(call()))
    except BaseException as error:
        return type(error).__name__
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def app(environ, start_response):
    body = environ["wsgi.input"]
    call = {
        "/read": body.read,
        "/some": lambda: body.read(60 << 20),
        "/line": body.readline,
        "/lines": body.readlines,
        "/next": lambda: next(body),
        "/small": lambda: body.read(1000),
    }[environ["PATH_INFO"]]
    answer = outcome(call).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
