//! [`SigAction`]: the action of this process for a signal, to be read, replaced and restored (sigaction(2)).

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;

#[derive(Clone, Copy, Debug)]
pub(crate) struct SigAction {
    signal: i32,
    action: libc::sigaction,
}

impl SigAction {
    /// The action that is in force now.
    ///
    /// # Errors
    ///
    /// A number that is no signal.
    pub(crate) fn current(signal: i32) -> io::Result<Self> {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: a null pointer changes nothing, and the other is to be written to.
        Errno::result(unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) })?;
        // SAFETY: sigaction(2) has written it.
        let action = unsafe { action.assume_init() };
        Ok(Self { signal, action })
    }

    /// Sets the action for a signal, with all signals blocked while a handler runs. Returns the previous action.
    /// Async-signal-safe.
    ///
    /// # Safety
    ///
    /// `handler` is a constant of sigaction(2), or a function of the type that `flags` announces. That function calls only
    /// what signal-safety(7) lists, and leaves errno as it was.
    pub(crate) unsafe fn install(
        signal: i32,
        handler: libc::sighandler_t,
        flags: libc::c_int,
    ) -> io::Result<Self> {
        let mut before = Self::current(signal)?;
        let mut action = before.action;
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        // SAFETY: both structures are whole and ours to write. The caller vouches for the handler.
        let outcome = unsafe {
            libc::sigfillset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, &raw mut before.action)
        };
        Errno::result(outcome).map(|_| before).map_err(Into::into)
    }

    /// The address of the handler, or a constant of sigaction(2). `None` for a handler that takes more than the number.
    pub(super) fn plain_handler(&self) -> Option<libc::sighandler_t> {
        let is_plain = self.action.sa_flags & libc::SA_SIGINFO == 0;
        is_plain.then_some(self.action.sa_sigaction)
    }

    pub(crate) fn signal(&self) -> i32 {
        self.signal
    }

    #[cfg(any(test, feature = "wsgi"))]
    pub(crate) fn is_default(&self) -> bool {
        self.action.sa_sigaction == libc::SIG_DFL
    }

    /// Whether the signal calls a function: neither the system's default, nor ignored.
    #[cfg(any(test, feature = "wsgi"))]
    pub(crate) fn is_handler(&self) -> bool {
        !self.is_default() && self.action.sa_sigaction != libc::SIG_IGN
    }

    /// Whether both have the same handler, or the same of the other actions.
    #[cfg(feature = "wsgi")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.action.sa_sigaction == other.action.sa_sigaction
    }

    pub(crate) fn restore(&self) {
        // SAFETY: it was in force for this very signal, so its handler is sound. The call cannot fail, since the
        // signal's number is valid.
        unsafe { libc::sigaction(self.signal, &raw const self.action, ptr::null_mut()) };
    }
}

/// Sends a signal to the calling thread. Its handler has returned when this function does, unless the signal is
/// blocked.
#[cfg(feature = "wsgi")]
pub(crate) fn raise(signal: i32) {
    // SAFETY: raise(3) touches no memory of ours. For an invalid number it returns an error.
    unsafe { libc::raise(signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_seen_as_it_is() {
        let kill = SigAction::current(libc::SIGKILL).unwrap();
        assert!(kill.is_default() && !kill.is_handler());
        assert_eq!(kill.signal(), libc::SIGKILL);
        // Rust's runtime handles stack overflows.
        assert!(SigAction::current(libc::SIGSEGV).unwrap().is_handler());
        assert!(SigAction::current(-1).is_err());
    }
}
