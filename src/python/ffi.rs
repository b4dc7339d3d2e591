//! The parts of Python's C API that pyo3 has no safe form for: the interpreter's configuration, its start and end,
//! text from latin-1, bytes that may not fit into memory, a reference count, marked signals, exceptions for other
//! threads, forks, and work without the interpreter's lock.
//!
//! Each function is one act of the interpreter, without any policy.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_long};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::{ptr, slice};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};
use pyo3::{Py, ffi};

use super::turn::{self, Wait};
use crate::fork_outcome::ForkOutcome;

/// Whether this process has an interpreter. Async-signal-safe.
pub(crate) fn is_running() -> bool {
    // SAFETY: may be called at any time, without the interpreter's lock.
    unsafe { ffi::Py_IsInitialized() != 0 }
}

/// The version of libpython, such as `3.13.5`. An interpreter is not needed.
#[cfg(feature = "cli")]
pub(crate) fn version() -> String {
    // SAFETY: may be called before the interpreter is started, and gives a text that is never freed or changed.
    let text = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) };
    let text = text.to_string_lossy();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// A `PyConfig` (PEP 587) with Python's own defaults, `PYTHON*` variables included, except that it
/// parses no arguments, installs no signal handlers and buffers no bytes of its output.
pub(crate) struct Config(Box<ffi::PyConfig>);

impl Config {
    pub(crate) fn new() -> Self {
        let mut config = Box::new(MaybeUninit::<ffi::PyConfig>::uninit());
        // SAFETY: the call initialises all of the structure that it is given.
        let mut config = unsafe {
            ffi::PyConfig_InitPythonConfig(config.as_mut_ptr());
            config.assume_init()
        };
        config.parse_argv = 0;
        config.install_signal_handlers = 0;
        config.buffered_stdio = 0;
        Self(config)
    }

    /// Sets `sys.argv` and `sys.orig_argv`.
    pub(crate) fn argv(&mut self, argv: impl Iterator<Item = OsString>) -> Result<(), String> {
        let argv = argv
            .map(|argument| c_string(&argument))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<*const c_char> = argv.iter().map(|text| text.as_ptr()).collect();
        let count = isize::try_from(pointers.len()).map_err(|e| e.to_string())?;
        // SAFETY: `pointers` holds `count` C strings that outlive the call, which copies them.
        check(unsafe { ffi::PyConfig_SetBytesArgv(&raw mut *self.0, count, pointers.as_mut_ptr()) })
    }

    /// Sets the path of the interpreter's executable, by whose place `site` finds a `pyvenv.cfg`.
    pub(crate) fn executable(&mut self, path: &OsStr) -> Result<(), String> {
        let field = &raw mut self.0.executable;
        self.text(field, path)
    }

    /// Sets the name under which the executable is looked for on `PATH`.
    pub(crate) fn program_name(&mut self, name: &OsStr) -> Result<(), String> {
        let field = &raw mut self.0.program_name;
        self.text(field, name)
    }

    fn text(&mut self, field: *mut *mut libc::wchar_t, text: &OsStr) -> Result<(), String> {
        let text = c_string(text)?;
        // SAFETY: `field` is a text field of this very configuration; the call copies the C string.
        check(unsafe { ffi::PyConfig_SetBytesString(&raw mut *self.0, field, text.as_ptr()) })
    }

    /// Starts the interpreter with the calling thread as its main one, and releases its lock.
    ///
    /// # Errors
    ///
    /// The interpreter's own message. The interpreter must not be used then.
    pub(crate) fn start(self) -> Result<(), String> {
        // SAFETY: the caller has made sure that there is no interpreter yet (`is_running`); the
        // configuration is initialised. On success this thread holds the interpreter's lock, which
        // `PyEval_SaveThread` asks for.
        unsafe {
            check(ffi::Py_InitializeFromConfig(&raw const *self.0))?;
            ffi::PyEval_SaveThread();
        }
        Ok(())
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: the structure is initialised and is not used again.
        unsafe { ffi::PyConfig_Clear(&raw mut *self.0) }
    }
}

fn c_string(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes()).map_err(|e| e.to_string())
}

