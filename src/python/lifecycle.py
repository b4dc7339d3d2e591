"""The steps of Python's end, and of a fork, that are written in Python. Run anew for each step."""

import sys


def loaded(name):
    return sys.modules.get(name)


def instances(classes):
    'The live instances of these classes. Their `__class__` is not asked: it may be a property that runs code.'
    import gc
    return [it for it in gc.get_objects() if issubclass(type(it), classes)]


def temporary_files():
    tempfile = loaded('tempfile')
    return instances(tempfile._TemporaryFileCloser) if tempfile else []


def flush():
    'Writes the buffers of all open files.'
    import io
    writers = instances((io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom))
    # A text file writes into its binary buffer, which therefore comes after it.
    for writer in sorted(writers, key=lambda it: not isinstance(it, io.TextIOWrapper)):
        try:
            if not writer.closed:
                writer.flush()
        except Exception:
            pass


def save():
    'Flushes files and removes temporary ones, where the interpreter cannot be finalized.'
    import gc
    gc.unfreeze()
    flush()
    weakref = loaded('weakref')
    if weakref:
        weakref.finalize._exitfunc()
    for file in temporary_files():
        file.close()


def kept_exit_functions():
    'The exit functions of modules that are still in use where the process goes on.'
    for module, name in (
        ('logging', 'shutdown'),
        ('multiprocessing.util', '_exit_function'),
    ):
        if loaded(module):
            yield getattr(loaded(module), name)
    weakref = loaded('weakref')
    if weakref and weakref.finalize._registered_with_atexit:
        yield weakref.finalize._exitfunc


def run_last_exit_functions(finalizes):
    'Calls the exit functions of a process that ends. That of `logging` is left to finalization: more is logged until then.'
    import atexit
    logging = loaded('logging') if finalizes else None
    if logging:
        atexit.unregister(logging.shutdown)
    atexit._run_exitfuncs()
    if logging:
        atexit.register(logging.shutdown)


def run_exit_functions():
    'Calls the exit functions of an application, in a process in which Python goes on.'
    import atexit
    kept = list(kept_exit_functions())
    for function in kept:
        atexit.unregister(function)
    try:
        atexit._run_exitfuncs()
    finally:
        for function in reversed(kept):
            atexit.register(function)
    flush()


def unload():
    'Ends everything of Python but the interpreter, which can still load something else.'
    import atexit
    threading = loaded('threading')
    # These tell the threads of executors that no more work comes.
    calls = getattr(threading, '_threading_atexits', [])
    while calls:
        calls.pop()()
    kept = list(kept_exit_functions())
    atexit._run_exitfuncs()
    save()
    for module, name in (
        ('concurrent.futures.thread', '_shutdown'),
        ('concurrent.futures.process', '_global_shutdown'),
        ('multiprocessing.util', '_exiting'),
    ):
        if getattr(loaded(module), name, False):
            setattr(loaded(module), name, False)
    for module in ('concurrent.futures.thread', 'concurrent.futures.process'):
        if loaded(module) and hasattr(threading, '_register_atexit'):
            threading._register_atexit(loaded(module)._python_exit)
    if loaded('weakref'):
        loaded('weakref').finalize._shutdown = False
    for function in reversed(kept):
        atexit.register(function)


def forget_parents(files, own):
    'In a child: leaves helper processes, temporary files and exit functions to the parent.'
    process, util = loaded('multiprocessing.process'), loaded('multiprocessing.util')
    if process:
        process._children.clear()
    if util:
        util._finalizer_registry.clear()
        util._run_after_forkers()
    tracker = loaded('multiprocessing.resource_tracker')
    if tracker:
        tracker._resource_tracker._pid = None
    for name, module in list(sys.modules.items()):
        if name == 'concurrent.futures.process' or name.endswith('loky.process_executor'):
            module._threads_wakeups.clear()
    weakref = loaded('weakref')
    if weakref:
        for finalizer, info in list(weakref.finalize._registry.items()):
            if getattr(info.func, '__module__', None) == 'tempfile':
                finalizer.detach()
    for file in files:
        file.delete = False
    if not own:
        import atexit
        kept = list(kept_exit_functions())
        atexit._clear()
        for function in reversed(kept):
            atexit.register(function)


def ignore_signals():
    'Keeps finalization from restoring the defaults in the place of handlers.'
    signal = loaded('signal')
    if signal:
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
