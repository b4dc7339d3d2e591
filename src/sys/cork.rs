//! Output that the system holds back, socket by socket, until all of it is let go in a row: `MSG_MORE` of send(2).
//!
//! The system has taken such output already: it sends it also where this process is killed. What is held back is let go
//! by its owner, and by a timer, whatever code runs meanwhile. Threads that take turns need no timer: the next one lets
//! go what a blocked one has held back.
//!
//! ```text
//!   send: note ──▶ send(2), MSG_MORE ──▶ gone from the list meanwhile? then let go
//!           └── the timer is started, unless it runs ──▶ its signal ──▶ release
//!                                                    └──▶ release ──▶ the timer is stopped
//! ```
//!
//! *Invariants*: no output is held back that is not in the list; a socket that is closed is not in the list; where there
//! is a timer it runs whenever the list has a socket, and for [`LIMIT`] at the most; its handler calls only what
//! signal-safety(7) lists, on the thread that sends.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::signal;
use super::timer::Timer;
use crate::error::{Error, Result};

/// How long output is held back at the most where there is a timer, while the thread's signals are not blocked.
pub(crate) const LIMIT: Duration = Duration::from_millis(1);

/// How many sockets may have output that is held back.
const PLACES: usize = 64;
/// What a place has that no socket has taken.
const FREE: RawFd = -1;

/// The list: numbers of sockets. Threads and the handler take them out of it.
static SOCKETS: [AtomicI32; PLACES] = [const { AtomicI32::new(FREE) }; PLACES];
/// Whether a place was taken since all were let go.
static ANY: AtomicBool = AtomicBool::new(false);
static IS_TIMED: AtomicBool = AtomicBool::new(false);
static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
/// Whether every thread may hold output back.
static IS_SHARED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this is the thread whose timer lets its output go.
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread can hold output back. `number` is the real-time signal of the timer. To be called once in a
/// process.
///
/// # Errors
///
/// Where the system gives no timer: then no output is held back.
pub(crate) fn set_up(number: i32) -> Result<()> {
    signal::set_realtime(number, false, on_timer)?;
    let timer = Timer::for_this_thread(number)
        .map_err(|errno| Error::io("cannot make a timer for responses", errno))?;
    TIMER.store(timer.into_raw(), Ordering::Release);
    IS_HERE.set(true);
    Ok(())
}

/// From now on all threads can hold output back, without a timer: the caller sees to it that one of them
/// [lets it go](release) soon, also while the one that has sent it is blocked.
pub(crate) fn share() {
    IS_SHARED.store(true, Ordering::Relaxed);
}

/// Whether this thread can hold output back.
fn is_set_up() -> bool {
    IS_HERE.get() || IS_SHARED.load(Ordering::Relaxed)
}

/// Has `write` send to a socket, with the flags of send(2) by which the system holds the output back: none where the list
/// has no place for the socket. A socket that is not TCP's sends at once all the same.
///
/// # Errors
///
/// Those of `write`.
pub(crate) fn send(
    socket: &impl AsFd,
    write: impl FnOnce(libc::c_int) -> io::Result<usize>,
) -> io::Result<usize> {
    let number = socket.as_fd().as_raw_fd();
    let place = note(number);
    let sent = write(if place.is_some() { libc::MSG_MORE } else { 0 });
    if let Some(place) = place {
        // It may have been let go before the system had the output.
        if place.load(Ordering::Acquire) != number {
            let_go(number);
        }
    }
    sent
}

/// Takes a place of the list, and sees that the timer runs if there is one.
fn note(number: RawFd) -> Option<&'static AtomicI32> {
    let is_free = |place: &&AtomicI32| {
        place.load(Ordering::Relaxed) == FREE
            && place
                .compare_exchange(FREE, number, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    };
    let place = is_set_up().then(|| SOCKETS.iter().find(is_free))??;
    ANY.store(true, Ordering::Release);
    if IS_HERE.get() && !IS_TIMED.swap(true, Ordering::Relaxed) {
        let timer = Timer::from_raw(TIMER.load(Ordering::Acquire));
        if timer.start(LIMIT).is_err() {
            IS_TIMED.store(false, Ordering::Relaxed);
            release();
            return None;
        }
    }
    Some(place)
}

/// Lets go what is held back, in the order in which places were taken. Then no timer runs that would end a system call of
/// the application for nothing.
pub(crate) fn release() {
    if ANY.load(Ordering::Relaxed) && is_set_up() && ANY.swap(false, Ordering::AcqRel) {
        empty();
        if IS_HERE.get() && IS_TIMED.swap(false, Ordering::Relaxed) {
            Timer::from_raw(TIMER.load(Ordering::Acquire)).stop();
        }
    }
}

