# The error log in lines of JSON.
import json
import logging

from seen import seen

bind = '127.0.0.1:0'


class JsonFormatter(logging.Formatter):
    def format(self, record):
        return json.dumps({'level': record.levelname, 'name': record.name, 'text': record.getMessage()})


class Handler(logging.Handler):
    def emit(self, record):
        line = json.loads(self.format(record))
        if 'mine' in line['text']:
            seen('log', line['name'], line['level'], line['text'])


logconfig_dict = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'json': {'()': JsonFormatter}, 'plain': {'format': '%(message)s'}},
    'handlers': {
        'json': {'()': Handler, 'formatter': 'json'},
        'console': {'class': 'logging.StreamHandler', 'formatter': 'plain', 'stream': 'ext://sys.stderr'},
    },
    'root': {'level': 'INFO', 'handlers': ['json']},
    'loggers': {
        'gunicorn.error': {
            'level': 'INFO',
            'handlers': ['json', 'console'],
            'propagate': False,
            'qualname': 'gunicorn.error',
        },
        'gunicorn.access': {'level': 'INFO', 'handlers': ['json'], 'propagate': False, 'qualname': 'gunicorn.access'},
    },
}


def post_worker_init(worker):
    logging.getLogger('gunicorn.error').warning('mine: %s', worker.age)
    logging.getLogger('shop').info('mine: shop')
