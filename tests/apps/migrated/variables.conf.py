# Everything comes from the environment.
import os

from seen import seen

for name, value in os.environ.items():
    if name.startswith('SHOP_GUNICORN_'):
        locals()[name[len('SHOP_GUNICORN_'):].lower()] = value

reload = os.getenv('SHOP_RELOAD', 'false').lower() == 'true'
accesslog = os.getenv('SHOP_ACCESS_LOG') or None


def on_starting(server):
    seen('cfg', server.cfg.workers, server.cfg.timeout, server.cfg.graceful_timeout, server.cfg.threads,
         server.cfg.proc_name)
