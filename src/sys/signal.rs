//! Signals as bytes in a pipe that the process writes to itself, and the only place that sends them.
//!
//! A handler queues, and where a worker may be in a call that never returns it does what nobody else could
//! (`signal-safety(7)`: no lock, no allocation); deciding is for those who read. No signal is
//! blocked for longer than a fork takes: a blocked mask would be inherited by the application's children.
//!
//! ```text
//!   kernel ──▶ on_signal ──▶ pipe ──▶ Signals::drain
//!                  └─ pipe full ──▶ OVERFLOW ──┘
//! ```
//!
//! *Invariants*: at most one [`Signals`] is installed in a process; when it is dropped, the handlers that
//! it replaced are back; of every kind of signal that came at least one is drained; what is sent to a child that
//! the application has forked never reaches its parent; no handler is interrupted by another one, since a few frames
//! of them are more than their stack holds (sigaltstack(2)), and a fork lets all at once through that came during it;
//! what is taken is not blocked, whoever has started this process with it blocked.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::unistd::{self, Pid};

use super::repeat;
use crate::error::{Error, Result};

/// Where the handler writes: the pipe's descriptor, or -1.
static QUEUE: AtomicI32 = AtomicI32::new(-1);
/// Signals that found the pipe full: a bit for each kind.
static OVERFLOW: AtomicU64 = AtomicU64::new(0);
/// What INT and QUIT call besides: an [`Interrupter`], or null.
static INTERRUPTER: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// Whether TERM breaks off what runs, too.
static UNGRACEFUL: AtomicBool = AtomicBool::new(false);
/// Whether this process was asked to leave since the present handlers were installed.
static ASKED_TO_LEAVE: AtomicBool = AtomicBool::new(false);
/// Whether what runs was broken off since the present handlers were installed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The process that the handlers are for: its children inherit them.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Whether this process has nothing to finish yet: then what asks it to leave ends it.
static BOOTING: AtomicBool = AtomicBool::new(false);

/// Whether this process, or the one that has forked it, is a worker of an arbiter's, which gives it orders.
static HAS_ORDERS: AtomicBool = AtomicBool::new(false);

/// Breaks off what the process is doing; gets the signal's number.
pub(crate) type Interrupter = fn(i32);

/// Has `interrupter` called within the handlers of INT and QUIT, after they have queued. It must be
/// async-signal-safe (`signal-safety(7)`). System calls of the calling thread are ended then and for a while after
/// it, until this is called with `None`.
pub(crate) fn set_interrupter(interrupter: Option<Interrupter>) {
    let pointer = interrupter.map_or(ptr::null_mut(), |interrupter| interrupter as *mut ());
    let first = INTERRUPTER.load(Ordering::Acquire).is_null();
    if interrupter.is_some() && first && is_owner() {
        repeat::arm(Order::Repeat.number());
    }
    INTERRUPTER.store(pointer, Ordering::Release);
    if interrupter.is_none() {
        repeat::disarm();
    }
}

/// Does what is worth nothing to a process that is told to leave: TERM, INT and QUIT call `interrupter` meanwhile.
pub(crate) fn interruptible<T>(interrupter: Option<Interrupter>, work: impl FnOnce() -> T) -> T {
    set_interrupter(interrupter);
    UNGRACEFUL.store(true, Ordering::Release);
    let done = work();
    UNGRACEFUL.store(false, Ordering::Release);
    set_interrupter(None);
    done
}

/// What SIGABRT led to before [`take_abort`]: a handler's address, or one of the constants of sigaction(2).
static ABORT_BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// From now on SIGABRT of another process is queued, and breaks off what runs. A process that aborts itself
/// (abort(3)) ends as it would have before.
pub(crate) fn take_abort() -> Result<()> {
    // SAFETY: all bytes zero are a valid `sigaction`.
    let (mut action, mut before): (libc::sigaction, libc::sigaction) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    action.sa_sigaction = on_abort as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the mask is ours to write, the action is whole, and the handler calls nothing that is not
    // async-signal-safe but what was installed as a handler before.
    let outcome = unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGABRT, &raw const action, &raw mut before)
    };
    Errno::result(outcome).map_err(|errno| Error::io("cannot handle SIGABRT", errno))?;
    // A handler that wants more than the number is not for us to call.
    if before.sa_flags & libc::SA_SIGINFO == 0 {
        ABORT_BEFORE.store(before.sa_sigaction, Ordering::Release);
    }
    Ok(())
}

