//! Timers that end in a signal, for deadlines that must hold while any code of the process runs.

use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::gettid;

/// A timer of this process: a child that is forked has none of it. It lives as long as the process, unless it is
/// [deleted](Timer::delete).
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer(libc::timer_t);

impl Timer {
    /// One that sends this signal to the process.
    pub(super) fn new(signal: i32) -> nix::Result<Self> {
        // SAFETY: all bytes zero are a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        Self::create(event)
    }

    /// One that sends this signal to the calling thread.
    pub(super) fn for_this_thread(signal: i32) -> nix::Result<Self> {
        // SAFETY: all bytes zero are a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = gettid().as_raw();
        Self::create(event)
    }

    fn create(mut event: libc::sigevent) -> nix::Result<Self> {
        let mut timer = ptr::null_mut();
        // SAFETY: the event is a whole one, and the timer is ours to write.
        let outcome =
            unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        Errno::result(outcome).map(|_| Self(timer))
    }

    /// Has it run out once, after `within`. Async-signal-safe (`signal-safety(7)`); changes errno.
    pub(super) fn start(self, within: Duration) -> nix::Result<()> {
        // Zero would be never.
        self.set(within.max(Duration::from_millis(1)))
    }

    /// It does not run out any more; its signal may still be waiting to be delivered. Async-signal-safe; changes errno.
    pub(super) fn stop(self) {
        // Fails only for a timer that is deleted.
        let _ = self.set(Duration::ZERO);
    }

    fn set(self, within: Duration) -> nix::Result<()> {
        let bound = libc::itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(within),
        };
        // SAFETY: the timer was made by `create`, and the time is a whole one. A timer that is deleted is an error.
        Errno::result(unsafe { libc::timer_settime(self.0, 0, &raw const bound, ptr::null_mut()) })
            .map(drop)
    }

    /// Its signal is not sent any more; one that was sent may still be waiting to be delivered.
    pub(super) fn delete(self) {
        // SAFETY: the timer was made by `create`, and is deleted once: its owner says so.
        unsafe { libc::timer_delete(self.0) };
    }

    /// For an atomic. Null is a timer, too.
    pub(super) fn into_raw(self) -> *mut libc::c_void {
        self.0
    }

    /// The timer of [`into_raw`](Self::into_raw).
    pub(super) fn from_raw(raw: *mut libc::c_void) -> Self {
        Self(raw)
    }
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