fn check(status: ffi::PyStatus) -> Result<(), String> {
    // SAFETY: looks at its argument only.
    if unsafe { ffi::PyStatus_Exception(status) } == 0 {
        return Ok(());
    }
    if status.err_msg.is_null() {
        return Err(format!("it asked to exit with status {}", status.exitcode));
    }
    // SAFETY: a message is a C string of static life (PEP 587).
    let message = unsafe { CStr::from_ptr(status.err_msg) };
    Err(message.to_string_lossy().into_owned())
}

/// Bytes as a `str` of one character a byte.
#[inline]
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let len = isize::try_from(bytes.len())?;
    // SAFETY: `bytes` are `len` readable bytes; the result is a new `str`, or null with an exception set.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len, ptr::null());
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

/// A copy of `bytes` as a Python object.
///
/// # Errors
///
/// `MemoryError`, where memory has no room for it.
#[inline]
pub(crate) fn copy_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let len = isize::try_from(bytes.len())?;
    // SAFETY: `bytes` are `len` readable bytes; the result is a new `bytes`, or null with an exception set.
    unsafe {
        let copy = ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), len);
        Ok(Bound::from_owned_ptr_or_err(py, copy)?.cast_into_unchecked())
    }
}

/// Whether an object is what `iter` makes of a list or of a tuple, so that its items are there already.
#[inline]
pub(crate) fn is_iterator_of_list(object: &Bound<'_, PyAny>) -> bool {
    let iterators = [
        &raw mut ffi::PyListIter_Type,
        &raw mut ffi::PyTupleIter_Type,
    ];
    iterators.contains(&object.get_type_ptr())
}

/// Whether there are more than `own` references to an object. Always true on an interpreter without a lock, where the
/// count is spread over threads.
#[inline]
pub(crate) fn is_held<T>(_: Python<'_>, object: &Py<T>, own: isize) -> bool {
    // SAFETY: the object lives, and the `Python` token stands for the interpreter's lock.
    cfg!(Py_GIL_DISABLED) || unsafe { ffi::Py_REFCNT(object.as_ptr()) } > own
}

/// The bytes of a `str` of one byte a character; `None` for one that has a character outside latin-1, and where they
/// cannot be seen.
#[inline]
pub(crate) fn latin1_bytes<'s>(text: &'s Bound<'_, PyString>) -> Option<&'s [u8]> {
    // pyo3 reads a bit field of C's, whose layout it knows on these systems.
    if cfg!(target_endian = "big") {
        return None;
    }
    let string = text.as_ptr();
    // SAFETY: a `str`, which never changes and lives as long as the reference. Before 3.12 one may have to be brought into
    // its final form first; that it cannot be is an error of the call. It has as many bytes as characters.
    unsafe {
        if ffi::PyUnicode_READY(string) != 0 {
            ffi::PyErr_Clear();
            return None;
        }
        if ffi::PyUnicode_KIND(string) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        let len = ffi::PyUnicode_GET_LENGTH(string).unsigned_abs();
        Some(slice::from_raw_parts(
            ffi::PyUnicode_1BYTE_DATA(string),
            len,
        ))
    }
}

/// The version of a dictionary, which differs after each change; 0 where the interpreter has no versions.
#[cfg(not(any(Py_3_12, Py_GIL_DISABLED)))]
#[inline]
pub(crate) fn dict_version(dict: &Bound<'_, PyDict>) -> u64 {
    let dict = dict.as_ptr().cast::<ffi::PyDictObject>();
    // SAFETY: the object lives and is a dictionary, which begins with this structure; the token within `Bound` stands
    // for the interpreter's lock, under which the field is written (PEP 509).
    unsafe { (*dict).ma_version_tag }
}

#[cfg(any(Py_3_12, Py_GIL_DISABLED))]
pub(crate) fn dict_version(_: &Bound<'_, PyDict>) -> u64 {
    0
}

/// The signal that [`mark_signal`] can mark in place of `signal`: Python 3.9 can mark SIGINT alone.
pub(crate) fn markable_signal(signal: i32) -> i32 {
    if cfg!(Py_3_10) { signal } else { libc::SIGINT }
}

/// Makes Python call its handler of a signal on its main thread, as soon as that thread runs Python code. The signal
/// must be [markable](markable_signal), and there must be an interpreter. Async-signal-safe.
#[cfg(Py_3_10)]
pub(crate) fn mark_signal(signal: i32) {
    // SAFETY: documented to need no lock of the interpreter and to be async-signal-safe.
    unsafe { ffi::PyErr_SetInterruptEx(signal) };
}

