//! Signals as bytes in a pipe that the process writes to itself ([`Signals`]), and the only place that sends them.
//!
//! A handler queues, and where a worker may be in a call that never returns it does the little that no other code could
//! (`signal-safety(7)`: no lock, no allocation); the reader of the queue decides. No signal is blocked for longer than a
//! fork takes: a blocked mask would be inherited by the application's children.
//!
//! ```text
//!   kernel ──▶ on_signal ──▶ pipe ──▶ Signals::drain
//!                  └─ pipe full ──▶ OVERFLOW ──┘
//! ```
//!
//! *Invariants*: at most one [`Signals`] is installed in a process; when it is dropped, the handlers that it replaced are
//! back; a signal that is taken is not blocked, even where this process was started with it blocked.

mod abort;
mod handlers;
mod interrupt;
mod owner;
mod queue;
mod send;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use super::sigaction::SigAction;
use crate::error::{Error, Result};

#[cfg(feature = "wsgi")]
pub(crate) use abort::is_aborted;
pub(crate) use abort::take_abort;
pub(crate) use handlers::Disposition;
pub(super) use handlers::{drop_realtime, drop_stacks, set_defaults, set_realtime};
pub(crate) use interrupt::{
    clear_interrupter, interruptible, is_interrupted, set_interrupter, set_on_expire,
    was_asked_to_leave,
};
pub(crate) use owner::boot_is_over;
pub(super) use owner::{is_booting, is_owner, leave_boot};
pub(crate) use queue::Pipe;
pub(super) use queue::put;
pub(crate) use send::{kill, name};

#[derive(Debug)]
pub(crate) struct Signals {
    pipe: Pipe,
    /// What is handled, how, and how it was before.
    replaced: Vec<(Signal, Disposition, SigAction)>,
    /// What was blocked on this thread before.
    mask: Option<SigSet>,
}

impl Signals {
    /// Installs handlers for what `table` lists. Fails where another arbiter of this process has its own.
    pub(crate) fn install(
        pipe: Pipe,
        table: impl IntoIterator<Item = (Signal, Disposition)>,
    ) -> Result<Self> {
        if !pipe.open() {
            return Err(Error::config(
                "another arbiter is running in this process and has its signals",
            ));
        }
        owner::take();
        interrupt::reset();
        let mut signals = Self {
            pipe,
            replaced: Vec::new(),
            mask: None,
        };
        for (signal, disposition) in table {
            let replaced = handlers::set(signal, disposition, interrupt::ends)?;
            signals.replaced.push((signal, disposition, replaced));
        }
        signals.mask = Some(signals.unblock()?);
        Ok(signals)
    }

    /// Has what is handled come through on this thread; gives what was blocked before.
    fn unblock(&self) -> Result<SigSet> {
        let handled: SigSet = self.replaced.iter().map(|&(signal, ..)| signal).collect();
        handled
            .thread_swap_mask(SigmaskHow::SIG_UNBLOCK)
            .map_err(|errno| Error::io("cannot unblock signals", errno))
    }

    /// Installs the handlers once more, where others may have taken their place since.
    pub(crate) fn reinstall(&self) -> Result<()> {
        for &(signal, disposition, _) in &self.replaced {
            handlers::set(signal, disposition, interrupt::ends)?;
        }
        self.unblock().map(drop)
    }

    /// In a child, with all signals blocked: leaves the parent's queue and handlers for its own. By the signal `stacks`
    /// it is asked for its stacks, by `expire` to give up its request.
    ///
    /// What `self` replaced is forgotten: a child never gives the process back to the host. Until
    /// [`boot_is_over`], TERM, INT and QUIT end the process.
    pub(crate) fn install_in_child(
        &mut self,
        pipe: Pipe,
        table: impl IntoIterator<Item = (Signal, Disposition)>,
        stacks: i32,
        expire: i32,
    ) -> Result<Self> {
        pipe.open_in_child();
        owner::take();
        owner::boot_begins();
        interrupt::reset();
        self.mask = None;
        for (signal, ..) in self.replaced.drain(..) {
            handlers::set(signal, Disposition::Default, interrupt::interrupts)?;
        }
        for (signal, disposition) in table {
            handlers::set(signal, disposition, interrupt::interrupts)?;
        }
        handlers::take_stacks(stacks)?;
        // A call that is to be given up is not begun again.
        set_realtime(expire, true, interrupt::on_expire)?;
        Ok(Self {
            pipe,
            replaced: Vec::new(),
            mask: None,
        })
    }

    pub(crate) fn drain(&self) -> Vec<Signal> {
        self.pipe.drain()
    }

    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        self.pipe.descriptors()
    }

    /// Brings the former handlers back. To be called once, also in a child that becomes another program: it
    /// must not write to the arbiter's queue.
    pub(crate) fn restore(&mut self) {
        for (_, _, action) in self.replaced.drain(..).rev() {
            action.restore();
        }
        self.pipe.close();
    }
}