extern "C" fn on_abort(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = Errno::last_raw();
    let here = own_pid();
    // SAFETY: with SA_SIGINFO the system passes a whole structure, which has the sender for signals of kill(2)
    // and tgkill(2).
    let own = unsafe { (*info).si_pid() == here };
    if own {
        let before = ABORT_BEFORE.load(Ordering::Acquire);
        if before != libc::SIG_DFL && before != libc::SIG_IGN {
            // SAFETY: what is stored there was the handler of this signal, and takes its number.
            let before: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(before) };
            before(signal);
        }
        // abort(3) goes on to end the process.
    } else if here != OWNER.load(Ordering::Relaxed) {
        end_by(signal);
    } else {
        queue(signal);
        INTERRUPTED.store(true, Ordering::Relaxed);
        break_off(libc::SIGINT);
    }
    Errno::set_raw(errno);
}

/// Whether what ran was broken off, by INT, QUIT or ABRT, or while it was [`interruptible`]: asks no system call, and
/// takes nothing from the queue.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Whether TERM, INT or QUIT has come: asks no system call, and takes nothing from the queue.
pub(crate) fn was_asked_to_leave() -> bool {
    ASKED_TO_LEAVE.load(Ordering::Relaxed)
}

/// The signals that ask a process to leave.
fn ends(signal: libc::c_int) -> bool {
    interrupts(signal) || signal == libc::SIGTERM
}

/// The signals that break off what they find: also a system call, which is not begun again.
fn interrupts(signal: libc::c_int) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGQUIT)
}

/// What [`Order::Expire`] calls: a `fn() -> bool`, or null.
static ON_EXPIRE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// What an arbiter tells a worker, and a worker is told by, each by a signal of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Finish what you have, and leave: SIGTERM.
    Leave,
    /// Leave at once: SIGQUIT.
    Quit,
    /// Open your logs again: SIGUSR1.
    Reopen,
    /// Write the stacks of your threads to where you were told: a real-time signal, since the others have
    /// their meanings for people.
    Stacks,
    /// Give up the request that you have had for too long: another one.
    Expire,
    /// Your arbiter has died: what the kernel says in its place, by a third.
    Orphaned,
    /// Your last step has taken too long: what a process tells itself, by a fourth.
    Curfew,
    /// Wait no longer, since you were interrupted: what a process tells itself, by a fifth.
    Repeat,
    /// Abort: SIGABRT.
    Abort,
    /// SIGKILL.
    Kill,
}

impl Order {
    /// The signal's number.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Leave => libc::SIGTERM,
            Self::Quit => libc::SIGQUIT,
            Self::Reopen => libc::SIGUSR1,
            // The first ones are taken by some C libraries and debuggers.
            Self::Stacks => libc::SIGRTMIN() + 6,
            Self::Expire => libc::SIGRTMIN() + 7,
            Self::Orphaned => libc::SIGRTMIN() + 8,
            Self::Curfew => libc::SIGRTMIN() + 9,
            Self::Repeat => libc::SIGRTMIN() + 10,
            Self::Abort => libc::SIGABRT,
            Self::Kill => libc::SIGKILL,
        }
    }
}

impl fmt::Display for Order {
    /// `SIGTERM`, `SIGRTMIN+6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.number()) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "SIGRTMIN+{}", self.number() - libc::SIGRTMIN()),
        }
    }
}

/// Has `handler` called, in the signal handler, when this worker is told to [expire](Order::Expire) its
/// request. It must be async-signal-safe (`signal-safety(7)`). Where it gives a call up it says so, and the
/// call is broken off.
pub(crate) fn set_on_expire(handler: Option<fn() -> bool>) {
    let pointer = handler.map_or(ptr::null_mut(), |handler| handler as *mut ());
    ON_EXPIRE.store(pointer, Ordering::Release);
}

/// What is to be done with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Put it in the queue.
    Queue,
    /// Let it come and go. Not `SIG_IGN`, which the programs that a worker starts would inherit.
    Drop,
    /// `SIG_IGN`.
    Ignore,
    /// `SIG_DFL`.
    Default,
}

/// Async-signal-safe.
fn own_pid() -> i32 {
    // SAFETY: getpid(2) touches no memory.
    unsafe { libc::getpid() }
}

/// Whether the handlers are for this process, and not for the one that has forked it. Async-signal-safe.
pub(super) fn is_owner() -> bool {
    own_pid() == OWNER.load(Ordering::Relaxed)
}

