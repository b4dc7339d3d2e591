# Shares its numbers with the application.
import pathlib
import sys

from limits import *
import limits
from seen import seen

bind = '127.0.0.1:0'
workers = str(limits.MOST)
base = pathlib.Path(__file__).resolve().parent
pythonpath = str(base)


def when_ready(server):
    seen('neighbour', server.cfg.workers, names, base.name, __name__, str(base) in sys.path)
