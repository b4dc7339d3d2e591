//! What pyo3 has no safe form for: the interpreter's configuration, text from latin-1, bytes that memory may be
//! wanting for, a reference count, the duplicate of a descriptor, signals, the process's user, exceptions for other
//! threads, forks, a thread's name, and work without the interpreter's lock.
//! Nothing else in this module's folder but `lend` may be unsafe, and nothing here decides anything.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_long};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};
use pyo3::{Py, ffi};

use crate::forked::Forked;

/// Whether this process has an interpreter. Async-signal-safe.
pub(crate) fn is_running() -> bool {
    // SAFETY: may be called at any time, without the interpreter's lock.
    unsafe { ffi::Py_IsInitialized() != 0 }
}

/// A `PyConfig` (PEP 587) with Python's own defaults, `PYTHON*` variables included, except that it
/// parses no arguments, installs no signal handlers and buffers no output.
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

    /// Starts the interpreter with the calling thread as its main one, and lets go of its lock.
    ///
    /// # Errors
    ///
    /// With the interpreter's own words; it must not be used then.
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

/// Bytes as PEP 3333 shows them to an application: a `str` of one character a byte.
#[inline]
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let len = isize::try_from(bytes.len())?;
    // SAFETY: `bytes` are `len` readable bytes; the result is a new `str`, or null with an exception set.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len, ptr::null());
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

/// A copy of `bytes`; a `MemoryError` where there is no room for it.
#[inline]
pub(crate) fn copied<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let len = isize::try_from(bytes.len())?;
    // SAFETY: `bytes` are `len` readable bytes; the result is a new `bytes`, or null with an exception set.
    unsafe {
        let copy = ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), len);
        Ok(Bound::from_owned_ptr_or_err(py, copy)?.cast_into_unchecked())
    }
}

/// Whether `object` is the only reference to it. Never, on an interpreter without a lock, where the
/// count is spread over threads.
#[inline]
pub(crate) fn is_only_reference<T>(_: Python<'_>, object: &Py<T>) -> bool {
    // SAFETY: the object lives, and the `Python` token stands for the interpreter's lock.
    cfg!(not(Py_GIL_DISABLED)) && unsafe { ffi::Py_REFCNT(object.as_ptr()) } == 1
}

/// Another descriptor for the open file that Python knows as `fd`.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<File> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is not -1, and borrowed for `fcntl(2)` alone, which answers EBADF if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(borrowed.try_clone_to_owned()?.into())
}

/// Whether the open file may be read, by the mode that it was opened in.
pub(crate) fn is_readable(file: &File) -> bool {
    // SAFETY: the descriptor is open; `fcntl(2)` with this command takes no argument and touches no memory.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_ACCMODE != libc::O_WRONLY && flags & libc::O_PATH == 0
}