extern "C" fn on_signal(signal: libc::c_int) {
    let errno = Errno::last_raw();
    if !is_owner() {
        // A child that the application has forked: what is only for its parent does nothing, and the queue is its
        // parent's, who would take the signal for its own.
        if ends(signal) {
            end_by(signal);
        }
    } else if ends(signal) && is_booting() {
        leave_boot();
    } else {
        queue(signal);
        if ends(signal) {
            ASKED_TO_LEAVE.store(true, Ordering::Relaxed);
        }
        if interrupts(signal) || ends(signal) && UNGRACEFUL.load(Ordering::Acquire) {
            INTERRUPTED.store(true, Ordering::Relaxed);
            break_off(signal);
        }
    }
    Errno::set_raw(errno);
}

/// Whether this process has not begun its work yet. Async-signal-safe.
pub(super) fn is_booting() -> bool {
    BOOTING.load(Ordering::Relaxed)
}

/// From now on this process has something to finish before it leaves.
pub(crate) fn boot_is_over() {
    BOOTING.store(false, Ordering::Relaxed);
}

/// Ends a process that has nothing to finish, whatever it does. Async-signal-safe.
pub(super) fn leave_boot() {
    // QUIT would leave a core.
    end_by(libc::SIGTERM);
}

/// Ends this process when the handler returns. Async-signal-safe.
fn end_by(signal: libc::c_int) {
    // SAFETY: both are async-signal-safe, and the default runs no code of this process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Breaks off the call that runs. Async-signal-safe.
fn break_off(signal: libc::c_int) {
    let interrupter = INTERRUPTER.load(Ordering::Acquire);
    if !interrupter.is_null() {
        // SAFETY: what is stored there was an `Interrupter`, and functions stay where they are.
        let interrupter: Interrupter = unsafe { std::mem::transmute(interrupter) };
        interrupter(signal);
        repeat::start();
    }
}

/// Puts a signal in the queue. Async-signal-safe; changes errno.
pub(super) fn queue(signal: libc::c_int) {
    let byte = [u8::try_from(signal).unwrap_or(0)];
    // SAFETY: write(2) is async-signal-safe, and the buffer is one byte long. A descriptor that has just
    // been closed gives EBADF: it is cleared in QUEUE before that.
    let written = unsafe { libc::write(QUEUE.load(Ordering::Relaxed), byte.as_ptr().cast(), 1) };
    if written != 1 {
        OVERFLOW.fetch_or(1 << signal, Ordering::Relaxed);
    }
}

extern "C" fn on_dropped_signal(_: libc::c_int) {}

/// Has all signals that lead to handlers of this module lead to their defaults, in a child that has no part in what
/// they are for. Async-signal-safe.
pub(super) fn give_up() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: all bytes zero are a valid `sigaction`: the default, without flags.
        let (default, mut action): (libc::sigaction, libc::sigaction) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: both are whole, and sigaction(2) is async-signal-safe. A number that is none is an error of its own.
        unsafe {
            let asked = libc::sigaction(number, ptr::null(), &raw mut action);
            let ours = [
                on_signal as *const () as libc::sighandler_t,
                on_dropped_signal as *const () as libc::sighandler_t,
            ];
            if asked == 0 && ours.contains(&action.sa_sigaction) {
                libc::sigaction(number, &raw const default, ptr::null_mut());
            }
        }
    }
}

extern "C" fn on_expire(_: libc::c_int) {
    let errno = Errno::last_raw();
    let handler = ON_EXPIRE.load(Ordering::Acquire);
    if !handler.is_null() && is_owner() {
        // SAFETY: what is stored there was a `fn() -> bool`, and functions stay where they are.
        let handler: fn() -> bool = unsafe { std::mem::transmute(handler) };
        if handler() {
            break_off(libc::SIGINT);
        }
    }
    Errno::set_raw(errno);
}

/// The pipe of a [`Signals`], made beforehand where a failure can still be reported.
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    /// Makes one, non-blocking and closed on exec.
    pub(crate) fn new() -> Result<Self> {
        let (reader, writer) = unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .map_err(|errno| Error::io("cannot make a pipe for signals", errno))?;
        Ok(Self { reader, writer })
    }
}

