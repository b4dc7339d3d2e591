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
mod batch;
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
mod request_ids;
mod request_span;
mod response;
mod run_queue;
#[cfg(test)]
mod simulator;
mod spool;
mod stepping;
mod total;
mod transport;
mod upgrades;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
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
use self::batch::Batch;
use self::call_timeout::{CallDeadline, CallTimeouts};
use self::connection::Connection;
use self::deadlines::Deadlines;
use self::episode::Episodes;
use self::poller::Edge;
#[cfg(not(test))]
use self::poller::Poller;
use self::pool::BufferPool;
use self::request_ids::RequestIds;
use self::run_queue::RunQueue;
#[cfg(test)]
use self::simulator::Poller;
use self::total::Totals;
use self::upgrades::Upgrades;
use crate::error::{Error, Result};
use crate::h1;
use crate::net::{Listeners, QueuePolicy};
use crate::time::MonoTime;

/// How long a client that has just come, or was just answered, may take to send a request once [`Reactor::hasten`] was called.
const LAST_WORD: Duration = Duration::from_millis(250);

/// One thread's connections.
pub struct Reactor {
    poller: Poller,
    config: Arc<Config>,
    /// The settings of each connection's protocol.
    http: h1::ConnConfig,
    acceptor: Acceptor,
    /// Since when no connection is kept, and until when the listeners are emptied.
    draining: Option<MonoTime>,
    /// When it ends in haste, whatever is left.
    end: Option<MonoTime>,
    /// When the connections that calls have taken over are shut down.
    upgrades_end: Option<MonoTime>,
    connections: Slab<Place>,
    deadlines: Deadlines,
    queue: RunQueue,
    /// Connections that have had their share of a turn.
    again: Vec<usize>,
    pool: BufferPool,
    /// The memory and disk space that its connections use together.
    totals: Totals,
    episodes: Episodes,
    /// The moment in which a connection was given back, if nothing has happened since.
    given_back: Option<MonoTime>,
    ids: RequestIds,
    /// Where responses of a turn leave together.
    batch: Option<Batch>,
    /// The deadlines of calls, where calls have one.
    call_timeouts: Option<CallTimeouts>,
}

/// The holder of a connection.
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

/// The findings of one turn beside its requests.
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
    /// The moment of the turn.
    pub(crate) now: MonoTime,
}

impl Reactor {
    /// A reactor that accepts from `listeners`. To be made after any fork: an epoll set is shared with
    /// children, and so are its edges.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no poll, if a listener cannot be polled, if the `Server` line cannot be sent, or if the
    /// files of TLS cannot be used.
    pub fn new(listeners: &Listeners, mut config: Config) -> Result<Self> {
        config.check()?;
        config.load_tls()?;
        let poller = Poller::new()?;
        let acceptor = Acceptor::open(listeners, &poller)?;
        Ok(Self::over(poller, acceptor, config))
    }

    fn over(poller: Poller, acceptor: Acceptor, mut config: Config) -> Self {
        // Read now: later a service may be changing the environment.
        let folder = &mut config.settings.tmp_upload_dir;
        folder.get_or_insert_with(std::env::temp_dir);
        let totals = Totals {
            upgrades: Upgrades::new(poller.remover()),
            ..Totals::default()
        };
        Self {
            http: config.http(),
            poller,
            acceptor,
            call_timeouts: CallTimeouts::new(&config),
            config: Arc::new(config),
            draining: None,
            end: None,
            upgrades_end: None,
            connections: Slab::new(),
            deadlines: Deadlines::default(),
            queue: RunQueue::default(),
            again: Vec::new(),
            pool: BufferPool::default(),
            totals,
            episodes: Episodes::default(),
            given_back: None,
            ids: RequestIds::new(),
            batch: None,
        }
    }

    /// Has a [`poll`](Self::poll) end when `fd` becomes readable; one descriptor, which stays the caller's to empty.
    ///
    /// # Errors
    ///
    /// Fails if the descriptor cannot be polled.
    pub fn watch(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        self.poller
            .watch(fd)
            .map_err(|e| Error::io("cannot poll the wake-up descriptor", e))
    }

    /// Returns the handle that ends this reactor's wait from another thread. One is enough: it is shared by reference.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no descriptor for it.
    pub fn waker(&self) -> Result<Waker> {
        self.poller.waker()
    }

