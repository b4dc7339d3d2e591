//! [`WorkerHost`]: what the hosts of all workers' reactors have in common.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::accept_delay::AcceptDelay;
use super::{Shutdown, WorkerContext};
use crate::access::{Access, AccessSink};
use crate::h1::Head;
use crate::ipc::scoreboard::WorkerState;
use crate::ipc::totals::Counted;
use crate::log;
use crate::reactor::{Admit, Host, Reactor};
use crate::time::MonoTime;
use crate::trace;

/// How long an idle worker sleeps at the most: its heart beats once a turn.
const LONGEST_POLL: Duration = Duration::from_secs(1);

/// How long before the end of `graceful_timeout` the connections that calls have taken over are shut down; a third of it
/// where that is less. Their calls end in that time, and the interpreter, or the arbiter kills the worker.
const LAST_SECONDS: Duration = Duration::from_secs(2);

/// A worker as its reactor sees it while no call is concerned, and the parts of what it sees during a call.
#[derive(Debug)]
pub(super) struct WorkerHost<'a> {
    context: &'a WorkerContext,
    access_sink: Option<Mutex<Box<dyn AccessSink>>>,
    accept_delay: AcceptDelay,
    dropped_headers: DroppedHeaderNotice,
}

impl<'a> WorkerHost<'a> {
    pub(super) fn new(
        context: &'a WorkerContext,
        access_sink: Option<Box<dyn AccessSink>>,
    ) -> Self {
        Self {
            context,
            access_sink: access_sink.map(Mutex::new),
            accept_delay: AcceptDelay::default(),
            dropped_headers: DroppedHeaderNotice::default(),
        }
    }

    /// How long this worker may wait in a turn.
    pub(super) fn poll_timeout(&self) -> Duration {
        let bound = self.context.beat_every();
        bound.map_or(LONGEST_POLL, |every| every.min(LONGEST_POLL))
    }

    /// A call begins: gives its place on the scoreboard, if there is one.
    #[must_use = "the end of the call needs its place"]
    pub(super) fn begin_call(&self, now: MonoTime, head: &Head) -> Option<usize> {
        self.dropped_headers.notice(head);
        let slot = self.context.slot();
        slot.begin_call(now, head.method_bytes(), head.target_bytes())
    }

    /// The call in this place has ended, and its answer was recorded before.
    pub(super) fn end_call(&self, place: Option<usize>, now: MonoTime) {
        self.context.slot().end_request(place, now);
    }

    /// Counts a response before its last bytes leave: a worker that is killed then has told of it.
    pub(super) fn completing(&self, counted: &Cell<bool>, status: u16) {
        if !counted.replace(true) {
            self.context.count_response(status);
        }
    }

    /// Records an answer, with the place of its call if a call has given it. `counted` is whether its status was counted.
    pub(super) fn record(&self, place: Option<usize>, counted: bool, access: &Access<'_>) {
        let slot = self.context.slot();
        slot.end_request(place, access.finished);
        self.context.count(Counted {
            status: (!counted).then_some(access.status),
            received: access.received,
            sent: access.sent,
            took: access.head.map(|_| access.elapsed()),
            first_byte: access.first_byte(),
            queued: access.queued(),
            refusal: access.refusal,
        });
        if let (Some(id), Some(_)) = (&access.request.id, access.head) {
            slot.offer_exemplar(id, access.elapsed(), access.finished);
        }
        if let Some(sink) = &self.access_sink {
            let (pid, worker) = (slot.pid(), slot.id());
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.record(&Access {
                pid,
                worker,
                ..*access
            });
        }
    }

    pub(super) fn flush(&self) {
        if let Some(sink) = &self.access_sink {
            sink.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }

    /// Does what the worker is asked; `quick` is called where it is to leave at once. It may be called again.
    pub(super) fn obey(&self, reactor: &mut Reactor, quick: impl FnOnce(&Reactor)) {
        let context = self.context;
        let asked = context.shutdown();
        if context.take_reopen() {
            // What was recorded before goes to the old ones.
            self.flush();
            log::reopen();
        }
        if asked == Shutdown::Running {
            return;
        }
        context.slot().set_state(WorkerState::Draining);
        context.release_listeners();
        if asked == Shutdown::Graceful {
            let now = MonoTime::now();
            reactor.drain(now, context.queue_policy());
            if let Some(grace) = context.grace() {
                let before_the_end = LAST_SECONDS.min(grace / 3);
                reactor.end_upgrades(now + grace.saturating_sub(before_the_end));
            }
        } else {
            quick(reactor);
            // No connection is accepted, and the accepted ones have a moment.
            reactor.hasten(MonoTime::now(), context.orders.last_words());
        }
    }
}

impl Host for WorkerHost<'_> {
    fn admit(&self, now: MonoTime, open: usize) -> Admit {
        self.accept_delay.admit(self.context, now, open)
    }

    /// If all workers take as many.
    fn share(&self, waiting: usize) -> usize {
        if self.context.own_queue {
            waiting
        } else {
            waiting.div_ceil(self.context.workers().max(1))
        }
    }

    fn connections(&self, open: usize) {
        let open = u32::try_from(open).unwrap_or(u32::MAX);
        self.context.slot().set_connections(open);
    }

    fn finished(&self, access: &Access<'_>) {
        self.record(None, false, access);
    }
}

/// Tells once of header fields that were dropped for their names (`header_map`).
#[derive(Debug, Default)]
pub(super) struct DroppedHeaderNotice(AtomicBool);

impl DroppedHeaderNotice {
    pub(super) fn notice(&self, head: &Head) {
        if head.dropped() > 0 && !self.0.swap(true, Ordering::Relaxed) {
            trace::warning!(
                "a header field was dropped for the underscore in its name, since header_map is drop; \
                 later ones are not logged"
            );
        }
    }
}