/// The signals of this process, while it exists.
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
        let queue = pipe.writer.as_raw_fd();
        if QUEUE
            .compare_exchange(-1, queue, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return Err(Error::config(
                "another arbiter is running in this process and has its signals",
            ));
        }
        OWNER.store(Pid::this().as_raw(), Ordering::Relaxed);
        OVERFLOW.store(0, Ordering::Relaxed);
        INTERRUPTED.store(false, Ordering::Relaxed);
        ASKED_TO_LEAVE.store(false, Ordering::Relaxed);
        let mut signals = Self {
            pipe,
            replaced: Vec::new(),
            mask: None,
        };
        for (signal, disposition) in table {
            let replaced = set(signal, disposition, ends)?;
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
    pub(crate) fn retake(&self) -> Result<()> {
        for &(signal, disposition, _) in &self.replaced {
            set(signal, disposition, ends)?;
        }
        self.unblock().map(drop)
    }

    /// In a child, with all signals blocked: leaves the parent's queue and handlers for its own.
    ///
    /// What `self` replaced is forgotten: a child never gives the process back to the host. Until
    /// [`boot_is_over`], TERM, INT and QUIT end the process.
    pub(crate) fn install_in_child(
        &mut self,
        pipe: Pipe,
        table: impl IntoIterator<Item = (Signal, Disposition)>,
    ) -> Result<Self> {
        QUEUE.store(pipe.writer.as_raw_fd(), Ordering::Relaxed);
        OWNER.store(Pid::this().as_raw(), Ordering::Relaxed);
        OVERFLOW.store(0, Ordering::Relaxed);
        INTERRUPTED.store(false, Ordering::Relaxed);
        ASKED_TO_LEAVE.store(false, Ordering::Relaxed);
        BOOTING.store(true, Ordering::Relaxed);
        self.mask = None;
        for (signal, ..) in self.replaced.drain(..) {
            set(signal, Disposition::Default, interrupts)?;
        }
        for (signal, disposition) in table {
            set(signal, disposition, interrupts)?;
        }
        set_realtime(Order::Stacks, on_dropped_signal)?;
        set_realtime(Order::Expire, on_expire)?;
        HAS_ORDERS.store(true, Ordering::Relaxed);
        Ok(Self {
            pipe,
            replaced: Vec::new(),
            mask: None,
        })
    }

    /// Takes what has come, in order.
    pub(crate) fn drain(&self) -> Vec<Signal> {
        let mut drained = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(n @ 1..) = unistd::read(&self.pipe.reader, &mut buffer) {
            let came = buffer[..n].iter().map(|&number| i32::from(number));
            drained.extend(came.filter_map(|number| Signal::try_from(number).ok()));
        }
        let overflow = OVERFLOW.swap(0, Ordering::Relaxed);
        if overflow != 0 {
            drained.extend(Signal::iterator().filter(|&s| overflow & (1 << s as i32) != 0));
        }
        drained
    }
}

impl Signals {
    /// Both ends of its pipe.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.pipe.reader.as_fd(), self.pipe.writer.as_fd()]
    }
}

impl AsFd for Signals {
    /// Readable while [`drain`](Self::drain) has something to give.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.reader.as_fd()
    }
}

impl Signals {
    /// Brings the former handlers back. To be called once, also in a child that becomes another program: it
    /// must not write to the arbiter's queue.
    pub(crate) fn restore(&mut self) {
        for (signal, _, action) in self.replaced.drain(..).rev() {
            // SAFETY: the action was in force before; whoever installed it vouches for it.
            let _ = unsafe { signal::sigaction(signal, &action) };
        }
        let ours = self.pipe.writer.as_raw_fd();
        let _ = QUEUE.compare_exchange(ours, -1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Before their handlers are back: what comes in between waits for whoever had it blocked.
        if let Some(mask) = self.mask.take() {
            let _ = mask.thread_set_mask();
        }
        self.restore();
    }
}

/// `cuts` are the signals after which a system call is not begun again.
fn set(
    signal: Signal,
    disposition: Disposition,
    cuts: fn(libc::c_int) -> bool,
) -> Result<SigAction> {
    let handler = match disposition {
        Disposition::Queue => SigHandler::Handler(on_signal),
        Disposition::Drop => SigHandler::Handler(on_dropped_signal),
        Disposition::Ignore => SigHandler::SigIgn,
        Disposition::Default => SigHandler::SigDfl,
    };
    let mut flags = SaFlags::SA_ONSTACK;
    if !cuts(signal as libc::c_int) {
        flags |= SaFlags::SA_RESTART;
    }
    if signal == Signal::SIGCHLD {
        flags |= SaFlags::SA_NOCLDSTOP;
    }
    let action = SigAction::new(handler, flags, SigSet::all());
    // SAFETY: both handlers call nothing that is not async-signal-safe, and leave errno as it was.
    unsafe { signal::sigaction(signal, &action) }
        .map_err(|errno| Error::io(format_args!("cannot handle {signal}"), errno))
}

/// In a child that the application has forked: a signal that asks a worker for its stacks means nothing to it, since
/// they would go to where the worker's belong. Async-signal-safe.
pub(super) fn leave_stacks_to_the_parent() {
    if HAS_ORDERS.load(Ordering::Relaxed) {
        // It fails for no signal that there is.
        let _ = drop_order(Order::Stacks);
    }
}

/// For signals that `nix` has no name for. Their default would end the process.
pub(super) fn set_realtime(order: Order, handler: extern "C" fn(libc::c_int)) -> Result<()> {
    // SAFETY: all bytes zero are a valid `sigaction`: no flags, and a mask which the next call fills.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // What is to be given up is not begun again.
    let restart = if order == Order::Expire {
        0
    } else {
        libc::SA_RESTART
    };
    action.sa_flags = restart | libc::SA_ONSTACK;
    // SAFETY: the mask is ours to write, the action is whole, and the handlers call nothing that is not
    // async-signal-safe and leave errno as it was.
    let outcome = unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaction(order.number(), &raw const action, ptr::null_mut())
    };
    Errno::result(outcome)
        .map(drop)
        .map_err(|errno| Error::io(format_args!("cannot handle {order}"), errno))
}

