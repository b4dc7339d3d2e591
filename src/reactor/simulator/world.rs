//! [`World`]: a reactor, its clients, and the calls that answer them, under one clock.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::LazyLock;
use std::time::Duration;

use super::bugs::Bug;
use super::client::{Client, Mode, content};
use super::dice::Dice;
use super::network::Network;
use super::{Poller, Tally, require};
use crate::error::{Error, Result};
use crate::net::{ProxyProtocol, QueuePolicy};
use crate::reactor::host::{Admit, BlockedCall, Host};
use crate::reactor::{Config, PendingRequest, Reactor};
use crate::service::{Request, Responded, Responder};
use crate::time::MonoTime;

/// The contents of all bodies, as a file.
static CONTENT: LazyLock<File> = LazyLock::new(|| {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content(0, 0, 8000)).unwrap();
    file
});

pub(super) struct World<'t> {
    pub(super) network: Network,
    pub(super) reactor: RefCell<Reactor>,
    pub(super) clients: RefCell<Vec<Client>>,
    pub(super) dice: RefCell<Dice>,
    pub(super) tally: &'t RefCell<Tally>,
    pub(super) bug: Option<Bug>,
    #[cfg_attr(
        not(feature = "_tls"),
        expect(dead_code, reason = "without TLS it is false")
    )]
    with_tls: bool,
    /// How long calls take where responses of a turn may leave together.
    works: Option<Duration>,
    /// Requests that threads are to answer.
    pub(super) held: RefCell<Vec<PendingRequest>>,
    /// Since when the reactor drains.
    pub(super) draining: Cell<bool>,
    pub(super) config: Config,
    pub(super) fairness: RefCell<super::law::Fairness>,
    steps: Cell<u64>,
    /// Whether a call runs, and when the last one ended: it may have kept all others waiting.
    pub(super) calling: Cell<bool>,
    pub(super) called_at: Cell<MonoTime>,
}

fn config(dice: &mut Dice) -> Config {
    let secs = |n: u64| Duration::from_secs(n);
    let mut config = Config::default();
    let settings = &mut config.settings;
    settings.worker_connections = dice.pick(&[3, 6, 100, 100]);
    settings.keepalive = Duration::from_millis(dice.pick(&[0, 1000, 2000, 2000]));
    settings.head_timeout = secs(dice.pick(&[1, 2]));
    settings.body_timeout = secs(dice.pick(&[1, 2]));
    settings.body_rate = dice.pick(&[0, 100]);
    settings.body_grace = secs(1);
    settings.send_timeout = secs(dice.pick(&[1, 2]));
    settings.send_rate = dice.pick(&[0, 100]);
    settings.send_grace = secs(1);
    settings.request_timeout = dice.pick(&[Duration::ZERO, secs(1)]);
    settings.linger = secs(1);
    settings.linger_limit = secs(2);
    settings.drain_idle = Duration::from_millis(500);
    settings.body_buffer = 256;
    settings.limit_request_body = 2000;
    settings.response_buffer = 256;
    settings.response_spool = 600;
    settings.spool_total = dice.pick(&[0, 660, 660, 660]);
    settings.stream_request_body = dice.percent(60);
    settings.early_hints = dice.percent(50);
    settings.proxy_protocol =
        dice.pick(&[ProxyProtocol::Off, ProxyProtocol::Off, ProxyProtocol::Auto]);
    config
}

impl<'t> World<'t> {
    pub(super) fn new(
        seed: u64,
        bug: Option<Bug>,
        with_tls: bool,
        tally: &'t RefCell<Tally>,
    ) -> Self {
        let mut dice = Dice(seed);
        let config = config(&mut dice);
        #[cfg(feature = "_tls")]
        let config = Config {
            tls: with_tls.then(|| super::encrypted::SERVER.clone()),
            ..config
        };
        let network = Network::new(seed);
        let poller = Poller::Simulated(network.epoll());
        let acceptor = network.acceptor();
        let mut reactor = Reactor::over(poller, acceptor, config.clone());
        let works = dice
            .percent(40)
            .then(|| Duration::from_micros(dice.pick(&[20, 60, 100])));
        if works.is_some() {
            reactor.batch_responses();
        }
        let mut world = Self {
            reactor: RefCell::new(reactor),
            network,
            clients: RefCell::default(),
            dice: RefCell::new(dice),
            tally,
            bug,
            with_tls,
            works,
            held: RefCell::default(),
            draining: Cell::new(false),
            config,
            fairness: RefCell::default(),
            steps: Cell::new(0),
            calling: Cell::new(false),
            called_at: Cell::new(MonoTime::ZERO),
        };
        world.plant_before();
        world
    }