impl AsFd for Signals {
    /// Readable while [`drain`](Self::drain) has something to give.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Before their handlers are back: a signal that comes in between waits for the host, which had it blocked.
        if let Some(mask) = self.mask.take() {
            let _ = mask.thread_set_mask();
        }
        self.restore();
    }
}

/// Blocks all signals on this thread but these.
pub(super) fn block_all_but(numbers: &[i32]) {
    // SAFETY: the set is ours to write, and is filled before it is used; none of the calls can fail for numbers that
    // there are.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        for &number in numbers {
            libc::sigdelset(&raw mut set, number);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// Whether a terminal controls this process: then SIGWINCH comes with each new size of its window (tty(4)).
pub(crate) fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal;
    use nix::unistd;
    use std::sync::PoisonError;

    use super::interrupt::ends;
    use super::owner::TURN;

    const TABLE: [(Signal, Disposition); 3] = [
        (Signal::SIGUSR1, Disposition::Queue),
        (Signal::SIGWINCH, Disposition::Drop),
        (Signal::SIGUSR2, Disposition::Queue),
    ];

    fn raise(signal: Signal) {
        assert_eq!(signal::raise(signal), Ok(()));
    }

    #[test]
    fn signals_are_drained_in_the_order_in_which_they_came() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let signals = Signals::install(Pipe::new().unwrap(), TABLE).unwrap();
        raise(Signal::SIGUSR2);
        raise(Signal::SIGWINCH);
        raise(Signal::SIGUSR1);
        raise(Signal::SIGUSR2);
        assert_eq!(
            signals.drain(),
            [Signal::SIGUSR2, Signal::SIGUSR1, Signal::SIGUSR2]
        );
        assert!(signals.drain().is_empty());
    }

    #[test]
    fn handlers_of_simultaneous_signals_run_one_after_the_other() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // By their numbers, as the system delivers them.
        let all = [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGTERM,
            Signal::SIGCHLD,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
            Signal::SIGWINCH,
        ];
        let table = all.map(|signal| (signal, Disposition::Queue));
        let signals = Signals::install(Pipe::new().unwrap(), table).unwrap();
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        all.into_iter().for_each(raise);
        mask.unwrap().thread_set_mask().unwrap();
        // Within each other, the last one would have been the first to queue.
        assert_eq!(signals.drain(), all);
    }

    #[test]
    fn a_full_pipe_loses_no_kind_of_signal() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let signals = Signals::install(Pipe::new().unwrap(), TABLE).unwrap();
        let filler = [Signal::SIGUSR1 as u8; 4096];
        while unistd::write(signals.descriptors()[1], &filler).is_ok() {}
        while unistd::write(signals.descriptors()[1], &filler[..1]).is_ok() {}
        raise(Signal::SIGUSR2);
        assert_eq!(signals.drain().last(), Some(&Signal::SIGUSR2));
        assert!(signals.drain().is_empty());
    }

    #[test]
    fn dropping_gives_the_hosts_handlers_back() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let before = handlers::set(Signal::SIGUSR1, Disposition::Ignore, ends).unwrap();
        drop(Signals::install(Pipe::new().unwrap(), TABLE).unwrap());
        let restored = SigAction::current(libc::SIGUSR1).unwrap();
        assert_eq!(restored.plain_handler(), Some(libc::SIG_IGN));
        before.restore();
    }

    #[test]
    fn what_is_taken_is_unblocked_and_blocked_again_for_the_host() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let blocked: SigSet = [Signal::SIGUSR1, Signal::SIGURG].into_iter().collect();
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
        let signals = Signals::install(Pipe::new().unwrap(), TABLE).unwrap();
        raise(Signal::SIGUSR1);
        assert_eq!(signals.drain(), [Signal::SIGUSR1]);
        // An application that is preloaded may block them, too.
        let _ = blocked.thread_block();
        signals.reinstall().unwrap();
        raise(Signal::SIGUSR1);
        assert_eq!(signals.drain(), [Signal::SIGUSR1]);
        let has = |signal| SigSet::thread_get_mask().unwrap().contains(signal);
        assert!(!has(Signal::SIGUSR1) && has(Signal::SIGURG));
        drop(signals);
        assert!(has(Signal::SIGUSR1) && has(Signal::SIGURG));
        before.thread_set_mask().unwrap();
    }

    #[test]
    fn a_second_arbiter_in_one_process_is_refused() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let _first = Signals::install(Pipe::new().unwrap(), TABLE).unwrap();
        let second = Signals::install(Pipe::new().unwrap(), TABLE);
        assert!(second.unwrap_err().is_config());
    }
}