    /// The timeout of all calls, for a reactor with one call at a time; `None` without a `request_timeout`.
    /// By it a signal handler or another thread gives up a call that keeps the reactor from turning.
    pub(crate) fn single_call_timeout(&mut self) -> Option<Arc<CallTimeout>> {
        self.call_timeouts.as_mut().map(CallTimeouts::only)
    }

    /// Tells whether a complete request, or a connection that is yet to be accepted, may be taken out before the next
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

    /// Tells whether a drained reactor has nothing left to do, or one that [ends in haste](Self::hasten) no time.
    #[must_use]
    pub fn is_done(&self, now: MonoTime) -> bool {
        let is_over = self.end.is_some_and(|end| now >= end);
        is_over
            || self.draining.is_some()
                && self.acceptor.entrances.is_empty()
                && self.connections.is_empty()
    }

    /// Tells how many connections are lent.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let lent = |(_, place): &(usize, &Place)| matches!(place, Place::InFlight { .. });
        self.connections.iter().filter(lent).count()
    }

    /// Starts a graceful drain: every response closes its connection, idle clients may send a last request for as long
    /// as they could anyway, `drain_idle` at the most, and the listeners are closed. `queues` decides on the
    /// connections in their queues.
    pub fn drain(&mut self, now: MonoTime, queues: QueuePolicy) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(now + DRAIN_ACCEPT);
        self.acceptor.drain(queues);
        for (key, place) in &mut self.connections {
            if let Some(connection) = place.here() {
                if connection.awaits_request() || connection.lingers() {
                    self.deadlines.advance(key, now + self.config.drain_idle());
                }
            }
        }
    }

    /// Has the connections that calls have [taken over](crate::service::Exchange::take_over) shut down at that time, so
    /// that the calls end: for a reactor that drains, and whose end is known.
    pub fn end_upgrades(&mut self, at: MonoTime) {
        self.upgrades_end.get_or_insert(at);
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
        self.totals.upgrades.shut();
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

    /// Tells whether a [quick drain](Self::hasten) has started.
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
    /// Fails if the poll itself fails.
    pub fn poll(&mut self, host: &dyn Host, wait: Option<Duration>) -> Result<PollOutcome> {
        self.poller.uncork();
        let timeout = self.poll_timeout(host, wait);
        let mut outcome = PollOutcome {
            interrupted: self.poller.poll(timeout, host)?,
            ..PollOutcome::default()
        };
        self.given_back = None;
        let now = host.now();
        outcome.now = now;
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
    /// Fails if the poll itself fails.
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
        self.poller.uncork();
        let mut outcome = PollOutcome {
            interrupted: self.poller.wait_for(call, until, host)?,
            ..PollOutcome::default()
        };
        self.poller.poll(Some(Duration::ZERO), host)?;
        self.tend(&mut outcome, host, host.now())?;
        Ok(outcome)
    }

    /// When a [`poll`](Self::poll) is due though nothing has happened: a deadline of a connection, a connection that waits
    /// to be accepted. A time that has passed (also [`MonoTime::ZERO`]) means at once, and `None` never.
    ///
    /// For a program that waits in a poll of its own, for this reactor's [descriptor](Self::as_fd) and other things. To be
    /// asked after each [`poll`](Self::poll), [`give_back`](Self::give_back) and drain, when no request is
    /// [pending](Self::has_pending).
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        if !self.again.is_empty() || self.queue.awaits_turn() {
            return Some(MonoTime::ZERO);
        }
        // While requests are queued, a connection to be accepted has a place in the queue.
        let may_accept = self.queue.is_empty() || self.draining.is_some();
        let admit_at = if may_accept {
            self.acceptor.next()
        } else {
            None
        };
        let rest_at = self.pool.rest_at();
        let next = [
            self.deadlines.next(),
            admit_at,
            rest_at,
            self.end,
            self.upgrades_end,
        ];
        next.into_iter().flatten().min()
    }

    /// Tells how long to poll.
    fn poll_timeout(&self, host: &dyn Host, wait: Option<Duration>) -> Option<Duration> {
        let Some(next) = self.next_deadline() else {
            return wait;
        };
        if next == MonoTime::ZERO {
            return Some(Duration::ZERO);
        }
        // epoll_wait(2) counts milliseconds: half a one too early would be a turn for nothing.
        let until = next
            .since(host.now())
            .saturating_add(Duration::from_micros(999));
        Some(wait.map_or(until, |wait| wait.min(until)))
    }
}

impl AsFd for Reactor {
    /// The descriptor that is readable while a [`Reactor::poll`] has something to do: for a poll of the program's own, and
    /// for that alone. It is level-triggered there.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
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
