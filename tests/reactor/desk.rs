//! A reactor that turns on the test's thread, under a clock that stands still unless a test moves it. So a deadline comes
//! when a test says so, and however busy the machine is.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use oxicorn::access::Access;
use oxicorn::net::{Listener, Listeners};
use oxicorn::reactor::{Admit, BlockedCall, Config, Host, PendingRequest, Reactor};
use oxicorn::time::MonoTime;
use oxicorn::{Request, Responded, Responder, Result};

use crate::support::{Client, await_arrival};

/// A host whose clock is the test's.
pub(crate) struct Still {
    pub(crate) now: Cell<MonoTime>,
    /// Whether newcomers are left to others for now.
    pub(crate) polite: bool,
    /// Status, and bytes of the body, of each answer.
    pub(crate) log: RefCell<Vec<(u16, u64)>>,
    /// A client that takes 64 KiB of its response in ten seconds, while its call waits for it.
    pub(crate) dripping: RefCell<Option<Client>>,
}

impl Still {
    pub(crate) fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }
}

impl Host for Still {
    fn now(&self) -> MonoTime {
        self.now.get()
    }

    fn admit(&self, _now: MonoTime, _open: usize) -> Admit {
        if self.polite {
            Admit::Later(Duration::from_millis(1))
        } else {
            Admit::Accept
        }
    }

    fn finished(&self, access: &Access<'_>) {
        self.log.borrow_mut().push((access.status, access.sent));
    }

    /// Nothing comes meanwhile but time, and what the client takes.
    fn block_on_client(&self, _: &BlockedCall<'_>) -> Result<()> {
        if let Some(client) = &mut *self.dripping.borrow_mut() {
            client.take(64 * 1024);
        }
        self.pass(Duration::from_secs(10));
        Ok(())
    }
}

type Service = fn(&Still, Request<'_>, Responder<'_>) -> Result<Responded>;

pub(crate) struct Desk {
    pub(crate) reactor: Reactor,
    pub(crate) host: Still,
    address: SocketAddr,
    service: Service,
}

impl Desk {
    pub(crate) fn open(config: Config, service: Service) -> Self {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
        Self {
            address: listener.socket_addr().unwrap(),
            reactor: Reactor::new(&Listeners::from(listener), config).unwrap(),
            host: Still {
                now: Cell::new(MonoTime::now()),
                polite: false,
                log: RefCell::default(),
                dripping: RefCell::default(),
            },
            service,
        }
    }

    /// A client that has sent nothing.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A client that has sent this, which has arrived and is neither read nor accepted.
    pub(crate) fn sending(&self, text: impl AsRef<[u8]>) -> Client {
        let mut client = self.connect();
        client.send(text);
        await_arrival(&client);
        client
    }

    /// So many seconds pass, and the reactor sees to what is due and what is there.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.host.pass(Duration::from_secs(seconds));
        let wait = Some(Duration::ZERO);
        self.reactor.poll(&self.host, wait).unwrap();
    }

    pub(crate) fn turn(&mut self) {
        self.reactor.poll(&self.host, None).unwrap();
    }

    /// Answers what is to be answered before the next turn.
    pub(crate) fn lap(&mut self) -> Vec<String> {
        let mut paths = Vec::new();
        while let Some(ready) = self.reactor.next_request(&self.host) {
            paths.push(self.answer(ready));
        }
        paths
    }

    pub(crate) fn answer(&mut self, mut ready: PendingRequest) -> String {
        let path = ready.head().unwrap().target().to_owned();
        let (host, service) = (&self.host, self.service);
        // Its error has been dealt with.
        let _ = ready.answer(host, |request, reply| service(host, request, reply));
        self.reactor.give_back(ready, &self.host);
        path
    }

    /// Turns until so many requests were answered.
    pub(crate) fn answer_all(&mut self, count: usize) -> Vec<String> {
        let mut paths = Vec::new();
        while paths.len() < count {
            self.turn();
            paths.extend(self.lap());
        }
        paths
    }
}
