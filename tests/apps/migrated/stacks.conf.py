# A worker that hangs shows where.
import sys
import threading
import traceback

from seen import seen

bind = '127.0.0.1:0'
timeout = 1
graceful_timeout = 1


def worker_abort(worker):
    worker.log.info('worker received SIGABRT signal')
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        functions = [entry.name for entry in traceback.extract_stack(frame)]
        seen('stack', names[ident], 'held' in functions, worker.alive)