/// Lets go what the places have. Async-signal-safe; changes errno.
///
/// Another thread may close a socket meanwhile and open another of that number, which then sends at once, too.
fn empty() {
    for place in &SOCKETS {
        if place.load(Ordering::Relaxed) != FREE {
            let number = place.swap(FREE, Ordering::AcqRel);
            if number != FREE {
                let_go(number);
            }
        }
    }
}

/// Forgets a socket that is about to be closed, which lets its output go.
pub(crate) fn forget(socket: &impl AsFd) {
    if ANY.load(Ordering::Relaxed) && is_set_up() {
        let number = socket.as_fd().as_raw_fd();
        for place in &SOCKETS {
            let _ = place.compare_exchange(number, FREE, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Has the system send what it holds back of a socket: to set this option does (tcp(7)), and it is set already.
fn let_go(number: RawFd) {
    let on: libc::c_int = 1;
    // SAFETY: setsockopt(2) reads one `int`, and is async-signal-safe. It fails for a socket that is not TCP's, or lost.
    unsafe {
        libc::setsockopt(
            number,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

extern "C" fn on_timer(_: libc::c_int) {
    let errno = Errno::last_raw();
    IS_TIMED.store(false, Ordering::Relaxed);
    empty();
    Errno::set_raw(errno);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use nix::poll::poll;
    use nix::sys::socket::{self, MsgFlags};

    use super::*;
    use crate::time::MonoTime;

    /// A connection over TCP: its two ends.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nodelay(true).unwrap();
        (server, client)
    }

    fn has_come(client: &TcpStream) -> bool {
        client.set_nonblocking(true).unwrap();
        let came = client.peek(&mut [0]).is_ok_and(|n| n > 0);
        client.set_nonblocking(false).unwrap();
        came
    }

    fn send_with(server: &TcpStream, flags: libc::c_int) -> io::Result<usize> {
        let flags = MsgFlags::from_bits_retain(flags);
        Ok(socket::send(server.as_raw_fd(), b"held", flags)?)
    }

    fn send_to(server: &TcpStream) {
        let sent = send(server, |flags| send_with(server, flags)).unwrap();
        assert_eq!(sent, 4);
    }

    #[test]
    fn output_is_held_back_for_a_millisecond_at_the_most() {
        let (server, mut client) = pair();
        // Another thread holds nothing back.
        send_to(&server);
        client.read_exact(&mut [0; 4]).unwrap();
        set_up(libc::SIGRTMIN() + 11).unwrap();
        let (mut seen, mut let_go, mut alone) = (0, 0, Duration::ZERO);
        for _ in 0..100 {
            send_to(&server);
            let held = !has_come(&client) && IS_TIMED.load(Ordering::Relaxed);
            release();
            if held {
                seen += 1;
                let_go += u32::from(has_come(&client));
            }
            client.read_exact(&mut [0; 4]).unwrap();
        }
        assert!(seen > 0, "nothing was held back");
        assert_eq!(let_go, seen);
        // A timer that still ran would end such a wait with EINTR.
        let undisturbed = (0..20).filter(|_| {
            send_to(&server);
            release();
            let waited = poll(&mut [], 3 * LIMIT.as_millis() as u8);
            client.read_exact(&mut [0; 4]).unwrap();
            waited == Ok(0)
        });
        assert_eq!(undisturbed.count(), 20, "a timer goes on");
        for _ in 0..20 {
            let begun = MonoTime::now();
            send_to(&server);
            client.read_exact(&mut [0; 4]).unwrap();
            alone = alone.max(MonoTime::now().since(begun));
            release();
        }
        // The kernel's own bound is 200 ms.
        assert!(alone < Duration::from_millis(150), "{alone:?}");
        let (other, _) = pair();
        send_to(&other);
        forget(&other);
        let number = other.as_raw_fd();
        let is_left = SOCKETS
            .iter()
            .any(|place| place.load(Ordering::Relaxed) == number);
        assert!(!is_left, "a socket that is closed is in the list");
        release();

        share();
        seen = 0;
        for _ in 0..100 {
            std::thread::scope(|scope| scope.spawn(|| send_to(&server)).join()).unwrap();
            seen += u32::from(!has_come(&client));
            release();
            // The kernel's own bound is 200 ms.
            let begun = MonoTime::now();
            client.read_exact(&mut [0; 4]).unwrap();
            alone = alone.min(MonoTime::now().since(begun));
        }
        assert!(seen > 0, "no other thread held anything back");
        assert!(alone < Duration::from_millis(150), "{alone:?}");
    }

    #[test]
    fn output_that_is_held_back_leaves_with_the_end_of_its_socket() {
        let (server, mut client) = pair();
        assert_eq!(send_with(&server, libc::MSG_MORE).unwrap(), 4);
        drop(server);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"held");
    }
}
