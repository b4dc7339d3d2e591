//! The mio-based HTTP/1.1 layer: one [`Reactor`] polls the connections of one thread and hands out the
//! requests that are complete.
//!
//! It never calls a service, and no client can hold it: heads and bodies are collected, and responses sent,
//! as sockets allow, under deadlines.
//!
//! ```text
//!   loop {
//!       reactor.poll(&host, wait)            poll, read, parse, send, expire, accept
//!       while let Some(mut pending) = reactor.next_request(&host) {
//!           pending.answer(&host, |request, reply| service.call(request, reply))
//!           reactor.give_back(pending, &host)  next request, pending output, or the end
//!       }
//!   }
//! ```
//!
//! A [`PendingRequest`] may be answered on another thread while the reactor turns on this one, and be given back
//! later: a [`Waker`] ends the turn that should not wait for more.
//!
//! *Invariants*: a connection is in the reactor or lent, never both; an edge that comes while it is lent is
//! kept for its return; every connection that waits has a deadline, and every lent one where there is a
//! `request_timeout`; sockets are registered once, edge-triggered, and only when a read would block.
//!
//! First come, first served: a connection whose next request is there at once goes behind all that were ready,
//! readable, or to be accepted before it. Between two turns no more requests are handed out than there were when
//! the first of them ended, so that no client decides when the next turn comes.

mod accepting;
mod acceptor;
mod body_stream;
mod call_timeout;
mod config;
mod connection;
mod date_header;
mod deadlines;
mod episode;
mod error_response;
mod exchange;
mod forwarded;
mod host;
mod http_io;
mod outbox;
mod pending;
mod poller;
mod pool;
mod proxy_preamble;
mod rate;
mod request_body;
mod response;
mod run_queue;
#[cfg(test)]
mod simulator;
mod spool;
mod stepping;
mod total;
mod transport;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

pub(crate) use call_timeout::CallTimeout;
pub use config::Config;
pub use error_response::{ErrorPage, ErrorResponse};
pub use host::{Admit, BlockedCall, Host, Interest};
pub use pending::PendingRequest;
pub use poller::Waker;

use self::acceptor::{Acceptor, DRAIN_ACCEPT};
use self::call_timeout::{CallDeadline, CallTimeouts};
use self::connection::Connection;
use self::deadlines::Deadlines;
use self::episode::Episodes;
use self::poller::{Edge, Poller};
use self::pool::BufferPool;
use self::run_queue::RunQueue;
use self::total::Totals;
use crate::error::{Error, Result};
use crate::net::{Listeners, QueuePolicy};
use crate::time::MonoTime;

/// How long a client that has just come, or was just answered, may take to send a request once [`Reactor::hasten`] was called.
const LAST_WORD: Duration = Duration::from_millis(250);

/// One thread's connections.
pub struct Reactor {
    poller: Poller,
    config: Arc<Config>,
    acceptor: Acceptor,
    /// Since when no connection is kept, and until when the listeners are emptied.
    draining: Option<MonoTime>,
    /// When it ends in haste, whatever is left.
    end: Option<MonoTime>,
    connections: Slab<Place>,
    deadlines: Deadlines,
    queue: RunQueue,
    /// Connections that have had their share of a turn.
    again: Vec<usize>,
    pool: BufferPool,
    /// What its connections take together.
    totals: Totals,
    episodes: Episodes,
    /// Where calls may take too long.
    call_timeouts: Option<CallTimeouts>,
}

/// Where a connection is.
enum Place {
    Here(Box<Connection>),
    /// Lent to the code that answers its request. Edges are kept meanwhile: mio reports each once.
    InFlight {
        edge: Option<Edge>,
        watch: Option<Box<CallDeadline>>,
    },
}

impl Place {
    fn here(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Here(connection) => Some(connection),
            Self::InFlight { .. } => None,
        }
    }
}

