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

mod acceptor;
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
mod outbox;
mod pending;
mod pool;
mod proxy_preamble;
mod rate;
mod request_body;
mod run_queue;
mod spool;
mod streamed;
mod total;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Poll, Token};
use slab::Slab;

pub(crate) use call_timeout::CallTimeout;
pub use config::Config;
pub use error_response::{ErrorPage, ErrorResponse};
pub use host::{Admit, BlockedCall, Host, Interest};
pub use pending::PendingRequest;

use self::acceptor::{Acceptor, DRAIN_ACCEPT};
use self::call_timeout::{CallDeadline, CallTimeouts};
use self::connection::{Connection, Registration, Step, StepContext};
use self::deadlines::Deadlines;
use self::episode::Episodes;
use self::pool::BufferPool;
use self::run_queue::{Entry, RunQueue};
use self::total::Totals;
use crate::error::{Error, Result};
use crate::net::{Listeners, QueuePolicy};
use crate::time::MonoTime;
use crate::trace;

/// How long a client that has just come, or was just answered, may take to ask where the reactor leaves in haste.
const LAST_WORD: Duration = Duration::from_millis(250);
/// Tokens from here on are not connections.
const LISTENERS: usize = usize::MAX / 2;
const WAKE: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);

/// One thread's connections.
pub struct Reactor {
    poll: Poll,
    events: Events,
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
    /// With whoever answers its request. The edges that came meanwhile are kept: mio tells of each once.
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

/// A socket has something to tell.
#[derive(Clone, Copy)]
struct Edge {
    hung_up: bool,
}

/// What a turn found beside requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct PollOutcome {
    /// The descriptor given to [`Reactor::watch`] is readable.
    pub woken: bool,
    /// A signal interrupted the wait.
    pub interrupted: bool,
    /// No request was answered for some seconds, and the reactor has given its spare memory back: a moment for the
    /// process to do the same.
    pub rested: bool,
}

/// Ends the wait of a [`Reactor::poll`] from another thread; made by [`Reactor::waker`].
#[derive(Debug)]
pub struct Waker(mio::Waker);

