# The metrics of a worker that has gone are removed.
import glob
import os

from prometheus_client import multiprocess

from seen import seen

bind = '127.0.0.1:0'
workers = 1


def child_exit(server, worker):
    pattern = os.path.join(os.environ['PROMETHEUS_MULTIPROC_DIR'], f'gauge_live*_{worker.pid}.db')
    before = len(glob.glob(pattern))
    multiprocess.mark_process_dead(worker.pid)
    seen('child_exit', before, len(glob.glob(pattern)))