/// From now on an order does nothing in this process, whoever has taken it.
pub(super) fn drop_order(order: Order) -> Result<()> {
    set_realtime(order, on_dropped_signal)
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

/// Gives an order to the process `pid`; one that has gone already is no error.
pub(crate) fn send(pid: i32, order: Order) -> Result<()> {
    match kill(pid, order.number()) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Error::io(
            format_args!("cannot send {order} to process {pid}"),
            errno,
        )),
    }
}

/// Whether a terminal controls this process: it sends SIGWINCH to whom it likes (tty(4)).
pub(crate) fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Never a process group: for kill(2), 0 and negative numbers mean many processes.
fn kill(pid: i32, number: i32) -> nix::Result<()> {
    if pid <= 0 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: kill(2) touches no memory. nix has no name for real-time signals.
    Errno::result(unsafe { libc::kill(pid, number) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// The handlers belong to the process: these tests take turns.
    static TURN: Mutex<()> = Mutex::new(());

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
        while unistd::write(&signals.pipe.writer, &filler).is_ok() {}
        while unistd::write(&signals.pipe.writer, &filler[..1]).is_ok() {}
        raise(Signal::SIGUSR2);
        assert_eq!(signals.drain().last(), Some(&Signal::SIGUSR2));
        assert!(signals.drain().is_empty());
    }

    #[test]
    fn dropping_gives_the_hosts_handlers_back() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let before = set(Signal::SIGUSR1, Disposition::Ignore, ends).unwrap();
        drop(Signals::install(Pipe::new().unwrap(), TABLE).unwrap());
        // SAFETY: the action was in force before.
        let restored = unsafe { signal::sigaction(Signal::SIGUSR1, &before) }.unwrap();
        assert!(matches!(restored.handler(), SigHandler::SigIgn));
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
        signals.retake().unwrap();
        raise(Signal::SIGUSR1);
        assert_eq!(signals.drain(), [Signal::SIGUSR1]);
        let has = |signal| SigSet::thread_get_mask().unwrap().contains(signal);
        assert!(!has(Signal::SIGUSR1) && has(Signal::SIGURG));
        drop(signals);
        assert!(has(Signal::SIGUSR1) && has(Signal::SIGURG));
        before.thread_set_mask().unwrap();
    }

    #[test]
    fn an_order_to_a_process_that_is_not_their_owner_does_nothing() {
        static CALLED: AtomicBool = AtomicBool::new(false);
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let expired = || {
            CALLED.store(true, Ordering::Relaxed);
            false
        };
        let called = |owner: Pid| {
            OWNER.store(owner.as_raw(), Ordering::Relaxed);
            on_expire(Order::Expire.number());
            CALLED.swap(false, Ordering::Relaxed)
        };
        set_on_expire(Some(expired));
        let (own, parents) = (called(Pid::this()), called(Pid::from_raw(1)));
        set_on_expire(None);
        assert_eq!((own, parents), (true, false));
    }

    #[test]
    fn a_second_arbiter_in_one_process_is_refused() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let _first = Signals::install(Pipe::new().unwrap(), TABLE).unwrap();
        let second = Signals::install(Pipe::new().unwrap(), TABLE);
        assert!(second.unwrap_err().is_config());
    }

    #[test]
    fn no_signal_is_ever_sent_to_a_group() {
        for pid in [0, -1] {
            assert_eq!(kill(pid, 0), Err(Errno::ESRCH));
        }
    }
}
