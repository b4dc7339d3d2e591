//! What has to hold after each step, of the reactor and of what its clients got.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::{Client, Mode, Reading, content};
use super::network::POLL;
use super::require;
use super::response::Got;
use super::world::World;
use crate::reactor::Place;
use crate::reactor::connection::Phase;
use crate::reactor::run_queue::Entry;
use crate::time::MonoTime;

/// How late a deadline may be met: the poll counts milliseconds.
const LATE: Duration = Duration::from_millis(5);

/// When each request became ready, to know whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Fairness {
    /// How many polls there were.
    polls: u64,
    /// How many requests may be taken before the next.
    left: usize,
    /// The requests that wait, by key: behind which poll they have their place, and how.
    waiting: Vec<(usize, u64, Found)>,
    /// Whether what is found now was found by a call that waits, and no poll.
    between: bool,
    phases: Vec<Option<Phase>>,
}

/// How a request was found, in the order in which those of one poll are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// By the poll itself.
    Polled,
    /// It was there when its connection was given back, before the poll.
    GivenBack,
    /// While a call waited, after the poll.
    Between,
}

/// What held before a poll.
pub(super) struct Before {
    now: MonoTime,
    deadline: Option<MonoTime>,
    deadlines: Vec<(usize, Phase, MonoTime)>,
}