#[cfg(not(Py_3_10))]
pub(crate) fn mark_signal(_: i32) {
    // SAFETY: documented to need no lock of the interpreter and to be async-signal-safe.
    unsafe { ffi::PyErr_SetInterrupt() };
}

/// This thread's number, as [`raise_in_thread`] takes it.
pub(crate) fn this_thread() -> c_long {
    // SAFETY: needs nothing, not even an interpreter.
    let number = unsafe { ffi::PyThread_get_thread_ident() };
    // It is unsigned on both sides in C since Python 3.7.
    c_long::from_ne_bytes(number.to_ne_bytes())
}

/// Raises an exception of this type in a thread when that thread next runs Python code; `None` withdraws one.
/// Does nothing where there is no such thread.
pub(crate) fn raise_in_thread(
    _: Python<'_>,
    thread: c_long,
    exception: Option<&Bound<'_, PyType>>,
) {
    let exception = exception.map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the interpreter's lock is held, for which the token stands; the type is a live object, of which
    // the call takes a reference of its own.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread, exception) };
}

/// Runs `f` without the interpreter's lock, whether this thread holds it or not. `f` must attach again before it uses
/// anything of Python's.
pub(crate) fn unattached<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: there is an interpreter; whether this thread has its lock may then be asked at any time.
    if is_running() && unsafe { ffi::PyGILState_Check() } == 1 {
        Python::attach(|py| detached(py, f))
    } else {
        f()
    }
}

/// Ends the interpreter, on its main thread. Returns whether all that was buffered was written. Nothing of Python may be
/// used in this process afterwards: pyo3 leaves references alone that are dropped later, since no thread is attached.
pub(crate) fn finalize() -> bool {
    // SAFETY: the thread is Python's main one and holds the lock from here on. The state that `Ensure` gives is not
    // released, because `Py_FinalizeEx` destroys it.
    unsafe {
        ffi::PyGILState_Ensure();
        ffi::Py_FinalizeEx() == 0
    }
}

/// Calls `fork` between Python's own steps before and after a fork: a child holds the interpreter's lock, has random
/// numbers of its own, and none of the locks that other threads held.
pub(crate) fn around_fork(_: Python<'_>, fork: &mut dyn FnMut() -> ForkOutcome) -> ForkOutcome {
    // SAFETY: the interpreter's lock is held, for which the token stands.
    unsafe { ffi::PyOS_BeforeFork() };
    let forked = fork();
    match forked {
        // SAFETY: as above; this is the thread that forked, in the child.
        ForkOutcome::Child => unsafe { ffi::PyOS_AfterFork_Child() },
        // SAFETY: as above, in the parent. Python wants this call where there is no child, too.
        ForkOutcome::Parent(_) | ForkOutcome::Failed(_) => unsafe { ffi::PyOS_AfterFork_Parent() },
    }
    forked
}

/// Runs `f` without the interpreter's lock, while Python keeps its state of this thread.
pub(crate) fn with_thread_state<R>(f: impl FnOnce() -> R) -> R {
    Python::attach(|py| detached(py, f))
}

/// Runs `f` without the interpreter's lock, which this thread holds. `f` must attach again before it uses anything of
/// Python's.
pub(crate) fn detached<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    struct SameThread<T>(T);
    // SAFETY: pyo3 asks for `Send` to keep objects out that need the lock. None is in what comes here: exchanges,
    // request bodies, plain bytes and the main functions of threads. And none goes to another thread, since `detach`
    // calls its closure on this one.
    unsafe impl<T> Send for SameThread<T> {}
    impl<T> SameThread<T> {
        fn into_inner(self) -> T {
            self.0
        }
    }

    let f = SameThread(f);
    turn::end();
    let (outcome, wait) = py
        .detach(move || {
            let outcome = (f.into_inner())();
            SameThread((outcome, Wait::begin()))
        })
        .into_inner();
    wait.end();
    outcome
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_python;
    use super::*;

    // Gunicorn: S28
    #[test]
    fn python_goes_on_after_a_fork_that_failed() {
        with_python(|py| {
            let mut asked = 0;
            around_fork(py, &mut || {
                asked += 1;
                ForkOutcome::Failed(libc::EAGAIN)
            });
            assert_eq!(asked, 1);
        });
        let other = std::thread::spawn(|| with_python(|py| py.import("json").is_ok()));
        assert!(other.join().unwrap());
    }
}
