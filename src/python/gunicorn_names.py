"""What applications and configuration files look for of Gunicorn: its package, and its loggers."""

import os
import sys
from importlib.machinery import ModuleSpec

PACKAGE = """
version_info = (27, 0, 1)
__version__ = '27.0.1'
SERVER = 'gunicorn'
SERVER_SOFTWARE = SERVER + '/' + __version__
"""


class Finder:
    """Finds the package where it is not installed: it comes after all other finders.

    It is a finder and a loader by its methods. The classes of `importlib.abc` bring forty modules along.
    """

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        if name in self.sources:
            return ModuleSpec(name, self, is_package=name == 'gunicorn')

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        source = self.sources[module.__name__]
        exec(compile(source, f'<oxicorn {module.__name__}>', 'exec'), module.__dict__)


def install(glogging):
    'Makes the package importable.'
    if not any(type(finder).__name__ == 'Finder' and hasattr(finder, 'sources') for finder in sys.meta_path):
        sys.meta_path.append(Finder({'gunicorn': PACKAGE, 'gunicorn.glogging': glogging}))


def replaced(name):
    "The package's name of the server, if a program has replaced it."
    package = sys.modules.get('gunicorn')
    if package is None:
        return None
    usual = {'SERVER': 'gunicorn', 'SERVER_SOFTWARE': f'gunicorn/{getattr(package, "__version__", "")}'}
    value = getattr(package, name, None)
    return value if isinstance(value, str) and value != usual[name] else None


def set_up(errorlog, accesslog, level):
    'Gives both loggers a handler that writes to the file of their log, or to its stream.'
    import logging

    def handler(output, stream, formatter):
        if output == '-':
            made = logging.StreamHandler(stream)
        else:
            from logging.handlers import WatchedFileHandler
            # It follows a file that is moved away, in whichever process.
            made = WatchedFileHandler(output, delay=True)
        made.setFormatter(formatter)
        made._gunicorn = True
        return made

    for name, output, stream, formatter in (
        (
            'gunicorn.error',
            errorlog,
            sys.stderr,
            logging.Formatter('%(asctime)s [%(process)d] [%(levelname)s] %(message)s', '[%Y-%m-%d %H:%M:%S %z]'),
        ),
        ('gunicorn.access', accesslog, sys.stdout, logging.Formatter('%(message)s')),
    ):
        logger = logging.getLogger(name)
        logger.propagate = False
        for old in [old for old in logger.handlers if getattr(old, '_gunicorn', False)]:
            logger.removeHandler(old)
        if output is not None:
            logger.addHandler(handler(output, stream, formatter))
        logger.setLevel(level if name == 'gunicorn.error' else 'INFO')


def make_logger(values, logger_class, logconfig_dict):
    """A logger of the class that the settings name, set up with them, the level of its messages, and whether it is to know
    of requests."""
    import importlib
    from types import SimpleNamespace

    from gunicorn.glogging import Logger
    cfg = SimpleNamespace(user=os.geteuid(), group=os.getegid(), **values)
    cfg.logconfig_dict = logconfig_dict or {}
    if isinstance(logger_class, str):
        logger_class = None if logger_class == 'simple' else logger_class
    if logger_class is None:
        logger_class = Logger
    if isinstance(logger_class, str):
        module, _, name = logger_class.rpartition('.')
        logger_class = getattr(importlib.import_module(module), name)
    for method in ('setup', 'access', 'error'):
        if not callable(getattr(logger_class, method, None)):
            raise TypeError(f'logger_class {logger_class!r} has no method {method}, as gunicorn.glogging.Logger has')
    if hasattr(logger_class, 'install'):
        logger_class.install()
    logger = logger_class(cfg)
    error_log = getattr(logger, 'error_log', None)
    level = error_log.getEffectiveLevel() if error_log else 0
    # The usual method does nothing without a log; one of a class's own may write elsewhere.
    usual = getattr(logger_class, 'access', None) is Logger.access
    return logger, level, not usual or bool(logger.access_log_enabled)


def log_access(logger, client, line, status, sent, fields, response_fields, micros):
    'Has the logger write of one request.'
    from datetime import timedelta
    from types import SimpleNamespace
    method, target, path, decoded, query, version = line
    environ = {
        'REQUEST_METHOD': method,
        'RAW_URI': target,
        'PATH_INFO': decoded,
        'QUERY_STRING': query,
        'SERVER_PROTOCOL': version,
        'REMOTE_ADDR': client,
    }
    for name, value in fields:
        key = name.upper().replace('-', '_')
        if key not in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
            key = 'HTTP_' + key
        environ[key] = f'{environ[key]},{value}' if key in environ else value
    req = SimpleNamespace(
        method=method,
        uri=target,
        path=path,
        query=query,
        version=tuple(int(part) for part in version[5:].split('.')),
        headers=[(name.upper(), value) for name, value in fields],
        remote_addr=client,
    )
    resp = SimpleNamespace(
        status=status,
        status_code=int(status.split(' ', 1)[0]),
        headers=response_fields,
        sent=sent,
    )
    logger.access(resp, req, environ, timedelta(microseconds=micros))
