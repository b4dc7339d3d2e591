//! How Python ends: in a worker as in any program, in a process that goes on not at all, and what a child forgets of
//! its parent's.
//!
//! A server ends only what it has started. Of an interpreter that is a program's own nothing is ended here, and what a
//! parent has begun, its child leaves alone.
//!
//! ```text
//!   a worker's process, our interpreter:   leave ──▶ finalize
//!   a worker's process, the host's:        leave ──▶ save
//!   a worker that leaves calls behind:     save
//!   a program's process, our interpreter:  the last application that stops: let_go; the arbiter's, preloaded: unload
//!   a program's process, its interpreter:  nothing
//! ```

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors;
use super::ffi;
use super::interpreter::{loaded, threads};
use crate::trace;

/// The steps, as Python has them.
const STEPS: &std::ffi::CStr = c"
import sys


def loaded(name):
    return sys.modules.get(name)


def each(kinds):
    'The live objects of these kinds. No class is asked, since it might lie and run code.'
    import gc
    return [it for it in gc.get_objects() if issubclass(type(it), kinds)]


def temporary_files():
    tempfile = loaded('tempfile')
    return each(tempfile._TemporaryFileCloser) if tempfile else []


def flush():
    'Writes what files have buffered.'
    import io
    writers = each((io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom))
    # A text goes through its buffer.
    for writer in sorted(writers, key=lambda it: not isinstance(it, io.TextIOWrapper)):
        try:
            if not writer.closed:
                writer.flush()
        except Exception:
            pass


def save():
    'Does what matters of the end of a process that cannot be ended as it should.'
    import gc
    gc.unfreeze()
    flush()
    weakref = loaded('weakref')
    if weakref:
        weakref.finalize._exitfunc()
    for file in temporary_files():
        file.close()


def standing():
    'The exit functions of modules that go on where the process does.'
    for module, name in (
        ('logging', 'shutdown'),
        ('multiprocessing.util', '_exit_function'),
    ):
        if loaded(module):
            yield getattr(loaded(module), name)
    weakref = loaded('weakref')
    if weakref and weakref.finalize._registered_with_atexit:
        yield weakref.finalize._exitfunc


def let_go():
    'Calls the exit functions of an application, in a process in which Python goes on.'
    import atexit
    kept = list(standing())
    for function in kept:
        atexit.unregister(function)
    try:
        atexit._run_exitfuncs()
    finally:
        for function in reversed(kept):
            atexit.register(function)
    flush()


def unload():
    'Ends Python but for the interpreter itself: it can still load something else.'
    import atexit
    threading = loaded('threading')
    # The threads of executors are told here that no more work comes.
    calls = getattr(threading, '_threading_atexits', [])
    while calls:
        calls.pop()()
    kept = list(standing())
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


def forget(files, own):
    'In a child: what the parent has begun is for the parent to end.'
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
        kept = list(standing())
        atexit._clear()
        for function in reversed(kept):
            atexit.register(function)


def ignore_signals():
    'Finalization would put the defaults in the place of handlers.'
    signal = loaded('signal')
    if signal:
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
";

fn step<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let globals = PyDict::new(py);
    py.run(STEPS, Some(&globals), None)?;
    globals.as_any().get_item(name)
}

fn take_step(py: Python<'_>, name: &str) {
    if let Err(error) = step(py, name).and_then(|step| step.call0()) {
        lament(py, name, &error);
    }
}

fn lament(py: Python<'_>, step: &str, error: &PyErr) {
    let traceback = errors::traceback(py, error);
    errors::log(
        py,
        &format!("Error at the end of Python ({step})\n{traceback}"),
    );
}

/// In a worker that has no call any more: waits for the threads that are not daemons, then calls the functions
/// registered with `atexit`.
pub(crate) fn leave(py: Python<'_>) {
    let waited_for = threads(py, |thread| Ok(!thread.getattr("daemon")?.is_truthy()?));
    if let Ok(names @ [_, ..]) = waited_for.as_deref() {
        let names = names.join(", ");
        let text = format!("Waiting for the application's threads that are not daemons: {names}");
        errors::info(py, &text);
    }
    let steps = [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")];
    for (module, step) in steps {
        let done = loaded(py, module).and_then(|module| match module {
            Some(module) => module.call_method0(step).map(drop),
            None => Ok(()),
        });
        if let Err(error) = done {
            lament(py, &format!("{module}.{step}"), &error);
        }
    }
}

/// Ends the interpreter, in a worker's own process. Its work is done, and no thread of ours is left.
pub(crate) fn finalize() {
    Python::attach(|py| {
        take_step(py, "ignore_signals");
        // Python leaves alone what daemons hold, and they may hold all of a module.
        if threads(py, |_| Ok(true)).is_ok_and(|threads| !threads.is_empty()) {
            save(py);
        }
    });
    if !ffi::finalize() {
        trace::warning!("Python could not write at its end all that files had buffered");
    }
}

/// Writes what files have buffered, and removes temporary files: where the interpreter cannot be ended.
pub(crate) fn save(py: Python<'_>) {
    take_step(py, "save");
}

/// Calls the application's `atexit` functions, in a process in which Python goes on.
pub(crate) fn let_go(py: Python<'_>) {
    take_step(py, "let_go");
}

/// Ends what was loaded in this process, helpers and all; the process goes on.
pub(crate) fn unload(py: Python<'_>) {
    take_step(py, "unload");
}

/// The temporary files that are open, which are for their maker to remove; what files have buffered is written, so
/// that no child writes it once more.
pub(crate) fn settle(py: Python<'_>) -> PyResult<Py<PyAny>> {
    step(py, "flush")?.call0()?;
    Ok(step(py, "temporary_files")?.call0()?.unbind())
}

/// In a child: leaves to its parent what is the parent's. `files` are the parent's temporary files; `own` says that
/// what runs in the parent is this child's application, whose functions registered with `atexit` are called in both.
pub(crate) fn forget(py: Python<'_>, files: PyResult<Py<PyAny>>, own: bool) {
    let forgotten = files.and_then(|files| step(py, "forget")?.call1((files, own)));
    if let Err(error) = forgotten {
        lament(py, "forget", &error);
    }
}
