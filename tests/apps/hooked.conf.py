"""Every hook but those around requests, with state of their own, a thread in the arbiter that logs, and a log that
Python's `logging` writes."""

import os
import threading
import time

os.environ['HOOKED'] = 'yes'

logconfig_dict = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'plain': {'format': '[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s'}},
    'handlers': {'err': {'class': 'logging.StreamHandler', 'formatter': 'plain', 'stream': 'ext://sys.stderr'}},
    'root': {'handlers': []},
    'loggers': {
        'gunicorn.error': {'level': 'INFO', 'handlers': ['err'], 'propagate': False},
        'gunicorn.access': {'level': 'WARNING', 'handlers': [], 'propagate': False},
    },
}


def when_ready(server):
    def beat():
        while True:
            time.sleep(0.01)
            server.log.info('still here')

    threading.Thread(target=beat, daemon=True).start()


def pre_fork(server, worker):
    worker.born = time.monotonic()


def post_fork(server, worker):
    assert worker.born and worker.pid == os.getpid()


def post_worker_init(worker):
    assert worker.wsgi and worker.nr == 0


def worker_exit(server, worker):
    assert worker.born


def child_exit(server, worker):
    assert worker.born and worker.pid in server.WORKERS


def nworkers_changed(server, new_value, old_value):
    server.log.debug('%s workers', new_value)


def on_reload(server):
    assert server.cfg.workers


def pre_exec(server):
    server.log.info('executing')


def worker_int(worker):
    worker.log.info('leaving')
