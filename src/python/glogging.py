"""Gunicorn's logger as programs derive from it, for where the package is not installed."""

import base64
import binascii
import logging
import os
import sys
import threading
import time
import traceback
from logging.handlers import WatchedFileHandler


def _logger(handler):
    return {'level': 'INFO', 'handlers': [handler], 'propagate': False, 'qualname': 'gunicorn'}


def _console(stream):
    return {'class': 'logging.StreamHandler', 'formatter': 'generic', 'stream': f'ext://sys.{stream}'}


CONFIG_DEFAULTS = {
    'version': 1,
    'disable_existing_loggers': False,
    'root': {'level': 'INFO', 'handlers': ['console']},
    'loggers': {'gunicorn.error': _logger('error_console'), 'gunicorn.access': _logger('console')},
    'handlers': {'console': _console('stdout'), 'error_console': _console('stderr')},
    'formatters': {
        'generic': {
            'format': '%(asctime)s [%(process)d] [%(levelname)s] %(message)s',
            'datefmt': '[%Y-%m-%d %H:%M:%S %z]',
            'class': 'logging.Formatter',
        },
    },
}


class SafeAtoms(dict):
    'Values of an access line: quotes are escaped, and an unknown name is a dash.'

    def __init__(self, atoms):
        super().__init__()
        for name, value in atoms.items():
            self[name] = value.replace('"', '\\"') if isinstance(value, str) else value

    def __getitem__(self, name):
        return self.get(name.lower() if name.startswith('{') else name, '-')


class Logger:
    LOG_LEVELS = {
        name: getattr(logging, name.upper()) for name in ('critical', 'error', 'warning', 'info', 'debug')
    }
    loglevel = logging.INFO
    error_fmt = '%(asctime)s [%(process)d] [%(levelname)s] %(message)s'
    datefmt = '[%Y-%m-%d %H:%M:%S %z]'
    access_fmt = '%(message)s'
    syslog_fmt = '[%(process)d] %(message)s'
    atoms_wrapper_class = SafeAtoms

    def __init__(self, cfg):
        self.error_log = logging.getLogger('gunicorn.error')
        self.access_log = logging.getLogger('gunicorn.access')
        self.error_log.propagate = self.access_log.propagate = False
        self.error_handlers, self.access_handlers = [], []
        self.logfile = None
        self.lock = threading.Lock()
        self.cfg = cfg
        self.setup(cfg)

    def setup(self, cfg):
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.error_log.setLevel(self.loglevel)
        self.access_log.setLevel(logging.INFO)
        self._set_handler(self.error_log, cfg.errorlog, logging.Formatter(self.error_fmt, self.datefmt))
        if cfg.accesslog is not None:
            self._set_handler(self.access_log, cfg.accesslog, logging.Formatter(self.access_fmt), sys.stdout)
        self._configure(cfg)

    def _configure(self, cfg):
        'Applies the first of the three configurations of `logging` that there is.'
        import json
        from logging.config import dictConfig, fileConfig
        if getattr(cfg, 'logconfig_dict', None):
            dictConfig({**CONFIG_DEFAULTS, **cfg.logconfig_dict})
        elif getattr(cfg, 'logconfig_json', None):
            with open(cfg.logconfig_json) as file:
                dictConfig({**CONFIG_DEFAULTS, **json.load(file)})
        elif getattr(cfg, 'logconfig', None):
            if not os.path.exists(cfg.logconfig):
                raise RuntimeError(f'there is no log config {cfg.logconfig!r}')
            here = {'__file__': cfg.logconfig, 'here': os.path.dirname(cfg.logconfig)}
            fileConfig(cfg.logconfig, defaults=here, disable_existing_loggers=False)

    def _set_handler(self, log, output, fmt, stream=None):
        for old in [old for old in log.handlers if getattr(old, '_gunicorn', False)]:
            log.removeHandler(old)
        if output is None:
            return
        handler = logging.StreamHandler(stream) if output == '-' else WatchedFileHandler(output, delay=True)
        handler.setFormatter(fmt)
        handler._gunicorn = True
        log.addHandler(handler)

    def _get_gunicorn_handler(self, log):
        return next((it for it in log.handlers if getattr(it, '_gunicorn', False)), None)

    def critical(self, msg, *args, **kwargs):
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg, *args, **kwargs):
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg, *args, **kwargs):
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg, *args, **kwargs):
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg, *args, **kwargs):
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg, *args, **kwargs):
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl, msg, *args, **kwargs):
        level = self.LOG_LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
        self.error_log.log(level, msg, *args, **kwargs)

    def atoms(self, resp, req, environ, request_time):
        seconds, micros = request_time.seconds, request_time.microseconds
        status = resp.status
        if isinstance(status, str):
            status = status.split(None, 1)[0]
        sent = getattr(resp, 'sent', None)
        atoms = {
            'h': environ.get('REMOTE_ADDR', '-'),
            'l': '-',
            'u': self._get_user(environ) or '-',
            't': self.now(),
            'r': ' '.join(environ[name] for name in ('REQUEST_METHOD', 'RAW_URI', 'SERVER_PROTOCOL')),
            's': status,
            'm': environ.get('REQUEST_METHOD'),
            'U': environ.get('PATH_INFO'),
            'q': environ.get('QUERY_STRING'),
            'H': environ.get('SERVER_PROTOCOL'),
            'b': '-' if sent is None else str(sent),
            'B': sent,
            'f': environ.get('HTTP_REFERER', '-'),
            'a': environ.get('HTTP_USER_AGENT', '-'),
            'T': seconds,
            'D': seconds * 1000000 + micros,
            'M': seconds * 1000 + micros // 1000,
            'L': f'{seconds}.{micros:06}',
            'p': f'<{os.getpid()}>',
        }
        for kind, values in (
            ('i', getattr(req, 'headers', req)),
            ('o', resp.headers),
            ('e', environ),
        ):
            pairs = values.items() if hasattr(values, 'items') else values
            atoms.update(('{%s}%s' % (name.lower(), kind), value) for name, value in pairs)
        return atoms

    @property
    def access_log_enabled(self):
        cfg = self.cfg
        syslog = getattr(cfg, 'syslog', False) and not getattr(cfg, 'disable_redirect_access_to_syslog', False)
        configured = (getattr(cfg, name, None) for name in ('logconfig', 'logconfig_dict', 'logconfig_json'))
        return bool(cfg.accesslog or syslog or any(configured))

    def access(self, resp, req, environ, request_time):
        if not self.access_log_enabled:
            return
        atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
        try:
            self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:
            self.error(traceback.format_exc())

    def now(self):
        return time.strftime('[%d/%b/%Y:%H:%M:%S %z]')

    def reopen_files(self):
        'Opens the files of all loggers again, of whichever configuration they are.'
        manager = logging.Logger.manager
        loggers = [manager.root, *(it for it in manager.loggerDict.values() if isinstance(it, logging.Logger))]
        for handler in {id(handler): handler for it in loggers for handler in it.handlers}.values():
            if not isinstance(handler, logging.FileHandler):
                continue
            handler.acquire()
            try:
                if handler.stream:
                    handler.stream.close()
                    handler.stream = handler._open()
            finally:
                handler.release()

    def close_on_exec(self):
        "Python's files are closed on exec."

    def _get_user(self, environ):
        kind, _, coded = environ.get('HTTP_AUTHORIZATION', '').partition(' ')
        if kind.lower() != 'basic':
            return None
        try:
            return base64.b64decode(coded.strip().encode()).split(b':', 1)[0].decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