/// The kind of the file system that a file is on: a number of `statfs(2)`.
pub(crate) fn file_system(file: &File) -> io::Result<u32> {
    let mut facts = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the other argument is to be written to.
    if unsafe { libc::fstatfs(file.as_raw_fd(), facts.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fstatfs(2) has written it.
    let facts = unsafe { facts.assume_init() };
    u32::try_from(facts.f_type).map_err(io::Error::other)
}

/// The user whose privileges this process has.
pub(crate) fn user() -> u32 {
    // SAFETY: geteuid(2) touches no memory, and cannot fail.
    unsafe { libc::geteuid() }
}

/// What this process does with a signal.
#[derive(Clone, Copy)]
pub(crate) struct Action {
    signal: i32,
    action: libc::sigaction,
}

impl Action {
    /// What it does now.
    pub(crate) fn of(signal: i32) -> io::Result<Self> {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: a null pointer changes nothing, and the other is to be written to.
        if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: sigaction(2) has written it.
        let action = unsafe { action.assume_init() };
        Ok(Self { signal, action })
    }

    /// The signal's number.
    pub(crate) fn signal(&self) -> i32 {
        self.signal
    }

    /// Whether it is the system's default.
    pub(crate) fn is_default(&self) -> bool {
        self.action.sa_sigaction == libc::SIG_DFL
    }

    /// Whether a function is called, and it is neither the system's default nor ignored.
    pub(crate) fn is_handler(&self) -> bool {
        !self.is_default() && self.action.sa_sigaction != libc::SIG_IGN
    }

    /// Has the process do so again.
    pub(crate) fn put(&self) {
        // SAFETY: it was in force for this very signal; who installed it vouches for it. It cannot fail, as
        // the signal's number is one that there is.
        unsafe { libc::sigaction(self.signal, &raw const self.action, ptr::null_mut()) };
    }
}

/// Sends a signal to this thread: its handler has returned when this does, unless it is blocked.
pub(crate) fn raise(signal: i32) {
    // SAFETY: raise(3) touches no memory of ours. A number that is none is an error of its own.
    unsafe { libc::raise(signal) };
}

/// The signal that [`mark_signal`] can mark in place of this one: Python 3.9 knows of SIGINT alone.
pub(crate) fn can_mark(signal: i32) -> i32 {
    if cfg!(Py_3_10) { signal } else { libc::SIGINT }
}

/// Has Python call its handler of a signal, which must be one that [can be marked](can_mark), on its main
/// thread, as soon as that runs Python code. Async-signal-safe; there must be an interpreter.
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

/// Has an exception of this type raised in a thread when it next runs Python code; `None` takes one back.
/// A thread that is none is no error.
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

/// Runs `f` without the interpreter's lock, where this thread has it. Nothing of Python's may be used in it but after a
/// new attaching.
pub(crate) fn unattached<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: there is an interpreter; whether this thread has its lock may then be asked at any time.
    if is_running() && unsafe { ffi::PyGILState_Check() } == 1 {
        Python::attach(|py| detached(py, f))
    } else {
        f()
    }
}

/// Ends the interpreter, on its main thread; tells whether all that was buffered was written. Nothing of Python may be
/// used in this process any more: pyo3 leaves references alone that are dropped later, as no thread is attached.
pub(crate) fn finalize() -> bool {
    // SAFETY: the thread is Python's main one and has the lock from here on. That the state which `Ensure` gives is
    // not released is what `Py_FinalizeEx` wants: it destroys it.
    unsafe {
        ffi::PyGILState_Ensure();
        ffi::Py_FinalizeEx() == 0
    }
}

/// Calls `fork` with what Python does before and after one around it: a child has the interpreter's lock,
/// random numbers of its own, and no locks that other threads held.
pub(crate) fn around_fork(_: Python<'_>, fork: &mut dyn FnMut() -> Forked) -> Forked {
    // SAFETY: the interpreter's lock is held, for which the token stands.
    unsafe { ffi::PyOS_BeforeFork() };
    let forked = fork();
    match forked {
        // SAFETY: as above; this is the thread that forked, in the child.
        Forked::Child => unsafe { ffi::PyOS_AfterFork_Child() },
        // SAFETY: as above, in the parent; to be called as well where there is no child.
        Forked::Parent(_) | Forked::Failed(_) => unsafe { ffi::PyOS_AfterFork_Parent() },
    }
    forked
}

/// Runs `f` without the interpreter's lock: in it nothing of Python's may be used but after a new attaching.
pub(crate) fn detached<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    struct Here<T>(T);
    // SAFETY: pyo3 asks for `Send` to keep objects out that want the lock. None is in what comes here: exchanges,
    // request bodies, plain bytes and whole lives of threads. And none goes to another thread, since `detach` calls
    // its closure on this one.
    unsafe impl<T> Send for Here<T> {}
    impl<T> Here<T> {
        fn take(self) -> T {
            self.0
        }
    }

    let f = Here(f);
    py.detach(move || Here((f.take())())).take()
}

/// Names this thread for the system, as `ps -L` and debuggers show it.
pub(crate) fn name_this_thread(name: &str) {
    if let Ok(name) = CString::new(name) {
        // SAFETY: the name is a C string, which is copied (prctl(2)).
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_python;
    use super::*;

    #[test]
    fn python_goes_on_after_a_fork_that_failed() {
        with_python(|py| {
            let mut asked = 0;
            around_fork(py, &mut || {
                asked += 1;
                Forked::Failed(libc::EAGAIN)
            });
            assert_eq!(asked, 1);
        });
        let other = std::thread::spawn(|| with_python(|py| py.import("json").is_ok()));
        assert!(other.join().unwrap());
    }
}