/// What a turn found beside requests.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PollOutcome {
    /// The descriptor given to [`Reactor::watch`] is readable.
    pub woken: bool,
    /// A signal interrupted the wait.
    pub interrupted: bool,
    /// No request was answered for some seconds, and the reactor has given its spare memory back: a moment for the
    /// process to do the same.
    pub rested: bool,
}

impl Reactor {
    /// A reactor that accepts from `listeners`. To be made after any fork: an epoll set is shared with
    /// children, and so are its edges.
    ///
    /// # Errors
    ///
    /// Where the system gives no poll, a listener cannot be polled, or [`Config::server`] cannot be sent.
    pub fn new(listeners: &Listeners, config: Config) -> Result<Self> {
        config.check()?;
        let poller = Poller::new()?;
        let acceptor = Acceptor::open(listeners, &poller)?;
        Ok(Self::over(poller, acceptor, config))
    }

    fn over(poller: Poller, acceptor: Acceptor, config: Config) -> Self {
        Self {
            poller,
            acceptor,
            call_timeouts: CallTimeouts::new(&config),
            config: Arc::new(config),
            draining: None,
            end: None,
            connections: Slab::new(),
            deadlines: Deadlines::default(),
            queue: RunQueue::default(),
            again: Vec::new(),
            pool: BufferPool::default(),
            totals: Totals::default(),
            episodes: Episodes::default(),
        }
    }

    /// Has a [`poll`](Self::poll) end when `fd` becomes readable; one descriptor, which stays the caller's to empty.
    ///
    /// # Errors
    ///
    /// Where the descriptor cannot be polled.
    pub fn watch(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        self.poller
            .watch(fd)
            .map_err(|e| Error::io("cannot poll the wake-up descriptor", e))
    }

    /// What ends this reactor's wait from another thread. One is enough: it is shared by reference.
    ///
    /// # Errors
    ///
    /// Where the system gives no descriptor for it.
    pub fn waker(&self) -> Result<Waker> {
        self.poller.waker()
    }

    /// The timeout of all calls, for a reactor with one call at a time; `None` without a `request_timeout`.
    /// By it a signal handler or another thread gives up a call that keeps the reactor from turning.
    pub(crate) fn single_call_timeout(&mut self) -> Option<Arc<CallTimeout>> {
        self.call_timeouts.as_mut().map(CallTimeouts::only)
    }

