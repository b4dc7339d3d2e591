//! Threads that Python has started, and the main thread, which waits for them and for signals.
//! Nothing is waited for here with the interpreter's lock held, and nothing is called but what was given.
//!
//! Threads of our own would be strangers to Python: with a stack that `threading.stack_size` and `ulimit -s` have no
//! say in, without the functions of `threading.settrace` and `threading.setprofile`, and named `Dummy-1`.
//!
//! *Invariants*: either all of them run, or none has begun.

mod work;

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
use super::gil::Gil;
use crate::error::{Error, Result};
use crate::service::ServiceRuntime;
use crate::trace;
use work::Work;

/// How long a thread may take from its start to our first line before it is looked after.
const MOMENT: Duration = Duration::from_millis(100);
/// How often signals are looked for where the application has a wake-up descriptor of its own.
const LOOK: Duration = Duration::from_millis(50);

/// What the threads share.
struct Shared {
    work: Work,
    /// Rings when one has ended, and when a signal has come.
    bell: UnixStream,
    /// Whether `threading` has run one on the thread that started it.
    borrowed: AtomicBool,
}

/// What a thread is to do.
#[pyclass(frozen, module = "oxicorn", name = "worker")]
struct Member {
    shared: Arc<Shared>,
    number: usize,
    /// The thread that starts this one.
    starter: c_long,
}

#[pymethods]
impl Member {
    fn __call__(&self, py: Python<'_>) {
        if ffi::this_thread() == self.starter {
            // A greenlet, in place of a thread (`gevent.monkey`): it must not stay.
            self.shared.borrowed.store(true, Ordering::Relaxed);
            return;
        }
        ffi::name_this_thread(&name(self.number));
        py.detach(|| self.shared.take_part());
    }
}

impl Shared {
    fn take_part(&self) {
        self.work.take_part();
        // If there is no room in the bell's buffer, it rings already.
        let _ = (&self.bell).write(&[0]);
    }
}

fn name(number: usize) -> String {
    format!("oxicorn-{number}")
}

/// As [`ServiceRuntime::run_threads`](crate::service::ServiceRuntime::run_threads).
pub(crate) fn run(
    count: usize,
    life: &(dyn Fn() + Sync),
    begun: &mut dyn FnMut(),
    woken: &mut dyn FnMut(),
) -> Result<()> {
    let failed = |error| Error::io("cannot wait for threads", error);
    let (mut ear, bell) = UnixStream::pair().map_err(failed)?;
    bell.set_nonblocking(true).map_err(failed)?;
    let shared = Arc::new(Shared {
        work: Work::default(),
        bell,
        borrowed: AtomicBool::new(false),
    });
    let _dismissal = Dismissal(&shared.work);
    let threads = start(&shared, count)?;
    begun();
    let alarm = Alarm::set(&shared.bell);
    let _ = ear.set_read_timeout(alarm.look_every());
    shared.work.give(life, || {
        loop {
            woken();
            if shared.work.gone() == count {
                break;
            }
            // It ends by a byte, by a signal's handler, or in time: each time is looked for everything.
            let _ = ear.read(&mut [0; 64]);
        }
    });
    drop(alarm);
    threads.join();
    Ok(())
}

/// Sends those away who still wait, where nothing has come of it: also where `begun` panics.
struct Dismissal<'w>(&'w Work);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The threads, for the time after their work.
enum Threads {
    Python(Vec<Py<PyAny>>),
    /// Where `threading` starts none of the system's.
    Own(Vec<thread::JoinHandle<()>>),
}

impl Threads {
    /// Waits until they have left Python, too. Their work is done: a moment.
    fn join(self) {
        match self {
            Self::Python(threads) => Python::attach(|py| {
                for thread in threads {
                    if let Err(error) = thread.call_method0(py, "join") {
                        errors::log(py, &errors::traceback(py, &error));
                    }
                }
            }),
            Self::Own(threads) => {
                for thread in threads {
                    let _ = thread.join();
                }
            }
        }
    }
}

/// Starts them, and waits until all have come.
fn start(shared: &Arc<Shared>, count: usize) -> Result<Threads> {
    let mut threads = Vec::new();
    for number in 1..=count {
        threads.push(start_one(shared, number)?);
        if shared.borrowed.load(Ordering::Relaxed) {
            trace::warning!(
                "threading.Thread starts no thread of the system here, as after gevent's monkey patching: the \
                 application is called on threads that Python does not know as its own"
            );
            return start_own(shared, count);
        }
    }
    while !shared.work.await_arrivals(count, MOMENT) {
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

fn start_one(shared: &Arc<Shared>, number: usize) -> Result<Py<PyAny>> {
    Python::attach(|py| {
        let start = || -> PyResult<Py<PyAny>> {
            let member = Member {
                shared: Arc::clone(shared),
                number,
                starter: ffi::this_thread(),
            };
            let options = PyDict::new(py);
            options.set_item("target", Py::new(py, member)?)?;
            options.set_item("name", name(number))?;
            // The end of the worker waits for those of the application alone.
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

fn start_own(shared: &Arc<Shared>, count: usize) -> Result<Threads> {
    let mut threads = Vec::new();
    for number in 1..=count {
        let shared = Arc::clone(shared);
        let life = move || Gil.enter(&mut || shared.take_part());
        let thread = thread::Builder::new().name(name(number)).spawn(life);
        threads.push(thread.map_err(|error| Error::io("cannot start a worker's thread", error))?);
    }
    Ok(Threads::Own(threads))
}

/// Has Python ring the bell when a signal comes for which it has a handler.
struct Alarm(Set);

enum Set {
    /// By ours.
    Ours,
    /// The application has one of its own for that, which stays.
    Theirs,
    /// This is not the thread that runs handlers.
    Nowhere,
}

impl Alarm {
    fn set(bell: &UnixStream) -> Self {
        Self(match wake_by(bell.as_raw_fd()) {
            Some(-1) => Set::Ours,
            Some(theirs) => {
                wake_by(theirs);
                Set::Theirs
            }
            None => Set::Nowhere,
        })
    }

    fn look_every(&self) -> Option<Duration> {
        matches!(self.0, Set::Theirs).then_some(LOOK)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if matches!(self.0, Set::Ours) {
            wake_by(-1);
        }
    }
}

/// Sets the wake-up descriptor; gives the one before. `None` on a thread that runs no handlers.
fn wake_by(descriptor: i32) -> Option<i32> {
    Python::attach(|py| {
        let options = PyDict::new(py);
        // A bell whose buffer is full rings.
        options.set_item("warn_on_full_buffer", false).ok()?;
        let signal = py.import("signal").ok()?;
        let before = signal.call_method("set_wakeup_fd", (descriptor,), Some(&options));
        before.ok()?.extract::<i32>().ok()
    })
}
