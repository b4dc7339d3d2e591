"""Is not imported before it is told to leave, and notes in FOLDER how far it came."""

import os
import time


def note(name):
    with open(os.path.join(os.environ["FOLDER"], name), "w"):
        pass


try:
    note("begun")
    time.sleep(3600)
finally:
    note("finally")
