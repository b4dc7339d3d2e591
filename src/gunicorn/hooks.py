"""The objects that hooks are given: Gunicorn's, as far as hooks use them. Run once in a process that has hooks.

The functions `write_log` and `requests_of` are the server's own, and are set before the first use.
"""

import os
import sys
import threading
import time
import traceback

server = None
worker = None


def make_log(cfg):
    'The error log, as a logger of Gunicorn\'s interface.'
    import logging

    from gunicorn.glogging import Logger

    class Log(Logger):
        def __init__(self, cfg):
            self.cfg, self.logfile, self.lock = cfg, None, threading.Lock()
            self.error_log, self.access_log = (logging.getLogger('gunicorn.' + log) for log in ('error', 'access'))
            self.error_handlers, self.access_handlers = [], []
            self.loglevel = self.LOG_LEVELS[cfg.loglevel]

        def critical(self, msg, *args, **kwargs):
            self.log(50, msg, *args, **kwargs)

        def error(self, msg, *args, **kwargs):
            self.log(40, msg, *args, **kwargs)

        def warning(self, msg, *args, **kwargs):
            self.log(30, msg, *args, **kwargs)

        warn = warning

        def info(self, msg, *args, **kwargs):
            self.log(20, msg, *args, **kwargs)

        def debug(self, msg, *args, **kwargs):
            self.log(10, msg, *args, **kwargs)

        def exception(self, msg, *args, **kwargs):
            self.log(40, msg, *args, **{'exc_info': True, **kwargs})

        def log(self, lvl, msg, *args, exc_info=None, **_):
            if isinstance(lvl, str):
                lvl = self.LOG_LEVELS.get(lvl.lower(), 20)
            text = str(msg)
            if args:
                text %= args[0] if len(args) == 1 and isinstance(args[0], dict) else args
            if exc_info:
                if isinstance(exc_info, BaseException):
                    exc_info = type(exc_info), exc_info, exc_info.__traceback__
                elif not isinstance(exc_info, tuple):
                    exc_info = sys.exc_info()
                text += '\n' + ''.join(traceback.format_exception(*exc_info)).rstrip()
            write_log(lvl, text)

        def reopen_files(self):
            'The server opens its files again by itself.'

    return Log(cfg)


class Setting:
    'A setting, with its value and its default.'

    def __init__(self, name, value, default):
        self.name, self.value, self.default = name, value, default

    def get(self):
        return self.value


class Config:
    'The settings, by their names.'

    def __init__(self, values, defaults):
        self.__dict__.update(values)
        self.settings = {name: Setting(name, value, defaults.get(name)) for name, value in values.items()}

    def __getattr__(self, name):
        raise AttributeError(f'No configuration setting for: {name}')

    def set(self, name, value):
        'Changes what hooks see. The server has taken its values from the file by then.'
        if name not in self.settings:
            raise AttributeError(f'No configuration setting for: {name}')
        write_log(30, f'cfg.set({name!r}, {value!r}) has no effect on the server: the file itself is to set {name}')
        self.settings[name].value = value
        setattr(self, name, value)


class App:
    'The application: its settings and, in a worker that has loaded it, its callable.'

    def __init__(self, cfg):
        self.cfg = cfg
        self.callable = None

    def wsgi(self):
        return self.callable


class Beat:
    "What Gunicorn's workers show their life with. This server's beat in memory."

    file = None

    def notify(self):
        pass

    def last_update(self):
        return time.monotonic()

    def fileno(self):
        if self.file is None:
            import tempfile
            self.file = tempfile.TemporaryFile()
        return self.file.fileno()

    def close(self):
        if self.file is not None:
            self.file.close()


class Worker:
    def __init__(self, age, ppid):
        self.age = age
        self.ppid = ppid
        self.pid = '[booting]'
        self.app, self.cfg, self.log = server.app, server.cfg, server.log
        self.timeout = server.timeout
        self.tmp = Beat()
        self.booted = self.aborted = False
        self.wsgi = None
        self.is_alive = True

    @property
    def nr(self):
        'How many requests it has answered.'
        return requests_of(self.age)

    @property
    def alive(self):
        return self.is_alive

    @alive.setter
    def alive(self, alive):
        'A worker that is not to live finishes its requests and leaves, and another one follows.'
        if self.is_alive and not alive and self.pid == os.getpid():
            import signal
            os.kill(self.pid, signal.SIGTERM)
        self.is_alive = bool(alive)

    def notify(self):
        pass

    def __str__(self):
        return f'<Worker {self.pid}>'


class Arbiter:
    def __init__(self):
        self.WORKERS = {}
        self.master_pid = 0

    def follow(self, cfg, log):
        self.cfg, self.app = cfg, App(cfg)
        self.log = log or make_log(cfg)
        self.timeout, self.proc_name = cfg.timeout, cfg.proc_name

    @property
    def worker_age(self):
        return max((it.age for it in by_age.values()), default=0)


by_age = {}


def follow(values, defaults, log):
    'New settings are in force, perhaps with a logger of their own.'
    global server
    server = server or Arbiter()
    server.follow(Config(values, defaults), log)


def arbiter(pid, address, num_workers):
    server.pid, server.address, server.num_workers = pid, address, num_workers
    server.cfg.address = address
    return server


def worker_of(age, pid=None):
    'The object of a worker, which lasts from before its fork to its end.'
    it = by_age.get(age)
    if it is None:
        it = by_age[age] = Worker(age, server.pid)
    if pid and it.pid != pid:
        it.pid = pid
        server.WORKERS[pid] = it
    return it


def end_of(age, pid):
    server.WORKERS.pop(pid, None)
    by_age.pop(age, None)


def own_worker(age, pid):
    'The object of the worker that this process is.'
    global worker
    if worker is None or worker.age != age:
        worker = worker_of(age)
        worker.pid = pid
        worker.app, worker.cfg, worker.log, worker.timeout = server.app, server.cfg, server.log, server.timeout
    return worker


def loaded(it, callable):
    'The application of a worker is loaded.'
    it.wsgi = it.app.callable = callable
    it.booted = True


def leaving(it, aborted):
    it.is_alive = False
    it.aborted = aborted


def patch_environ(environ, before, after):
    'Gives an environ the header fields that a hook has changed.'

    def fields(headers):
        found = {}
        for name, value in headers:
            key = name.upper().replace('-', '_')
            if key not in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
                key = 'HTTP_' + key
            found[key] = found[key] + ',' + value if key in found else value
        return found

    old, new = fields(before), fields(after)
    for key in old.keys() - new.keys():
        environ.pop(key, None)
    environ.update((key, value) for key, value in new.items() if old.get(key) != value)


def check(name, function, arguments):
    'A hook as a function of its arguments; an error where it is none.'
    import importlib
    import inspect
    if isinstance(function, str):
        module, dot, attribute = function.rpartition('.')
        if not dot:
            raise TypeError('a function, or the dotted name of one')
        try:
            function = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise TypeError(f'a function: {error}') from error
    if not callable(function):
        raise TypeError(f'a function of ({", ".join(arguments)})')
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function, len(arguments)
    # Gunicorn takes shorter forms of this hook.
    counts = (4, 3, 2) if name == 'post_request' else (len(arguments),)
    for count in counts:
        try:
            signature.bind(*arguments[:count])
            return function, count
        except TypeError:
            pass
    raise TypeError(f'a function of ({", ".join(arguments)}), and not of {signature}')
