//! The work of a reactor on its connections: events, steps, deadlines, and the way to a call and back.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::connection::{Connection, Step, StepContext};
use super::host::Host;
use super::pending::PendingRequest;
use super::poller::{Edge, Polled, Readiness};
use super::run_queue::Entry;
use super::{Place, PollOutcome, Reactor};
use crate::error::Result;
use crate::time::MonoTime;
use crate::trace;

impl Reactor {
    /// From now on responses of a turn may leave together: for a reactor in whose process [`cork`](crate::sys::cork) is set
    /// up on the threads that turn it and make its calls.
    pub(crate) fn batch_responses(&mut self) {
        self.batch = Some(Batch::default());
    }

    /// Sees to the connections that are here.
    pub(super) fn tend(
        &mut self,
        outcome: &mut PollOutcome,
        host: &dyn Host,
        now: MonoTime,
    ) -> Result<()> {
        self.take_events(outcome, host, now);
        // Between the poll and `now` this thread may have been stopped: what has come until then is in time.
        if self.deadlines.next().is_some_and(|due| due <= now) {
            outcome.interrupted |= self.poller.poll(Some(Duration::ZERO), host)?;
            self.take_events(outcome, host, now);
        }
        for key in std::mem::take(&mut self.again) {
            self.step(key, host, now, Connection::advance);
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
        if self.upgrades_end.is_some_and(|end| end <= now) {
            self.upgrades_end = None;
            self.totals.upgrades.shut();
        }
        self.relieve(host, now);
        Ok(())
    }

    /// Gives up answers that lie in files where files hold too much: their calls are over, and the bodies that come
    /// have a quarter to themselves.
    fn relieve(&mut self, host: &dyn Host, now: MonoTime) {
        let total = self.config.spool_total();
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

    fn take_events(&mut self, outcome: &mut PollOutcome, host: &dyn Host, now: MonoTime) {
        let found = self.poller.take();
        for ready in &found {
            match *ready {
                Readiness::Wake => outcome.woken = true,
                Readiness::Waker => {}
                Readiness::Listener(index) => self.acceptor.on_readable(index),
                Readiness::Connection(key, edge) => self.on_ready(key, edge, host, now),
            }
        }
        self.poller.restore(found);
    }

    fn on_ready(&mut self, key: usize, news: Option<Edge>, host: &dyn Host, now: MonoTime) {
        match self.connections.get_mut(key) {
            Some(Place::Here(connection)) => {
                if let Some(Edge { hung_up }) = news {
                    connection.transport().on_readable(hung_up);
                }
                self.step(key, host, now, Connection::advance);
            }
            Some(Place::InFlight { edge, .. }) => {
                if let Some(news) = news {
                    edge.get_or_insert(news).hung_up |= news.hung_up;
                }
            }
            None => {}
        }
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
    pub(super) fn run(
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
            ids: &mut self.ids,
            draining: self.draining.is_some(),
        };
        match step(connection, &mut cx) {
            Step::Wait { until, write } => {
                self.deadlines.set(key, until);
                self.acceptor
                    .make_room(connection.eviction_rank(now, &self.config).is_some());
                let before = connection.polled;
                let wanted = match (write, before) {
                    (false, Polled::Nothing) => Polled::Read,
                    (true, Polled::Nothing | Polled::Read) => Polled::ReadWrite,
                    _ => before,
                };
                if wanted != before {
                    connection.polled = wanted;
                    let stream = &connection.transport().stream;
                    if let Err(error) = self.poller.register(key, stream, before, wanted) {
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

    /// Closes the connections that are here, for a reactor that will not be dropped.
    pub(crate) fn part(&mut self) {
        self.connections
            .retain(|_, place| matches!(place, Place::InFlight { .. }));
    }

    pub(super) fn close(&mut self, key: usize, host: &dyn Host) {
        self.deadlines.clear(key);
        self.connections.remove(key);
        self.acceptor.make_room(true);
        self.acceptor.retry_admission();
        host.connections(self.connections.len());
    }

    /// Takes the next complete request out, to be answered, and accepts connections that are queued before it. `None`
    /// where none is left, and where a [poll](Self::poll) has to come before more are taken.
    pub fn next_request(&mut self, host: &dyn Host) -> Option<PendingRequest> {
        let next = self.take_next(host);
        if next.is_none() {
            self.poller.uncork();
        }
        next
    }

    fn take_next(&mut self, host: &dyn Host) -> Option<PendingRequest> {
        while self.queue.has_due() {
            let now = self.given_back.take().unwrap_or_else(|| host.now());
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

    /// Lends a connection to the call that answers its request.
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
        connection.called(now);
        let batch = self.batch.as_ref();
        connection.io.get_mut().may_cork =
            batch.is_some_and(|batch| batch.holds_back(self.queue.has_due()));
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
                connection.transport().on_readable(*hung_up);
            }
            let now = host.now();
            self.given_back = Some(now);
            if let Some(batch) = &mut self.batch {
                batch.note(connection.call_time(now));
            }
            *place = Place::Here(connection);
            self.deadlines.clear(key);
            self.pool.note(now);
            if self.run(key, host, now, Connection::answered) {
                self.queue.later.push(key);
            }
        }
    }
}
