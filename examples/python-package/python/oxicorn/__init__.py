"""A WSGI server in the interpreter that imports it."""

from ._oxicorn import serve

__all__ = ["serve"]
