//! A reactor over a network without a system.
#![allow(dead_code)]

mod dice;
mod network;

pub(super) use network::{Backlog, Epoll, Socket};

use super::acceptor::Acceptor;
use super::host::Host;
use super::poller::Poller;
use super::{Config, Reactor};
use network::Network;

struct Clock(Network);

impl Host for Clock {
    fn now(&self) -> crate::time::MonoTime {
        self.0.now()
    }
}

#[test]
fn a_request_is_answered() {
    let network = Network::new(1);
    let poller = Poller::Simulated(network.readiness());
    let acceptor = Acceptor::simulated(vec![network.listener()]);
    let mut reactor = Reactor::over(poller, acceptor, Config::default());
    let host = Clock(network.clone());
    let id = network.connect(1000, false);
    network.send(id, b"GET / HTTP/1.0\r\n\r\n");
    reactor.poll(&host, None).unwrap();
    let mut request = reactor.next_request(&host).unwrap();
    request
        .answer(&host, |_, reply| reply.text(200, "hello"))
        .unwrap();
    reactor.give_back(request, &host);
    let mut answer = Vec::new();
    network.receive(id, 1000, &mut answer);
    assert!(answer.starts_with(b"HTTP/1.0 200 OK\r\n") && answer.ends_with(b"hello"));
}
