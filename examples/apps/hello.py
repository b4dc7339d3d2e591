"""Applications that need nothing but Python's standard library.

app     a page that shows the request as a WSGI application sees it
plain   thirteen bytes, for benchmarks
stream  one line a second, to watch a response arrive
echo    the request's body, sent back
"""

import os
import platform
import time
from html import escape
from string import Template

PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; --rust: #b7410e; --line: color-mix(in srgb, currentColor 15%, transparent); }
  body { max-width: 46rem; margin: 4rem auto; padding: 0 1.5rem; font: 16px/1.6 system-ui, sans-serif; }
  h1 { margin: 0; font-size: 2.2rem; letter-spacing: -.02em; }
  h1 b { color: var(--rust); }
  h2 { margin: 3rem 0 .5rem; font-size: 1rem; opacity: .7; }
  p { margin: .3rem 0 2rem; opacity: .7; }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1px; margin: 0;
       background: var(--line); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
  dl div { padding: .8rem 1rem; background: Canvas; }
  dt { font-size: .8rem; opacity: .6; }
  dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
  table { width: 100%; border-collapse: collapse; font: 13px/1.7 ui-monospace, monospace; }
  td { padding: .15rem 1rem .15rem 0; border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
  td:first-child { white-space: nowrap; color: var(--rust); }
</style>
<h1>It <b>works</b>.</h1>
<p>This page was made by <code>hello:app</code>, a Python function inside a Rust process.</p>
<dl>$facts</dl>
<h2>environ</h2>
<table>$rows</table>
</html>
""")


def _remember_pid():
    """Asks for the process once, and not with each request."""
    global _pid
    _pid = os.getpid()


_remember_pid()
os.register_at_fork(after_in_child=_remember_pid)


def app(environ, start_response):
    """Shows the request."""
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    facts = {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "server": environ.get("SERVER_SOFTWARE", "unknown"),
        "worker": f"pid {_pid}",
        "python": platform.python_version(),
    }
    body = PAGE.substitute(
        title=escape(f"{environ['REQUEST_METHOD']} {path}"),
        facts="".join(
            f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items()
        ),
        rows="".join(
            f"<tr><td>{escape(name)}</td><td>{escape(repr(value))}</td></tr>"
            for name, value in sorted(environ.items())
        ),
    ).encode()
    start_response(
        "200 OK",
        [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]


application = app


def plain(environ, start_response):
    """The smallest useful answer."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]


def stream(environ, start_response):
    """Ten lines, a second apart: try it with `curl --no-buffer`."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(10):
        yield b"line %d\n" % number
        time.sleep(1)


def echo(environ, start_response):
    """Sends the body back, in pieces of 64 KiB."""
    headers = [("Content-Type", environ.get("CONTENT_TYPE") or "application/octet-stream")]
    if "CONTENT_LENGTH" in environ:
        headers.append(("Content-Length", environ["CONTENT_LENGTH"]))
    start_response("200 OK", headers)
    return iter(lambda: environ["wsgi.input"].read(65536), b"")
