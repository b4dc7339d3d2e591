"""Runs a configuration file, and notes the line on which each name was set. Run anew for each file."""

import importlib.machinery
import importlib.util
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import MutableMapping


class Recorder(MutableMapping):
    'The names of a module, as the local names of its code.'

    def __init__(self, names, path):
        self.names, self.path, self.lines = names, path, {}

    def __setitem__(self, name, value):
        self.names[name] = value
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename != self.path:
            frame = frame.f_back
        if frame:
            self.lines[name] = frame.f_lineno

    def __getitem__(self, name):
        return self.names[name]

    def __delitem__(self, name):
        del self.names[name]
        self.lines.pop(name, None)

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)


def spec_of_file(path):
    kind = 'SourcelessFileLoader' if path.endswith('.pyc') else 'SourceFileLoader'
    loader = getattr(importlib.machinery, kind)('__config__', path)
    return importlib.util.spec_from_file_location('__config__', path, loader=loader)


def spec_of_module(name):
    'Finds a module where it is now, and not where it was imported from before.'
    importlib.invalidate_caches()
    before = sys.modules.pop(name, None)
    try:
        spec = importlib.util.find_spec(name)
    finally:
        if before:
            sys.modules[name] = before
    if spec is None or not hasattr(spec.loader, 'get_code'):
        raise ModuleNotFoundError(f'No module named {name!r}', name=name)
    return spec


def execute(spec):
    'Runs the code anew, also where it was changed within the second that its compiled form is valid for.'
    loader, name = spec.loader, spec.name
    linecache.checkcache(spec.origin)
    if hasattr(loader, 'source_to_code'):
        code = loader.source_to_code(loader.get_data(spec.origin), spec.origin)
    else:
        code = loader.get_code(name)
    before = sys.modules.get(name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    recorder = Recorder(vars(module), code.co_filename)
    try:
        exec(code, vars(module), recorder)
    except BaseException:
        if before:
            sys.modules[name] = before
        else:
            del sys.modules[name]
        raise
    parent, _, child = name.rpartition('.')
    if parent:
        setattr(sys.modules[parent], child, module)
    names = [(name, value, recorder.lines.get(name)) for name, value in vars(module).items()]
    return code.co_filename, names


def changed_modules(seen, own):
    'The modules of the application whose files were changed after they were imported.'
    library = sysconfig.get_path('stdlib')
    changed = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, '__file__', None)
        if name == own or not isinstance(path, str) or not path.endswith('.py') or path.startswith(library):
            continue
        if '/site-packages/' in path or '/dist-packages/' in path:
            continue
        try:
            time = os.stat(path).st_mtime_ns
        except OSError:
            continue
        if seen.setdefault(name, time) != time:
            changed.append(name)
    return sorted(changed)


def other_venv(names):
    'The virtual environment that a file names and this interpreter is not of, and the one that it is of.'
    for name, folder, line in names:
        if name == 'venv' and folder and os.path.realpath(folder) != os.path.realpath(sys.prefix):
            return os.fspath(folder), line, sys.prefix


def explain(path, error):
    """An exception in one line, the lines of its traceback without the steps to the file, the place in the file that it
    has passed through, and the place that has raised it."""
    def is_ours(frames):
        return frames.tb_frame.f_code.co_filename.startswith(('<oxicorn>', '<frozen importlib'))

    def place(file, line):
        return f'{file} line {line}'

    frames = error.__traceback__
    while frames and is_ours(frames):
        frames = frames.tb_next
    text = ''.join(traceback.format_exception(type(error), error, frames)).rstrip()
    own = last = None
    while frames:
        last = place(frames.tb_frame.f_code.co_filename, frames.tb_lineno)
        if frames.tb_frame.f_code.co_filename == path:
            own = last
        frames = frames.tb_next
    if isinstance(error, SystemExit):
        return f'it called sys.exit({error.code})', text, own, last
    message = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        message, last = error.msg, place(error.filename, error.lineno)
    summary = ': '.join([type(error).__name__, *message.splitlines()[:1]])
    return summary, text, own, last
