# What has to be done once, before everything.
import os
import subprocess
import sys

from seen import seen

bind = '127.0.0.1:0'
workers = 2


def on_starting(server):
    done = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True)
    os.environ['SHOP_READY'] = done.stdout.strip()
    seen('on_starting', done.returncode, done.stdout.strip(), server.pid == os.getpid())


def on_exit(server):
    seen('on_exit', len(server.WORKERS))