    /// Whether a complete request, or a connection that is yet to be accepted, may be taken out before the next
    /// turn.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.queue.has_due()
    }

    /// Open connections, lent ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.connections.len()
    }

    /// Whether a drained reactor has nothing left to do, or one that [ends in haste](Self::hasten) no time.
    #[must_use]
    pub fn is_done(&self, now: MonoTime) -> bool {
        let is_over = self.end.is_some_and(|end| now >= end);
        is_over
            || self.draining.is_some()
                && self.acceptor.entrances.is_empty()
                && self.connections.is_empty()
    }

    /// How many connections are lent.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let lent = |(_, place): &(usize, &Place)| matches!(place, Place::InFlight { .. });
        self.connections.iter().filter(lent).count()
    }

    /// Starts a graceful drain: every response closes its connection, idle clients have [`Config::drain_idle`] to send
    /// a last request, and the listeners are closed. `queues` decides on the connections in their queues.
    pub fn drain(&mut self, now: MonoTime, queues: QueuePolicy) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(now + DRAIN_ACCEPT);
        self.acceptor.drain(queues);
        for (key, place) in &mut self.connections {
            if let Some(connection) = place.here() {
                if connection.awaits_request() || connection.lingers() {
                    self.deadlines.set(key, now + self.config.drain_idle);
                }
            }
        }
    }

    /// Starts a quick drain, also in the middle of a graceful one: no connection is accepted from now on, and the
    /// listeners' queues are left to other workers. Complete requests are answered, a client that has just come has a
    /// moment to send one, and the other connections are closed. The drain ends `within` that time at the latest. Only
    /// the first call counts.
    pub fn hasten(&mut self, now: MonoTime, within: Duration) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(now + within);
        self.draining.get_or_insert(now);
        self.acceptor.abandon();
        for (key, place) in &mut self.connections {
            let Some(connection) = place.here().filter(|it| it.awaits_request()) else {
                continue;
            };
            let rank = connection.eviction_rank(now, &self.config);
            let moment = rank.map(|(_, since)| since + LAST_WORD);
            self.deadlines
                .set(key, moment.map_or(now, |moment| moment.max(now)));
        }
    }

    /// Whether a [quick drain](Self::hasten) has started.
    #[must_use]
    pub fn is_hasty(&self) -> bool {
        self.end.is_some()
    }

    /// One turn: polls for `wait` at the most (`None`: for as long as nothing happens), then reads, parses,
    /// sends, expires and accepts.
    ///
    /// Requests that are [ready](Self::has_pending) already do not shorten the wait: they are to be taken out
    /// before, unless no thread could answer them. Requests that need a turn first make the poll return at once.
    ///
    /// # Errors
    ///
    /// Where the poll itself fails.
    pub fn poll(&mut self, host: &dyn Host, wait: Option<Duration>) -> Result<PollOutcome> {
        let timeout = self.poll_timeout(host, wait);
        let mut outcome = PollOutcome {
            interrupted: self.poller.poll(timeout, host)?,
            ..PollOutcome::default()
        };
        let now = host.now();
        self.tend(&mut outcome, host, now)?;
        if self.queue.is_empty() || self.draining.is_some() {
            self.accept(host, now);
        } else {
            self.expect(host, now);
        }
        self.queue.end_turn();
        outcome.rested = self.pool.rest(now) && self.in_flight() == 0;
        Ok(outcome)
    }

    /// Waits for a connection that is lent, `limit` at the most, and meanwhile sees to those that are here:
    /// reads, parses, sends and expires. To be called by the host of a reactor that no other thread turns while
    /// a call [is held](Host::block_on_client).
    ///
    /// Nothing is accepted and nothing is answered: a request that becomes ready waits, one of each connection
    /// at the most.
    ///
    /// # Errors
    ///
    /// Where the poll itself fails.
    pub fn poll_others(
        &mut self,
        host: &dyn Host,
        call: &BlockedCall<'_>,
        limit: Duration,
    ) -> Result<PollOutcome> {
        let now = host.now();
        let mut until = call.until.min(now + limit);
        for next in self.deadlines.next().into_iter().chain(self.end) {
            until = until.min(next);
        }
        if !self.again.is_empty() {
            until = now;
        }
        let mut outcome = PollOutcome {
            interrupted: self.poller.wait_for(call, until, host)?,
            ..PollOutcome::default()
        };
        self.poller.poll(Some(Duration::ZERO), host)?;
        self.tend(&mut outcome, host, host.now())?;
        Ok(outcome)
    }

    /// How long to poll.
    fn poll_timeout(&self, host: &dyn Host, wait: Option<Duration>) -> Option<Duration> {
        if !self.again.is_empty() || self.queue.awaits_turn() {
            return Some(Duration::ZERO);
        }
        // While requests are queued, a connection to be accepted has a place in the queue.
        let may_accept = self.queue.is_empty() || self.draining.is_some();
        let admit_at = if may_accept {
            self.acceptor.next()
        } else {
            None
        };
        if admit_at == Some(MonoTime::ZERO) {
            return Some(Duration::ZERO);
        }
        let rest_at = self.pool.rest_at();
        let next = [self.deadlines.next(), admit_at, rest_at, self.end];
        let Some(next) = next.into_iter().flatten().min() else {
            return wait;
        };
        // epoll_wait(2) counts milliseconds: half a one too early would be a turn for nothing.
        let until = next
            .since(host.now())
            .saturating_add(Duration::from_micros(999));
        Some(wait.map_or(until, |wait| wait.min(until)))
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("gates", &self.acceptor)
            .field("open", &self.connections.len())
            .field("ready", &self.queue.requests())
            .field("draining", &self.draining.is_some())
            .finish_non_exhaustive()
    }
}
