# As many workers as the machine has room for.
import multiprocessing

from seen import seen

bind = ['127.0.0.1:0']
workers = min(multiprocessing.cpu_count() * 2 + 1, 5)
worker_class = 'gthread'
threads = 2
worker_connections = 100
max_requests = 1000
max_requests_jitter = 50
keepalive = 5
preload_app = False
errorlog = '-'
loglevel = 'info'
proc_name = None
tmp_upload_dir = None
keyfile = None


def when_ready(server):
    seen('workers', server.num_workers == workers, server.cfg.workers == workers, server.cfg.threads)


def pre_fork(server, worker):
    seen('worker', worker.age)


def post_fork(server, worker):
    if worker.age == workers:
        seen('last')