impl Waker {
    /// The turn that waits now, or the next one that would, ends.
    pub fn wake(&self) {
        // eventfd(2) fails where its counter is full, which wakes as well.
        let _ = self.0.wake();
    }
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
        let poll = Poll::new().map_err(|e| Error::io("cannot make a poll", e))?;
        let acceptor = Acceptor::open(listeners, poll.registry())?;
        Ok(Self {
            poll,
            events: Events::with_capacity(256),
            call_timeouts: CallTimeouts::new(&config),
            config: Arc::new(config),
            acceptor,
            draining: None,
            end: None,
            connections: Slab::new(),
            deadlines: Deadlines::default(),
            queue: RunQueue::default(),
            again: Vec::new(),
            pool: BufferPool::default(),
            totals: Totals::default(),
            episodes: Episodes::default(),
        })
    }

    /// Has a turn end when `fd` becomes readable; one descriptor, which stays the caller's to empty.
    pub fn watch(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        self.poll
            .registry()
            .register(
                &mut SourceFd(&fd.as_raw_fd()),
                WAKE,
                mio::Interest::READABLE,
            )
            .map_err(|e| Error::io("cannot poll the wake-up descriptor", e))
    }

    /// What ends this reactor's wait from another thread. One is enough: it is shared by reference.
    ///
    /// # Errors
    ///
    /// Where the system gives no descriptor for it.
    pub fn waker(&self) -> Result<Waker> {
        mio::Waker::new(self.poll.registry(), WAKER)
            .map(Waker)
            .map_err(|e| Error::io("cannot make a waker", e))
    }

    /// The timeout of all calls, where there is one at a time; `None` where they may take as long as they like.
    /// It is for whoever can give a call up that keeps the reactor from turning.
    pub(crate) fn single_call_timeout(&mut self) -> Option<Arc<CallTimeout>> {
        self.call_timeouts.as_mut().map(CallTimeouts::only)
    }

    /// Whether somebody waits who may be taken out before the next turn: a complete request, or a connection that
    /// is yet to be accepted.
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
    pub fn is_done(&self) -> bool {
        let is_over = self.end.is_some_and(|end| MonoTime::now() >= end);
        is_over
            || self.draining.is_some() && self.acceptor.is_empty() && self.connections.is_empty()
    }

    /// How many connections are lent.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let lent = |(_, place): &(usize, &Place)| matches!(place, Place::InFlight { .. });
        self.connections.iter().filter(lent).count()
    }

    /// Takes leave: every response closes its connection, clients get [`Config::drain_idle`] to go on with a
    /// last request, and the listeners are closed, their queues being dealt with as `queues` says.
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

    /// Takes leave in haste, also where it does so at leisure already: nobody is accepted from now on, so who waits
    /// in the queues is left to others. Who was accepted and has sent a complete request is answered, a client that
    /// has just come has a moment to send one, and the others are closed. It is done when all that is over, `within`
    /// that time in any case. Only the first call counts.
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

    /// Whether it takes leave in haste.
    #[must_use]
    pub fn is_hasty(&self) -> bool {
        self.end.is_some()
    }

    /// One turn: polls for `wait` at the most (`None`: for as long as nothing happens), then reads, parses,
    /// sends, expires and accepts.
    ///
    /// Requests that are [ready](Self::has_pending) already do not shorten the wait: they are to be taken out
    /// before, unless there is nobody who could answer them. Those that a turn has to come before do.
    ///
    /// # Errors
    ///
    /// Where the poll itself fails.
    pub fn poll(&mut self, host: &dyn Host, wait: Option<Duration>) -> Result<PollOutcome> {
        let mut turned = PollOutcome::default();
        let timeout = self.poll_timeout(host, wait);
        let (poll, events) = (&mut self.poll, &mut self.events);
        let mut outcome = Ok(());
        if timeout == Some(Duration::ZERO) {
            outcome = poll.poll(events, timeout);
        } else {
            host.wait(&mut || outcome = poll.poll(events, timeout));
        }
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                turned.interrupted = true;
                self.events.clear();
            }
            Err(error) => return Err(Error::io("cannot poll", error)),
        }
        let now = host.now();
        self.tend(&mut turned, host, now);
        if self.queue.is_empty() || self.draining.is_some() {
            self.accept(host, now);
        } else {
            self.expect(host, now);
        }
        self.queue.end_turn();
        turned.rested = self.pool.rest(now) && self.in_flight() == 0;
        Ok(turned)
    }

    /// Waits for a connection that is lent, `limit` at the most, and meanwhile sees to those that are here:
    /// reads, parses, sends and expires. To be called by the host of a reactor that nobody else turns while
    /// a call [is held](Host::block_on_client).
    ///
    /// Nothing is accepted and nobody is answered: a request that becomes ready waits, one of each connection
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
        // An epoll set is readable itself while it has events (epoll(7)).
        let set = self.poll.registry().as_fd();
        let mut turned = PollOutcome {
            interrupted: call.wait(host, Some(set), until)?,
            ..PollOutcome::default()
        };
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => return Err(Error::io("cannot poll", error)),
        }
        self.tend(&mut turned, host, host.now());
        Ok(turned)
    }

    /// Sees to the connections that are here.
    fn tend(&mut self, turned: &mut PollOutcome, host: &dyn Host, now: MonoTime) {
        self.take_events(turned, host, now);
        for key in std::mem::take(&mut self.again) {
            self.advance(key, host, now);
        }
        while let Some(key) = self.deadlines.expired(now) {
            match self.connections.get(key) {
                Some(Place::InFlight { watch, .. }) => {
                    if let Some(watch) = watch {
                        watch.expire(now, host);
                    }
                }
                // It did not come in time for this reactor, which says nothing about its client.
                _ if self.is_hasty() => self.close(key, host),
                _ => self.step(key, host, now, Connection::expire),
            }
        }
        self.relieve(host, now);
    }

    /// Gives up answers that lie in files where files hold too much: their calls are over, and the bodies that come
    /// have a quarter to themselves.
    fn relieve(&mut self, host: &dyn Host, now: MonoTime) {
        let Some(total) = self.config.spool_total else {
            return;
        };
        while self.totals.files.get() > total - total / 4 {
            let here = self
                .connections
                .iter()
                .filter_map(|(key, place)| match place {
                    Place::Here(it) => Some((it.spool_eviction_rank(now, &self.config)?, key)),
                    Place::InFlight { .. } => None,
                });
            let Some((_, key)) = here.min() else { return };
            if self.episodes.overfull.begins(now) {
                trace::error!(
                    "the files of bodies and responses hold more than three quarters of spool_total, {total} bytes: \
                     the oldest response that was not taken is given up"
                );
            }
            self.close(key, host);
        }
    }

    /// How long to poll.
    fn poll_timeout(&self, host: &dyn Host, wait: Option<Duration>) -> Option<Duration> {
        if !self.again.is_empty() || self.queue.awaits_turn() {
            return Some(Duration::ZERO);
        }
        // Who is to be accepted while somebody is in the line has a place there.
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

    fn take_events(&mut self, turned: &mut PollOutcome, host: &dyn Host, now: MonoTime) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKE => turned.woken = true,
                WAKER => {}
                Token(gate) if gate >= LISTENERS => self.acceptor.on_readable(gate - LISTENERS),
                Token(key) => self.take_event(key, event, host, now),
            }
        }
        self.events = events;
    }

    fn take_event(&mut self, key: usize, event: &Event, host: &dyn Host, now: MonoTime) {
        let hung_up = event.is_read_closed() || event.is_error();
        let news = (event.is_readable() || hung_up).then_some(Edge { hung_up });
        match self.connections.get_mut(key) {
            Some(Place::Here(connection)) => {
                if let Some(Edge { hung_up }) = news {
                    connection.readable(hung_up);
                }
                self.advance(key, host, now);
            }
            Some(Place::InFlight { edge, .. }) => *edge = news.or(*edge),
            None => {}
        }
    }

    fn advance(&mut self, key: usize, host: &dyn Host, now: MonoTime) {
        self.step(key, host, now, Connection::advance);
    }

    /// Has a connection make a step in a turn: if it is to be answered then, it has a place in the line.
    fn step(
        &mut self,
        key: usize,
        host: &dyn Host,
        now: MonoTime,
        step: impl FnOnce(&mut Connection, &mut StepContext<'_>) -> Step,
    ) {
        if self.run(key, host, now, step) {
            self.queue.push(key);
        }
    }

    /// Has a connection make a step, and sees to what it needs next; tells whether it is to be answered.
    fn run(
        &mut self,
        key: usize,
        host: &dyn Host,
        now: MonoTime,
        step: impl FnOnce(&mut Connection, &mut StepContext<'_>) -> Step,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(key).and_then(Place::here) else {
            return false;
        };
        let mut cx = StepContext {
            now,
            config: &self.config,
            host,
            pool: &mut self.pool,
            totals: &self.totals,
            episodes: &mut self.episodes,
            draining: self.draining.is_some(),
        };
        match step(connection, &mut cx) {
            Step::Wait { until, write } => {
                self.deadlines.set(key, until);
                self.acceptor
                    .make_room(connection.eviction_rank(now, &self.config).is_some());
                let wanted = match (write, connection.interest) {
                    (false, Registration::None) => Some(Registration::Read),
                    (true, Registration::None | Registration::Read) => {
                        Some(Registration::ReadWrite)
                    }
                    _ => None,
                };
                if let Some(wanted) = wanted {
                    if let Err(error) = register(&self.poll, key, connection, wanted) {
                        trace::error!("cannot poll a connection: {error}");
                        self.close(key, host);
                    }
                }
            }
            Step::Same => {}
            Step::Again => self.again.push(key),
            Step::Ready => {
                self.deadlines.clear(key);
                return true;
            }
            Step::Close => self.close(key, host),
        }
        false
    }

    /// Closes the connections that are here, where nobody is going to drop the reactor.
    pub(crate) fn part(&mut self) {
        self.connections
            .retain(|_, place| matches!(place, Place::InFlight { .. }));
    }

    fn close(&mut self, key: usize, host: &dyn Host) {
        self.deadlines.clear(key);
        self.connections.remove(key);
        self.acceptor.make_room(true);
        self.acceptor.retry_admission();
        host.connections(self.connections.len());
    }

    /// Takes the next complete request out, to be answered; whoever comes before it is accepted first. `None`
    /// where none is left, and where a [poll](Self::poll) has to come before more are taken.
    pub fn next_request(&mut self, host: &dyn Host) -> Option<PendingRequest> {
        while self.queue.has_due() {
            let now = host.now();
            let ready = match self.queue.next(now)? {
                Entry::Request(key) => Some(key),
                Entry::Accept(since) => self.welcome(since, host, now),
            };
            if let Some(ready) = ready.and_then(|key| self.hand_out(key, host, now)) {
                return Some(ready);
            }
        }
        None
    }

    /// Lends a connection to whoever answers its request.
    fn hand_out(&mut self, key: usize, host: &dyn Host, now: MonoTime) -> Option<PendingRequest> {
        let place @ Place::Here(_) = self.connections.get_mut(key)? else {
            return None;
        };
        let lent = Place::InFlight {
            edge: None,
            watch: None,
        };
        let Place::Here(mut connection) = std::mem::replace(place, lent) else {
            return None;
        };
        if let Some(head) = connection.head() {
            host.started(now, head);
        }
        if let Some(call_timeouts) = &self.call_timeouts {
            let due = now + call_timeouts.limit;
            let armed = connection.arm(call_timeouts.timeout(), due);
            self.deadlines.set(key, due);
            *place = Place::InFlight {
                edge: None,
                watch: Some(Box::new(armed)),
            };
        }
        Some(PendingRequest {
            key,
            connection,
            config: Arc::clone(&self.config),
        })
    }

    /// Takes a connection back after its request was answered.
    pub fn give_back(&mut self, ready: PendingRequest, host: &dyn Host) {
        let PendingRequest {
            key,
            mut connection,
            ..
        } = ready;
        self.acceptor.retry_admission();
        if let Some(place) = self.connections.get_mut(key) {
            if let Place::InFlight {
                edge: Some(Edge { hung_up }),
                ..
            } = place
            {
                connection.readable(*hung_up);
            }
            *place = Place::Here(connection);
            self.deadlines.clear(key);
            let now = host.now();
            self.pool.note(now);
            if self.run(key, host, now, Connection::answered) {
                self.queue.push_later(key);
            }
        }
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

fn register(
    poll: &Poll,
    key: usize,
    connection: &mut Connection,
    wanted: Registration,
) -> io::Result<()> {
    let first = connection.interest == Registration::None;
    let flags = match wanted {
        Registration::ReadWrite => mio::Interest::READABLE | mio::Interest::WRITABLE,
        Registration::Read | Registration::None => mio::Interest::READABLE,
    };
    connection.interest = wanted;
    let (registry, stream) = (poll.registry(), connection.stream());
    if first {
        registry.register(stream, Token(key), flags)
    } else {
        registry.reregister(stream, Token(key), flags)
    }
}
