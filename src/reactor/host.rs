//! The callbacks from a reactor to the program that runs it: [`Host`], and [`BlockedCall`], a call that waits for
//! its client.
//!
//! Nothing here runs by itself: a worker implements [`Host`] over its log and its scoreboard, a program
//! of your own over its own state.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::access::Access;
use crate::error::{Error, Result};
use crate::h1::Head;
use crate::time::MonoTime;

/// The permission to accept a connection now. Exhaustive, since only a host makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Accept one connection.
    Accept,
    /// Not yet: ask again after this long, since another worker has fewer connections.
    Later(Duration),
    /// Not before a connection has gone.
    Full,
    /// Never again: the listeners are no longer ours to read.
    Closed,
}

/// A call of a service that waits for its own client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockedCall<'a> {
    /// The client's socket.
    pub socket: BorrowedFd<'a>,
    /// The readiness that is waited for.
    pub interest: Interest,
    /// When the wait is over at the latest.
    pub until: MonoTime,
}

/// The event that a wait for a socket ends with. Exhaustive: poll(2) knows no other one that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Room for more output.
    Room,
    /// Input.
    Data,
}

impl BlockedCall<'_> {
    /// Waits until the socket is ready, `other` is readable, `until` has come, or a signal handler has run:
    /// tells whether it was that.
    ///
    /// # Errors
    ///
    /// Fails if the system cannot wait.
    pub fn wait(
        &self,
        host: &(impl Host + ?Sized),
        other: Option<BorrowedFd<'_>>,
        until: MonoTime,
    ) -> Result<bool> {
        let interest = match self.interest {
            Interest::Room => PollFlags::POLLOUT,
            Interest::Data => PollFlags::POLLIN,
        };
        let mut fds = [
            PollFd::new(self.socket, interest),
            PollFd::new(other.unwrap_or(self.socket), PollFlags::POLLIN),
        ];
        let fds = match other {
            Some(_) => &mut fds[..],
            None => &mut fds[..1],
        };
        // poll(2) counts milliseconds: half a one too early would be a wait for nothing.
        let limit = until
            .since(host.now())
            .saturating_add(Duration::from_micros(999));
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut outcome = Ok(0);
        host.wait(&mut || outcome = poll(fds, timeout));
        match outcome {
            Ok(_) => Ok(false),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(Error::io("cannot wait for a socket", errno)),
        }
    }
}

/// The callbacks of a reactor to its program.
///
/// During a call that is the one which [`PendingRequest::answer`](crate::reactor::PendingRequest::answer) was given, on the call's
/// own thread; the reactor may turn elsewhere with another one meanwhile.
pub trait Host {
    /// The present moment. The reactor asks once a turn and passes the answer on; it asks once more when a response begins.
    fn now(&self) -> MonoTime {
        MonoTime::now()
    }

    /// May one more connection be accepted, with `open` connections there already?
    fn admit(&self, now: MonoTime, open: usize) -> Admit {
        let _ = (now, open);
        Admit::Accept
    }

    /// Of so many that wait to be accepted, how many are this reactor's to accept? Fewer than all where others
    /// accept from the same queues.
    fn share(&self, waiting: usize) -> usize {
        waiting
    }

    /// The number of open connections has changed.
    fn connections(&self, open: usize) {
        let _ = open;
    }

    /// A request was handed out to be answered.
    fn started(&self, now: MonoTime, head: &Head) {
        let _ = (now, head);
    }

    /// The last bytes of the response to the running call, with this status, are about to be handed to the system. It is
    /// [recorded](Self::finished) once the call is over, unless the process is killed before. May be called again for the same
    /// call.
    fn completing(&self, status: u16) {
        let _ = status;
    }

    /// A response is complete, or will be without the service's help.
    fn finished(&self, access: &Access<'_>) {
        let _ = access;
    }

    /// A call has ended that was given up for `request_timeout`. Its answer was recorded then.
    fn returned(&self, now: MonoTime) {
        let _ = now;
    }

    /// Is this the process whose connections these are? In a child that a service has forked within its call it is
    /// not: there the call can neither read nor answer, since its parent does.
    fn is_own_process(&self) -> bool {
        true
    }

    /// May the connection be kept after the response that begins now?
    fn keeps(&self) -> bool {
        true
    }

    /// May a call take its connection over, and keep its thread for as long as it likes? Only where other threads see to
    /// the other connections: not by default.
    fn spares_threads(&self) -> bool {
        false
    }

    /// A call has taken its connection over, and may last for long.
    fn upgraded(&self) {}

    /// A call has written a block of its response, or read one of a body that is still arriving.
    fn progress(&self) {}

    /// A call waits for its client. May return before its socket is ready: it is asked again.
    ///
    /// A host whose reactor is not turned during a call calls [`poll_others`](crate::reactor::Reactor::poll_others) here,
    /// so that the client holds no other one up. The default waits for the one socket.
    ///
    /// # Errors
    ///
    /// End the response, and become the call's.
    fn block_on_client(&self, call: &BlockedCall<'_>) -> Result<()> {
        call.wait(self, None, call.until).map(drop)
    }

    /// Runs `block`, which may block for long: the place to release a lock meanwhile.
    fn wait(&self, block: &mut (dyn FnMut() + Send)) {
        block();
    }
}
