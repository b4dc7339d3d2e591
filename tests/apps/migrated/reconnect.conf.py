# Connections are not shared.
import database

from seen import seen

bind = '127.0.0.1:0'
workers = 1

database.connect()


def pre_fork(server, worker):
    worker.parent = database.connection


def post_fork(server, worker):
    server.log.info('Worker spawned (pid: %s)', worker.pid)
    database.connect()
    seen('post_fork', worker.parent.owner == server.pid, database.connection.owner == worker.pid, worker.age)


def worker_exit(server, worker):
    seen('worker_exit', worker.parent is not database.connection)
