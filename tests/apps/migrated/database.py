"""A connection that no process may share with another one."""

import os


class Connection:
    def __init__(self):
        self.owner = os.getpid()


connection = None


def connect():
    global connection
    connection = Connection()