    pub(super) fn percent(&self, percent: u64) -> bool {
        self.dice.borrow_mut().percent(percent)
    }

    pub(super) fn count(&self, what: &'static str) {
        self.tally.borrow_mut().count(what, 1);
    }

    fn step(&self) {
        self.tally.borrow_mut().steps += 1;
        self.steps.set(self.steps.get() + 1);
        require(self.steps.get() < 20_000, "it goes in circles");
    }

    /// A client comes.
    pub(super) fn connect(&self) {
        let with_preamble = self.config.settings.proxy_protocol != ProxyProtocol::Off;
        let dice = &mut self.dice.borrow_mut();
        let client = Client::new(&self.network, dice, with_preamble);
        #[cfg(feature = "_tls")]
        if self.with_tls {
            self.network.encrypt(client.id, client.requests[0].start);
        }
        self.clients.borrow_mut().push(client);
        self.step();
    }

    /// All clients do what is theirs to do by now.
    pub(super) fn act(&self) {
        let clients = &mut *self.clients.borrow_mut();
        let mut next = self.network.now() + Duration::from_secs(3);
        for client in clients.iter_mut().filter(|client| !client.is_done) {
            for got in client.read(&self.network) {
                self.step();
                self.judge(client, &got);
            }
            self.judge_end(client);
            let acts = client.act(&self.network);
            self.tally.borrow_mut().steps += acts;
            next = client.wakes().map_or(next, |at| next.min(at));
            #[cfg(feature = "_tls")]
            if self.network.arrive(client.id) {
                next = next.min(self.network.now() + Duration::from_millis(1));
            }
        }
        self.network.state().horizon = next;
    }

    /// The reactor polls.
    pub(super) fn poll(&self, wait: Duration) {
        let before = self.before_poll();
        self.plant_before_poll(wait);
        self.reactor.borrow_mut().poll(self, Some(wait)).unwrap();
        self.step();
        self.plant_after_poll();
        self.check_poll(&before);
        self.check();
    }

    /// Takes the requests that are to be answered now.
    pub(super) fn collect(&self) {
        loop {
            self.plant_before_next();
            let next = self.reactor.borrow_mut().next_request(self);
            let Some(request) = next else { break };
            self.step();
            self.check_order(request.key);
            self.held.borrow_mut().push(request);
            // A thread that is free answers at once. The only one of a worker does.
            if self.works.is_some() || self.percent(70) {
                self.answer_one();
            }
        }
    }

