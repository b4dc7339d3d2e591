//! [`WorkerSignal`]: which signal asks a worker for what.

use std::fmt;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::signal;

/// What a signal asks a worker for: sent by its arbiter, by the kernel in the arbiter's place, or by its own timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerSignal {
    /// To finish what it has, and leave: SIGTERM.
    Leave,
    /// To leave at once: SIGQUIT.
    Quit,
    /// To open its logs again: SIGUSR1.
    Reopen,
    /// To write the stacks of its threads to their pipe: SIGRTMIN+6, since the other signals have their meanings for
    /// people.
    Stacks,
    /// To give up the request that has passed `request_timeout`: SIGRTMIN+7.
    Expire,
    /// To follow its arbiter, which has died: SIGRTMIN+8, from the kernel.
    ParentDeath,
    /// To end now, since its last step has taken too long: SIGRTMIN+9, from a timer of its own.
    ExitDeadline,
    /// To wait no longer, since it was interrupted: SIGRTMIN+10, from a timer of its own.
    Repeat,
    /// To send the responses that wait for each other: SIGRTMIN+11, from a timer of its own.
    Uncork,
    /// To abort: SIGABRT.
    Abort,
    Kill,
}

impl WorkerSignal {
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Leave => libc::SIGTERM,
            Self::Quit => libc::SIGQUIT,
            Self::Reopen => libc::SIGUSR1,
            // The first ones are taken by some C libraries and debuggers.
            Self::Stacks => libc::SIGRTMIN() + 6,
            Self::Expire => libc::SIGRTMIN() + 7,
            Self::ParentDeath => libc::SIGRTMIN() + 8,
            Self::ExitDeadline => libc::SIGRTMIN() + 9,
            Self::Repeat => libc::SIGRTMIN() + 10,
            Self::Uncork => libc::SIGRTMIN() + 11,
            Self::Abort => libc::SIGABRT,
            Self::Kill => libc::SIGKILL,
        }
    }

    /// Sends it to the process `pid`; one that has gone already is no error.
    ///
    /// # Errors
    ///
    /// Where the system refuses it.
    pub(crate) fn send(self, pid: i32) -> Result<()> {
        match signal::kill(pid, self.number()) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::io(
                format_args!("cannot send {self} to process {pid}"),
                errno,
            )),
        }
    }
}

impl fmt::Display for WorkerSignal {
    /// `SIGTERM`, `SIGRTMIN+6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&signal::name(self.number()))
    }
}
