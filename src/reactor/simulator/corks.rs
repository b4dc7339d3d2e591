//! What the simulated system holds back of responses, and the timer that bounds it: as `sys::cork` has them.

use std::io::{self, IoSlice};
use std::time::Duration;

use super::network::{Epoll, Network, Socket, State};
use super::require;
use crate::net;
use crate::time::MonoTime;

const LIMIT: Duration = net::Stream::CORK_LIMIT;

/// The sockets of which output is held back, and the timer.
#[derive(Debug, Default)]
pub(super) struct Corks {
    sockets: Vec<usize>,
    timer: Option<MonoTime>,
    /// Planted faults: the timer never runs out; nothing is let go by the reactor.
    pub(super) loses_timer: bool,
    pub(super) stays: bool,
}

impl State {
    /// Nothing is held back for longer than it may be.
    pub(super) fn check_corks(&self) {
        let ends = self.corks.sockets.iter().map(|&id| &self.sockets[id]);
        let mut held = ends.filter(|end| !end.corked.is_empty());
        require(
            held.all(|end| self.now <= end.corked_at + LIMIT),
            "a response is held back for too long",
        );
    }

    /// The reactor waits.
    pub(super) fn check_uncorked(&self) {
        let nothing = self.corks.sockets.is_empty();
        require(nothing, "a response is held back while the reactor waits");
    }

    fn uncork(&mut self) {
        for id in std::mem::take(&mut self.corks.sockets) {
            self.sockets[id].uncork();
        }
    }

    /// Lets time pass in a call.
    fn work(&mut self, duration: Duration) {
        let end = self.now + duration;
        let timer = self.corks.timer.filter(|_| !self.corks.loses_timer);
        if let Some(at) = timer.filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.corks.timer = None;
            self.check_corks();
            self.uncork();
        }
        self.now = end;
    }
}

impl Network {
    /// Tells whether something is held back.
    pub(super) fn holds_back(&self) -> bool {
        !self.state().corks.sockets.is_empty()
    }

    /// A call works for so long.
    pub(super) fn work(&self, duration: Duration) {
        self.state().work(duration);
    }
}

impl Socket {
    pub(in crate::reactor) fn write_corked(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (network, id) = self.place();
        let before = network.state().sockets[id].sent.len();
        let taken = self.write_vectored(slices)?;
        let mut state = network.state();
        let now = state.now;
        let end = &mut state.sockets[id];
        if end.sealed {
            return Ok(taken);
        }
        end.corked = end.sent.split_off(before);
        end.corked_at = now;
        // There may be room for less.
        let begins = end.corked.iter().zip(b"HTTP/1.").all(|(a, b)| a == b);
        require(begins, "a part of a response is held back");
        state.count("held back");
        if state.corks.timer.is_none_or(|at| at <= now) {
            state.corks.timer = Some(now + LIMIT);
        }
        state.corks.sockets.push(id);
        Ok(taken)
    }
}