impl World<'_> {
    pub(super) fn before_poll(&self) -> Before {
        let reactor = self.reactor.borrow();
        let mut deadlines = Vec::new();
        for (key, place) in &reactor.connections {
            if let Place::Here(connection) = place {
                if let Some(at) = reactor.deadlines.entries.get(key).and_then(|it| it.at) {
                    deadlines.push((key, connection.phase, at));
                }
            }
        }
        let deadline = deadlines.iter().map(|&(_, _, at)| at).min();
        Before {
            now: self.network.now(),
            deadline,
            deadlines,
        }
    }

    /// Nothing was slept through, and what is due has been dealt with.
    pub(super) fn check_poll(&self, before: &Before) {
        let now = self.network.now();
        let reactor = self.reactor.borrow();
        if let Some(deadline) = before.deadline {
            let latest = deadline.max(before.now) + LATE;
            require(now <= latest, "a deadline was slept through");
        }
        // It polls once more between its look at the clock and the deadlines.
        let looked = now - POLL;
        for &(key, phase, _) in before.deadlines.iter().filter(|&&(_, _, at)| at <= looked) {
            let is_same = matches!(reactor.connections.get(key),
                Some(Place::Here(connection)) if connection.phase == phase);
            let goes_on = is_same
                && reactor.deadlines.entries[key]
                    .at
                    .is_none_or(|moved| moved > looked)
                || reactor.again.contains(&key);
            require(!is_same || goes_on, "a deadline was passed over");
            if !is_same {
                self.count(match phase {
                    Phase::Preamble => "expired in preamble",
                    Phase::Head => "expired in head",
                    Phase::Body => "expired in body",
                    Phase::Ready => "expired while ready",
                    Phase::Flush => "expired in flush",
                    Phase::DiscardBody => "expired in discard",
                    Phase::Linger => "expired in linger",
                });
            }
        }
        let fairness = &mut *self.fairness.borrow_mut();
        fairness.polls += 1;
        fairness.between = false;
        fairness.left = reactor.queue.places.len();
    }

    /// A request is taken out only if none has waited longer.
    pub(super) fn check_order(&self, key: usize) {
        let fairness = &mut *self.fairness.borrow_mut();
        require(fairness.left > 0, "more are taken than there were");
        fairness.left -= 1;
        let at = fairness.waiting.iter().position(|&(it, _, _)| it == key);
        // It was accepted in its place of the queue, and had sent its request.
        let Some(at) = at else { return };
        let (_, poll, found) = fairness.waiting.remove(at);
        let first = fairness
            .waiting
            .iter()
            .map(|&(_, poll, found)| (poll, found))
            .min();
        require(
            first.is_none_or(|first| (poll, found) <= first),
            "one that came later is taken first",
        );
    }

    /// What holds of a reactor at any time.
    pub(super) fn check(&self) {
        let reactor = &*self.reactor.borrow();
        let mut state = self.network.state();
        state.check_corks();
        let fairness = &mut *self.fairness.borrow_mut();
        let mut ready = BTreeSet::new();
        let mut queued = BTreeSet::new();
        let places = reactor.queue.places.iter().filter_map(|entry| match entry {
            Entry::Request(key) => Some((*key, false)),
            Entry::Accept(_) => None,
        });
        let later = reactor.queue.later.iter().map(|key| (*key, true));
        for (key, is_later) in places.chain(later) {
            require(queued.insert(key), "a request waits twice");
            if !fairness.waiting.iter().any(|&(it, _, _)| it == key) {
                let found = match (is_later, fairness.between) {
                    (true, _) => Found::GivenBack,
                    (false, true) => Found::Between,
                    (false, false) => Found::Polled,
                };
                let poll = fairness.polls + u64::from(is_later);
                fairness.waiting.push((key, poll, found));
            }
        }
        fairness.waiting.retain(|(key, _, _)| queued.contains(key));
        fairness.between = true;
        let open = state
            .sockets
            .iter()
            .filter(|end| end.accepted && !end.closed)
            .count();
        require(open == reactor.connections.len(), "a socket is lost");
        let most = self.config.settings.worker_connections;
        require(self.draining.get() || open <= most, "there are too many");
        fairness
            .phases
            .resize(state.sockets.len().max(fairness.phases.len()), None);
        for (key, place) in &reactor.connections {
            let deadline = reactor.deadlines.entries.get(key).and_then(|it| it.at);
            let Place::Here(connection) = place else {
                fairness.phases[key] = None;
                continue;
            };
            let phase = connection.phase;
            if phase == Phase::Ready {
                ready.insert(key);
            }
            let again = reactor.again.contains(&key);
            let waits = phase != Phase::Ready && !again;
            require(!waits || deadline.is_some(), "nothing ends a wait");
            if fairness.phases[key] != Some(phase) {
                fairness.phases[key] = Some(phase);
                state.count(match phase {
                    Phase::Preamble => "phase preamble",
                    Phase::Head => "phase head",
                    Phase::Body => "phase body",
                    Phase::Ready => "phase ready",
                    Phase::Flush => "phase flush",
                    Phase::DiscardBody => "phase discard",
                    Phase::Linger => "phase linger",
                });
            }
            let Ok(io) = connection.io.try_borrow() else {
                continue;
            };
            let id = usize::try_from(-2 - io.transport.stream.raw().0).unwrap();
            let end = &state.sockets[id];
            let buffered = !end.opened.is_empty();
            #[cfg(feature = "_tls")]
            let buffered = buffered || io.transport.has_plaintext();
            let may_read = io.transport.readable || buffered;
            let awaits_input = waits && phase != Phase::Flush;
            require(!awaits_input || !may_read, "input is left where it is");
            if waits && !may_read && end.has_input() {
                require(end.edge.is_some(), "an edge was lost");
            }
            if waits && phase == Phase::Flush && end.has_room() {
                require(end.edge.is_some(), "room is not told of");
            }
        }
        require(ready == queued, "the queue has others than are ready");
        if !state.backlog.is_empty() && !self.draining.get() {
            let known = reactor.acceptor.entrances.iter().any(|it| it.maybe);
            require(
                known || state.listener_edge,
                "a client is forgotten outside",
            );
        }
    }

    /// All is over.
    pub(super) fn check_end(&self) {
        let reactor = self.reactor.borrow();
        let totals = &reactor.totals;
        let all = [
            &totals.files,
            &totals.responses,
            &totals.heads,
            &totals.lingering,
        ];
        require(all.iter().all(|total| total.get() == 0), "a share is left");
    }

    /// A client has got a response.
    pub(super) fn judge(&self, client: &Client, got: &Got) {
        if got.status < 200 {
            self.count("informational");
            return;
        }
        let number = got.number;
        let Some(asked) = client.requests.get(number) else {
            require(false, "more is answered than was asked");
            return;
        };
        let late = !self.config.settings.request_timeout.is_zero();
        let begun = client.sent > asked.start || client.preamble;
        require(begun, "an answer comes before its request");
        let now = self.network.now();
        match got.status {
            200 => {
                require(
                    got.id == Some((client.id, number)),
                    "it is another's answer",
                );
                let whole = content(client.id, number, asked.size);
                let expected = if asked.is_head { b"" } else { whole };
                let is_cut = matches!(asked.mode, Mode::FailsMidway | Mode::TooShort);
                if got.is_whole && !is_cut {
                    // A response whose end is the connection's may be cut unseen.
                    let ends = asked.is_http10 && asked.mode == Mode::Chunks;
                    let same = got.body == expected || ends && expected.starts_with(&got.body);
                    require(same, "an answer has another body");
                    self.count("answered");
                } else {
                    let excused = is_cut || late || !client.is_honest || self.draining.get();
                    require(excused, "an answer is cut");
                    self.count("cut");
                }
                return;
            }
            400 | 501 => {
                let wrong = asked.mode == Mode::Malformed || client.has_ended;
                require(wrong, "a request is refused that was right");
                self.count("refused as malformed");
            }
            408 => {
                if !self.draining.get() && client.reading == Reading::Eager {
                    self.judge_408(client, now);
                }
                self.count("refused as late");
            }
            413 => {
                require(asked.body > 2000, "a body is refused that is not too large");
                self.count("refused as too large");
            }
            500 => {
                let wrong = matches!(asked.mode, Mode::Fails | Mode::FailsMidway | Mode::TooShort)
                    || asked.mode == Mode::ReadsFirst
                    || !client.is_honest
                    || late;
                require(wrong, "a call fails that did not");
                self.count("failed");
            }
            503 => {
                let scarce = self.config.settings.spool_total > 0 && asked.body > 256;
                require(scarce, "there was room for a body");
                self.count("refused for room");
            }
            504 => {
                require(late, "no call can be late");
                self.count("given up");
            }
            _ => require(false, "a status that means nothing here"),
        }
        require(got.close, "a refusal does not close");
    }

    /// A request was refused for being late: was it?
    fn judge_408(&self, client: &Client, now: MonoTime) {
        let config = &self.config;
        let Some((_, asked)) = client.sending() else {
            let waits = client.preamble && client.sent < client.requests[0].start;
            require(waits, "a request is late that was complete");
            return;
        };
        let since = if client.preamble {
            client.born
        } else {
            client.head_since
        };
        let head_due = since + config.settings.head_timeout;
        // A head that was complete only after its deadline was late.
        let earliest = if client.sent < asked.middle || client.body_since >= head_due {
            head_due
        } else if config.settings.body_rate > 0 {
            (client.body_since + config.settings.body_grace)
                .min(client.sent_at + config.settings.body_timeout)
        } else {
            client.sent_at + config.settings.body_timeout
        };
        require(now >= earliest, "a request is late before its time");
    }

    /// Is it over for this client, and rightly?
    pub(super) fn judge_end(&self, client: &Client) {
        let now = self.network.now();
        let state = self.network.state();
        let end = &state.sockets[client.id];
        let asked = client.asked();
        if client.is_done {
            let crowded = self.config.settings.worker_connections < 100;
            let excused = client.is_over
                || client.has_reset
                || !client.is_honest
                || crowded
                || !self.config.settings.request_timeout.is_zero()
                || self.draining.get()
                || client.answered == client.requests.len();
            require(excused, "a client is left without an answer");
            return;
        }
        if self.draining.get() || !end.accepted {
            return;
        }
        let slow = match client.reading {
            Reading::Eager => Duration::ZERO,
            Reading::Slow(..) | Reading::Never => Duration::from_secs(30),
        };
        let moved = client.sent_at.max(client.got_at).max(client.born);
        let moved = moved.max(self.called_at.get());
        let held = self.calling.get() || !self.held.borrow().is_empty();
        let bound = moved + Duration::from_secs(9) + slow;
        require(
            held || end.closed || now <= bound,
            "it outlives its deadlines",
        );
        if let Some((number, request)) = client.sending() {
            let in_head = client.sent < request.middle && client.answered >= number;
            let since = client.head_since.max(client.got_at).max(end.accepted_at);
            let bound = since + self.config.settings.head_timeout + Duration::from_secs(1);
            let over = client.is_over || end.server_ended || !end.sent.is_empty();
            require(
                !in_head || over || held || now <= bound,
                "a head takes for ever",
            );
        }
        if client.is_honest && client.answered < asked && !client.is_over {
            let bound = moved + Duration::from_secs(4);
            require(
                held || end.closed || now <= bound,
                "an answer does not come",
            );
        }
    }
}
