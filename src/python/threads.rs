//! The threads of a worker, as Python's own (`threading.Thread`), and the main thread, which waits for them and for
//! signals.
//!
//! Python would not know threads of Rust's standard library as its own: `threading.stack_size` and `ulimit -s` would
//! not set their stacks, `threading.settrace` and `threading.setprofile` would leave them out, and they would be named
//! `Dummy-1`.
//!
//! Nothing here waits with the interpreter's lock held.
//!
//! *Invariants*: either all threads run, or none has begun.

mod scoped_task;

use std::ffi::c_long;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors;
use super::ffi;
use crate::error::{Error, Result};
use crate::sys::title::set_thread_name;
use crate::trace;
use scoped_task::ScopedTask;

/// How long all threads may take to arrive before it is checked whether they are alive.
const ARRIVAL_CHECK: Duration = Duration::from_millis(100);
/// The interval of looks for signals, where the application has a wake-up descriptor of its own.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

struct Pool {
    task: ScopedTask,
    /// Wakes the main thread, when a thread has finished and when a signal has arrived.
    waker: UnixStream,
    /// Whether `threading` has run the function of a thread on the thread that started it.
    ran_on_starter: AtomicBool,
}

impl Pool {
    fn take_part(&self) {
        self.task.take_part();
        // Where the buffer is full, the main thread is about to wake already.
        let _ = (&self.waker).write(&[0]);
    }
}

/// The `target` of a `threading.Thread`.
#[pyclass(frozen, module = "oxicorn", name = "worker")]
struct ThreadMain {
    pool: Arc<Pool>,
    number: usize,
    /// The thread that starts this one.
    starter: c_long,
}

#[pymethods]
impl ThreadMain {
    fn __call__(&self, py: Python<'_>) {
        if ffi::this_thread() == self.starter {
            // A greenlet in place of a thread (`gevent.monkey`), which would block its starter.
            self.pool.ran_on_starter.store(true, Ordering::Relaxed);
            return;
        }
        set_thread_name(&name(self.number));
        py.detach(|| self.pool.take_part());
    }
}

fn name(number: usize) -> String {
    format!("oxicorn-{number}")
}

/// Implements [`ServiceRuntime::run_threads`](crate::service::ServiceRuntime::run_threads).
pub(super) fn run(
    count: usize,
    work: &(dyn Fn() + Sync),
    begun: &mut dyn FnMut(),
    woken: &mut dyn FnMut(),
) -> Result<()> {
    let failed = |error| Error::io("cannot wait for threads", error);
    let (mut wakeups, waker) = UnixStream::pair().map_err(failed)?;
    waker.set_nonblocking(true).map_err(failed)?;
    let pool = Arc::new(Pool {
        task: ScopedTask::default(),
        waker,
        ran_on_starter: AtomicBool::new(false),
    });
    let _cancel = CancelOnDrop(&pool.task);
    let threads = start(&pool, count)?;
    begun();
    let signal_wakeup = SignalWakeup::set(&pool.waker);
    let _ = wakeups.set_read_timeout(signal_wakeup.check_every());
    pool.task.run_while(work, || {
        loop {
            woken();
            if pool.task.finished() == count {
                break;
            }
            // Ends by a byte, by a signal's handler, or by the timeout. The loop looks for everything each time.
            let _ = wakeups.read(&mut [0; 64]);
        }
    });
    drop(signal_wakeup);
    threads.join();
    Ok(())
}

/// Releases the threads that still wait for their task, where it never starts: also where `begun` panics.
struct CancelOnDrop<'t>(&'t ScopedTask);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The threads that were started, to be joined.
enum Threads {
    Python(Vec<Py<PyAny>>),
    /// Where `threading` does not start threads of the system.
    Std(Vec<thread::JoinHandle<()>>),
}

impl Threads {
    /// Waits until they have left Python, too. Their task is over, so this takes a moment.
    fn join(self) {
        match self {
            Self::Python(threads) => Python::attach(|py| {
                for thread in threads {
                    if let Err(error) = thread.call_method0(py, "join") {
                        errors::log(py, &errors::traceback(py, &error));
                    }
                }
            }),
            Self::Std(threads) => {
                for thread in threads {
                    let _ = thread.join();
                }
            }
        }
    }
}

