"""The files of loaded modules, for a server that is reloaded when they change."""

import os
import sys
import time
from importlib.machinery import SourceFileLoader

count = 0
known = set()
# A method that is not documented, and may go.
cache_bytecode = getattr(SourceFileLoader, '_cache_bytecode', None)


def cache_old_bytecode(loader, source, *rest):
    'Bytecode knows its source by whole seconds and size, so a second change within a second would not be seen.'
    try:
        is_old = time.time() - os.stat(source).st_mtime > 2
    except OSError:
        is_old = False
    if is_old:
        cache_bytecode(loader, source, *rest)


if cache_bytecode:
    SourceFileLoader._cache_bytecode = cache_old_bytecode


def new_files():
    'The files of modules that were loaded since the last call.'
    global count
    if len(sys.modules) == count:
        return []
    count = len(sys.modules)
    news = []
    for module in list(sys.modules.values()):
        # A module may be any object, whose attributes run code of its own.
        try:
            path = object.__getattribute__(module, '__dict__').get('__file__')
        except Exception:
            continue
        if isinstance(path, str) and path not in known:
            known.add(path)
            news.append(os.path.abspath(path))
    return news