impl Epoll {
    pub(in crate::reactor) fn uncork(&self) {
        let mut state = self.network().state();
        if !state.corks.stays {
            state.uncork();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::host::Host;
    use crate::reactor::simulator::{Clock, Poller};
    use crate::reactor::{Config, Reactor};

    const CALL: Duration = Duration::from_micros(60);

    /// A reactor with that many clients, each with a complete request, which has made short calls before.
    struct Answering {
        network: Network,
        reactor: Reactor,
        clients: Vec<usize>,
    }

    impl Answering {
        fn new(clients: usize) -> Self {
            let network = Network::new(1);
            let poller = Poller::Simulated(network.epoll());
            let mut reactor = Reactor::over(poller, network.acceptor(), Config::default());
            reactor.batch_responses();
            let clients = (0..clients)
                .map(|_| network.connect(10_000, false))
                .collect();
            let mut turn = Self {
                network,
                reactor,
                clients,
            };
            // A connection that comes while requests wait is accepted in its place among them.
            let host = Clock(turn.network.clone());
            while turn.reactor.open() < turn.clients.len() {
                turn.reactor.poll(&host, Some(Duration::ZERO)).unwrap();
            }
            for _ in 0..8 {
                turn.poll();
                while turn.answer(CALL) {}
                turn.got();
            }
            turn.poll();
            turn
        }

        /// Each client sends a request, and the reactor polls until it has read all of them.
        fn poll(&mut self) {
            let host = Clock(self.network.clone());
            self.network.state().horizon = host.now();
            for &client in &self.clients {
                self.network
                    .send(client, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            }
            while self.reactor.queue.requests() < self.clients.len() {
                self.reactor.poll(&host, None).unwrap();
            }
        }

        /// Answers the next request after a call of that length; tells whether there was one.
        fn answer(&mut self, call: Duration) -> bool {
            let host = Clock(self.network.clone());
            let Some(mut request) = self.reactor.next_request(&host) else {
                return false;
            };
            let answered = request.answer(&host, |_, reply| {
                self.network.work(call);
                reply.text(200, "x")
            });
            answered.unwrap();
            self.reactor.give_back(request, &host);
            true
        }

        /// How many clients have got something since this was asked last.
        fn got(&self) -> usize {
            let got = self.clients.iter().filter(|&&client| {
                let mut bytes = Vec::new();
                self.network.receive(client, 10_000, &mut bytes);
                !bytes.is_empty()
            });
            got.count()
        }
    }

    #[test]
    fn responses_leave_together_when_no_more_are_taken() {
        let mut turn = Answering::new(3);
        assert!(turn.answer(CALL) && turn.answer(CALL));
        assert_eq!(turn.got(), 0);
        // No other one is ready any more.
        assert!(turn.answer(CALL));
        assert_eq!(turn.got(), 1);
        assert!(!turn.answer(CALL));
        assert_eq!(turn.got(), 2);
    }

    #[test]
    fn a_single_response_of_a_turn_leaves_at_once() {
        let mut turn = Answering::new(1);
        assert!(turn.answer(CALL));
        assert_eq!(turn.got(), 1);
    }

    #[test]
    fn a_response_does_not_wait_for_a_long_call() {
        let mut turn = Answering::new(3);
        assert!(turn.answer(CALL));
        assert_eq!(turn.got(), 0);
        turn.network.work(LIMIT);
        assert_eq!(turn.got(), 1);
        // A poll is due after a long call, and its own response leaves before that.
        assert!(turn.answer(Duration::from_millis(50)));
        assert!(!turn.answer(CALL));
        assert_eq!(turn.got(), 1);
        // Further ones do not wait until calls have been short for a while.
        turn.poll();
        assert!(turn.answer(CALL));
        assert_eq!(turn.got(), 1);
    }

    #[test]
    fn nothing_is_held_back_of_a_stream() {
        let mut turn = Answering::new(3);
        let host = Clock(turn.network.clone());
        let mut request = turn.reactor.next_request(&host).unwrap();
        let answered = request.answer(&host, |_, reply| {
            let mut body = reply.stream(200, &[])?;
            std::io::Write::write_all(&mut body, b"one")?;
            assert_eq!(turn.got(), 1);
            body.finish_with(b"two")
        });
        answered.unwrap();
        assert_eq!(turn.got(), 1);
    }

    #[test]
    fn a_response_leaves_with_the_end_of_its_connection() {
        let mut turn = Answering::new(3);
        let host = Clock(turn.network.clone());
        let mut request = turn.reactor.next_request(&host).unwrap();
        let answered = request.answer(&host, |_, reply| {
            reply.header("connection", "close").text(200, "x")
        });
        answered.unwrap();
        assert_eq!(turn.got(), 0);
        turn.reactor.give_back(request, &host);
        assert_eq!(turn.got(), 1);
    }
}
