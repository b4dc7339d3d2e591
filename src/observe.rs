//! What a reactor tells its worker and asks of it: [`Access`], the facts of one exchange, and [`Host`].
//!
//! Nothing here runs by itself: a worker implements [`Host`] over its log and its scoreboard, a program
//! of your own over whatever it likes.

use std::time::Duration;

use crate::clock::Tick;
use crate::h1::Head;
use crate::service::Connection;

/// The facts of one answered exchange, refused requests included.
#[derive(Debug)]
pub struct Access<'a> {
    /// The connection's two ends.
    pub connection: &'a Connection,
    /// The request's head; `None` where none could be parsed.
    pub head: Option<&'a Head>,
    /// The status that was sent, or 0 where the client left before there was one.
    pub status: u16,
    /// Bytes of the response's body that were handed to the socket or are on their way to it, without
    /// framing.
    pub sent: u64,
    /// When the head was complete.
    pub started: Tick,
    /// When the response was complete.
    pub finished: Tick,
}

impl Access<'_> {
    /// From the complete head to the end of the response.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.finished.since(self.started)
    }
}

/// A worker's answer to "may I accept now?".
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

/// What a reactor asks of the program that it runs in.
pub trait Host {
    /// The present moment. The reactor asks once a turn and passes the answer on.
    fn now(&self) -> Tick {
        Tick::now()
    }

    /// May one more connection be accepted, with `open` connections there already?
    fn admit(&self, now: Tick, open: usize) -> Admit {
        let _ = (now, open);
        Admit::Accept
    }

    /// The number of open connections has changed.
    fn connections(&self, open: usize) {
        let _ = open;
    }

    /// A request was handed out to be answered.
    fn started(&self, now: Tick, head: &Head) {
        let _ = (now, head);
    }

    /// A response is complete, or will be without the service's help.
    fn finished(&self, access: &Access<'_>) {
        let _ = access;
    }

    /// Runs `block`, which may block for long: the place to release a lock meanwhile.
    fn wait(&self, block: &mut (dyn FnMut() + Send)) {
        block();
    }
}
