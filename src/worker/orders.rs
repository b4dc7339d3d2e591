//! [`Orders`]: what a worker is asked, by its arbiter's signals, by the arbiter's end, and by a [`ShutdownHandle`].
//!
//! *Invariants*: what is asked only grows (Running, Graceful, Quick); each [`WorkerEvent`] is told on the thread that finds
//! out.

use std::any::Any;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::shutdown::{Shutdown, ShutdownHandle};
use crate::atomic_enum::AtomicEnum;
use crate::error::Result;
use crate::ipc::link::LinkEnd;
use crate::ipc::profile::ProfileChannel;
use crate::sys::poll_set::PollSet;
use crate::sys::signal::{self, Signals};

/// How long a worker that is told to leave at once goes on with what it has.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The same for one that is aborted.
const WORDS_OF_THE_ABORTED: Duration = Duration::from_millis(500);

/// What a worker comes to, for the code that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEvent {
    Ready,
    Asked(Shutdown),
    /// It was aborted from outside, and leaves at once.
    Aborted,
    /// Its process ends now, within calls of its service: nothing will return.
    Abandoned,
}

/// A callback, which has no text of its own.
struct EventCallback(Box<dyn Fn(WorkerEvent) + Send + Sync>);

impl fmt::Debug for EventCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventCallback")
    }
}

/// What connects a worker with its arbiter.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) link: LinkEnd,
    pub(crate) signals: Signals,
    /// Where the stacks of its threads go when they are asked for.
    pub(crate) stacks: OwnedFd,
    /// How it is told to sample them.
    pub(crate) profile: Option<Arc<ProfileChannel>>,
    pub(crate) arbiter: i32,
    /// The arbiter's handle, of whose type nothing is known here.
    pub(crate) handle: Box<dyn Any + Send + Sync>,
}

/// What a worker is asked.
#[derive(Debug)]
pub(super) struct Orders {
    /// Without one, nothing but a handle asks.
    pub(super) arbiter: Option<Lines>,
    pub(super) shutdown_handle: ShutdownHandle,
    /// Readable when something new is asked.
    pub(super) wake: PollSet,
    asked: AtomicEnum<Shutdown>,
    reopen: AtomicBool,
    orphaned: AtomicBool,
    aborted: AtomicBool,
    observer: OnceLock<EventCallback>,
}

impl Orders {
    pub(super) fn new(arbiter: Option<Lines>) -> Result<Self> {
        let shutdown_handle = ShutdownHandle::new()?;
        let wake = PollSet::new()?;
        wake.watch(&shutdown_handle)?;
        if let Some(lines) = &arbiter {
            wake.watch(&lines.link)?;
            wake.watch(&lines.signals)?;
        }
        Ok(Self {
            orphaned: AtomicBool::new(arbiter.is_none()),
            arbiter,
            shutdown_handle,
            wake,
            asked: AtomicEnum::new(Shutdown::Running),
            reopen: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            observer: OnceLock::new(),
        })
    }

    pub(super) fn observe(&self, observer: impl Fn(WorkerEvent) + Send + Sync + 'static) {
        let _ = self.observer.set(EventCallback(Box::new(observer)));
    }

    pub(super) fn tell(&self, event: WorkerEvent) {
        if let Some(EventCallback(observe)) = self.observer.get() {
            observe(event);
        }
    }

    pub(super) fn asked(&self) -> Shutdown {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::Relaxed)
    }

    /// Whether there is no arbiter, or none any more.
    pub(super) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    /// What is asked now; takes in what has made [`wake`](Self::wake) readable.
    pub(super) fn take(&self) -> Shutdown {
        let mut asked = self.shutdown_handle.take();
        let mut aborted = false;
        if let Some(lines) = &self.arbiter {
            for signal in lines.signals.drain() {
                asked = asked.max(match signal {
                    Signal::SIGTERM => Shutdown::Graceful,
                    Signal::SIGINT | Signal::SIGQUIT => Shutdown::Quick,
                    Signal::SIGABRT => {
                        aborted = true;
                        Shutdown::Quick
                    }
                    Signal::SIGUSR1 => {
                        self.reopen.store(true, Ordering::Relaxed);
                        Shutdown::Running
                    }
                    _ => Shutdown::Running,
                });
            }
            if lines.link.is_closed() {
                asked = asked.max(Shutdown::Graceful);
                // It would stay readable.
                self.wake.forget(&lines.link);
                self.orphaned.store(true, Ordering::Relaxed);
            }
        }
        let before = self.asked.raise(asked, Ordering::Relaxed);
        if aborted && !self.aborted.swap(true, Ordering::Relaxed) {
            self.tell(WorkerEvent::Aborted);
        } else if before < asked {
            self.tell(WorkerEvent::Asked(asked));
        }
        self.asked()
    }

    /// Whether this worker is to leave at once: true from the moment of the signal, or of the handle's call,
    /// before [`take`](Self::take) has taken it in. No system call.
    pub(super) fn is_broken_off(&self) -> bool {
        self.arbiter.is_some() && signal::is_interrupted()
            || self.shutdown_handle.was_asked(Shutdown::Quick)
    }

    /// How long a worker that leaves at once may take for the clients that it has accepted: half of what the arbiter gives
    /// it, which has to retire in the other half.
    pub(super) fn last_words(&self) -> Duration {
        if self.aborted.load(Ordering::Relaxed) {
            WORDS_OF_THE_ABORTED
        } else {
            LAST_WORDS
        }
    }

    /// The status of a worker that leaves because it was asked to.
    pub(super) fn status(&self) -> i32 {
        i32::from(self.aborted.load(Ordering::Relaxed))
    }

    /// Takes SIGABRT: to be called when the service is made, which may have had it before.
    pub(super) fn take_abort(&self) -> Result<()> {
        self.arbiter
            .as_ref()
            .map_or(Ok(()), |_| signal::take_abort())
    }
}