/// Starts `count` threads, and waits until all have arrived.
fn start(pool: &Arc<Pool>, count: usize) -> Result<Threads> {
    let mut threads = Vec::new();
    for number in 1..=count {
        threads.push(start_python_thread(pool, number)?);
        if pool.ran_on_starter.load(Ordering::Relaxed) {
            trace::warning!(
                "threading.Thread starts no thread of the system here, as after gevent's monkey patching: the \
                 application is called on threads that Python does not know as its own"
            );
            return start_std_threads(pool, count);
        }
    }
    while !pool.task.await_arrivals(count, ARRIVAL_CHECK) {
        Python::attach(|py| {
            for thread in &threads {
                let alive = thread
                    .call_method0(py, "is_alive")
                    .and_then(|alive| alive.is_truthy(py));
                if !alive.unwrap_or(false) {
                    return Err(Error::boot(
                        "a thread of Python's has ended before it began",
                    ));
                }
            }
            Ok(())
        })?;
    }
    Ok(Threads::Python(threads))
}

fn start_python_thread(pool: &Arc<Pool>, number: usize) -> Result<Py<PyAny>> {
    Python::attach(|py| {
        let start = || -> PyResult<Py<PyAny>> {
            let main = ThreadMain {
                pool: Arc::clone(pool),
                number,
                starter: ffi::this_thread(),
            };
            let options = PyDict::new(py);
            options.set_item("target", Py::new(py, main)?)?;
            options.set_item("name", name(number))?;
            // The end of the worker waits for the application's threads alone.
            options.set_item("daemon", true)?;
            let threading = py.import("threading")?;
            let thread = threading.call_method("Thread", (), Some(&options))?;
            thread.call_method0("start")?;
            Ok(thread.unbind())
        };
        start().map_err(|error| {
            let summary = errors::summary(py, &error);
            errors::log(py, &errors::traceback(py, &error));
            Error::boot(format!("cannot start a worker's thread: {summary}"))
        })
    })
}

fn start_std_threads(pool: &Arc<Pool>, count: usize) -> Result<Threads> {
    let mut threads = Vec::new();
    for number in 1..=count {
        let pool = Arc::clone(pool);
        let main = move || ffi::with_thread_state(|| pool.take_part());
        let thread = thread::Builder::new().name(name(number)).spawn(main);
        threads.push(thread.map_err(|error| Error::io("cannot start a worker's thread", error))?);
    }
    Ok(Threads::Std(threads))
}

/// How the main thread learns of a signal for which Python has a handler (`signal.set_wakeup_fd`).
enum SignalWakeup {
    /// Python writes to our descriptor, until this is dropped.
    Ours,
    /// The application has set a descriptor of its own, which stays.
    Applications,
    /// This is not the thread that runs handlers.
    None,
}

impl SignalWakeup {
    fn set(waker: &UnixStream) -> Self {
        match set_wakeup_fd(waker.as_raw_fd()) {
            Some(-1) => Self::Ours,
            Some(theirs) => {
                set_wakeup_fd(theirs);
                Self::Applications
            }
            None => Self::None,
        }
    }

    fn check_every(&self) -> Option<Duration> {
        matches!(self, Self::Applications).then_some(SIGNAL_CHECK)
    }
}

impl Drop for SignalWakeup {
    fn drop(&mut self) {
        if matches!(self, Self::Ours) {
            set_wakeup_fd(-1);
        }
    }
}

/// Sets the wake-up descriptor, and returns the former one. `None` on a thread that runs no handlers.
pub(crate) fn set_wakeup_fd(descriptor: i32) -> Option<i32> {
    Python::attach(|py| {
        let options = PyDict::new(py);
        // A full buffer wakes the reader as well.
        options.set_item("warn_on_full_buffer", false).ok()?;
        let signal = py.import("signal").ok()?;
        let before = signal.call_method("set_wakeup_fd", (descriptor,), Some(&options));
        before.ok()?.extract::<i32>().ok()
    })
}