    /// Answers one of the requests that were taken.
    pub(super) fn answer_one(&self) {
        let request = {
            let held = &mut *self.held.borrow_mut();
            if held.is_empty() {
                return;
            }
            let at = self.dice.borrow_mut().index(held.len());
            held.swap_remove(at)
        };
        let mut request = request;
        self.calling.set(true);
        // What a service has done wrong is told to the log, and dealt with.
        let _ = request.answer(self, |request, reply| self.call(request, reply));
        self.calling.set(false);
        self.called_at.set(self.network.now());
        self.plant_before_return(&mut request);
        let key = request.key;
        self.reactor.borrow_mut().give_back(request, self);
        self.plant_after_return(key);
        self.step();
        self.check();
    }

    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        let mut parts = request
            .path()
            .split('/')
            .skip(1)
            .map(|part| part.parse().unwrap());
        let (id, number): (usize, usize) = (parts.next().unwrap(), parts.next().unwrap());
        let asked = self.clients.borrow()[id].requests[number];
        if let Some(works) = self.works {
            let long = self.network.holds_back() && self.percent(40);
            self.network.work(if long { 100 * works } else { works });
        }
        let name = format!("{id}-{number}");
        let headers = [("x-id", &*name)];
        let bytes = content(id, number, asked.size);
        match asked.mode {
            Mode::Whole => reply.send(200, &headers, bytes),
            Mode::Chunks => {
                let mut body = reply.stream(200, &headers)?;
                for block in bytes.chunks(1 + bytes.len() / 3) {
                    body.write_all(block)?;
                }
                body.finish()
            }
            Mode::File => {
                let file = CONTENT.try_clone()?;
                let headers = [(&b"x-id"[..], name.as_bytes())];
                let offset = (id * 7 + number * 3) % 23;
                reply
                    .start(200, b"", headers, Some(asked.size as u64))?
                    .send_file(file, offset as u64, asked.size as u64)
            }
            Mode::ReadsFirst => {
                let mut all = Vec::new();
                request.into_body().read_to_end(&mut all)?;
                require(all == content(id, number, asked.body), "a body is another");
                self.count("body read");
                reply.send(200, &headers, bytes)
            }
            Mode::Hints => {
                reply.send_informational(103, [(&b"link"[..], &b"</a>"[..])])?;
                reply.send(200, &headers, bytes)
            }
            Mode::Fails => Err(Error::new("on purpose")),
            Mode::FailsMidway => {
                let mut body = reply.stream(200, &headers)?;
                body.write_all(b"some")?;
                Err(Error::new("on purpose"))
            }
            Mode::TooShort => {
                let headers = [(&b"x-id"[..], name.as_bytes())];
                let body = reply.start(200, b"", headers, Some(asked.size as u64 + 5))?;
                body.finish_with(bytes)
            }
            Mode::Long => {
                let until = self.network.now() + Duration::from_millis(1500);
                while self.network.now() < until {
                    self.act();
                    self.poll(until.since(self.network.now()));
                }
                reply.send(200, &headers, bytes)
            }
            Mode::Malformed => unreachable!("it is no request"),
        }
    }

    /// One turn of all.
    pub(super) fn turn(&self) {
        if !self.draining.get() && self.percent(18) && self.clients.borrow().len() < 60 {
            self.connect();
        }
        self.act();
        let wait = if self.percent(15) {
            Duration::ZERO
        } else {
            Duration::from_secs(5)
        };
        self.poll(wait);
        self.collect();
        while !self.held.borrow().is_empty() && (self.percent(60) || self.held.borrow().len() > 2) {
            self.answer_one();
        }
    }

    /// The reactor drains, and everything ends.
    pub(super) fn end(&self) {
        self.draining.set(true);
        let now = self.network.now();
        let quick = self.percent(30);
        {
            let mut reactor = self.reactor.borrow_mut();
            if quick {
                self.count("drains in haste");
                reactor.hasten(now, Duration::from_secs(2));
            } else {
                self.count("drains");
                let queues = [
                    QueuePolicy::Keep,
                    QueuePolicy::Drain,
                    QueuePolicy::DrainAndClose,
                ];
                reactor.drain(now, self.dice.borrow_mut().pick(&queues));
            }
        }
        let limit = now + Duration::from_secs(200);
        while !self.reactor.borrow().is_done(self.network.now()) {
            require(self.network.now() < limit, "it does not end");
            self.turn();
            self.answer_one();
        }
        if !quick {
            self.check_end();
        }
    }
}

impl Host for World<'_> {
    fn now(&self) -> MonoTime {
        self.network.now()
    }

    fn admit(&self, _: MonoTime, _: usize) -> Admit {
        match self.dice.borrow_mut().index(20) {
            0 => Admit::Later(Duration::from_millis(5)),
            1 => Admit::Full,
            _ => Admit::Accept,
        }
    }

    fn block_on_client(&self, call: &BlockedCall<'_>) -> Result<()> {
        self.count("call blocked");
        self.step();
        self.act();
        let limit = Duration::from_secs(1);
        let mut reactor = self.reactor.borrow_mut();
        if reactor.is_done(self.now()) {
            // As in a worker: its time is over.
            return Err(Error::new("the reactor ends"));
        }
        reactor.poll_others(self, call, limit)?;
        drop(reactor);
        self.check();
        Ok(())
    }
}
