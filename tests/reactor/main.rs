//! The reactor in a thread of this process, over real sockets: no worker, no arbiter, no Python.

use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use oxicorn::access::Access;
use oxicorn::net::{Listener, Listeners, QueuePolicy};
use oxicorn::reactor::Host;
use oxicorn::reactor::{Config, PollOutcome, Reactor};
use oxicorn::time::MonoTime;
use oxicorn::{Request, Responded, Responder, Result};

mod bodies;
mod crowds;
mod deadlines;
mod desk;
mod endings;
mod line;
mod lingering;
mod own_poll;
mod proxies;
mod refusals;
mod requests;
mod responses;
mod streaming;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "_tls")]
mod tls;

use support::Client;

/// What the reactor told of each answer: status, bytes of the body, whether a head was known.
type Log = Arc<Mutex<Vec<(u16, u64, bool)>>>;

struct Recording(Log);

impl Host for Recording {
    fn finished(&self, access: &Access<'_>) {
        let record = (access.status, access.sent, access.head.is_some());
        self.0.lock().unwrap().push(record);
    }
}

/// A reactor that serves until it is dropped.
struct Serving {
    address: SocketAddr,
    log: Log,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

fn serve(
    config: Config,
    service: impl Fn(Request<'_>, Responder<'_>) -> Result<Responded> + Send + 'static,
) -> Serving {
    serve_with(config, service, |reactor, host| reactor.poll(host, None))
}

/// The same, with another way to wait.
fn serve_with(
    config: Config,
    service: impl Fn(Request<'_>, Responder<'_>) -> Result<Responded> + Send + 'static,
    poll: impl Fn(&mut Reactor, &dyn Host) -> Result<PollOutcome> + Send + 'static,
) -> Serving {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.socket_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let log = Log::default();
    let host = Recording(Arc::clone(&log));
    let thread = std::thread::spawn(move || {
        let listeners = Listeners::from(listener);
        let mut reactor = Reactor::new(&listeners, config).unwrap();
        drop(listeners);
        reactor.watch(stopped.as_fd()).unwrap();
        while !reactor.is_done(MonoTime::now()) {
            if poll(&mut reactor, &host).unwrap().woken {
                reactor.drain(MonoTime::now(), QueuePolicy::Drain);
                reactor.drain(MonoTime::now(), QueuePolicy::Drain);
            }
            while let Some(mut ready) = reactor.next_request(&host) {
                let _ = ready.answer(&host, &service);
                reactor.give_back(ready, &host);
            }
        }
    });
    Serving {
        address,
        log,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Serving {
    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends `request`, ends the output, and reads to the end.
    fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.send(request.as_ref());
        stream.end_output();
        stream.read_all()
    }

    /// Waits for all connections to end and gives the record of the answers.
    fn finish(mut self) -> Vec<(u16, u64, bool)> {
        self.stop_and_join();
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    fn stop_and_join(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop_and_join();
        }
    }
}

/// Answers with method, path and body.
fn mirror(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    let mut text = format!("{} {} ", request.method(), request.path()).into_bytes();
    request.into_body().read_to_end(&mut text)?;
    reply.text(200, text)
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}
