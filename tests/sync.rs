//! The sync worker in this process, over real sockets: no arbiter, no Python, no turn to hold.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use oxicorn::access::{Access, AccessSink, RefusalCause};
use oxicorn::net::Listener;
use oxicorn::reactor::Config;
use oxicorn::{Request, Responded, Responder, Result, SyncWorker, Worker, WorkerContext};

#[path = "support/mod.rs"]
mod support;

use support::{Client, Flood, MOMENT, PATIENCE, wait_until};

/// Far more than what two sockets hold.
const LARGE: usize = 48 << 20;

/// What the service of these tests tells.
#[derive(Default)]
struct Stage {
    /// Whether a call of `/large` is running.
    held: AtomicBool,
}

impl Stage {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        if request.path() == "/slow" {
            thread::sleep(MOMENT);
        }
        if request.path() == "/large" {
            self.held.store(true, Ordering::SeqCst);
            let outcome = large(reply);
            self.held.store(false, Ordering::SeqCst);
            return outcome;
        }
        let length = std::io::copy(&mut request.into_body(), &mut std::io::sink())?;
        reply.text(200, format!("{length}"))
    }
}

fn large(reply: Responder<'_>) -> Result<Responded> {
    let mut body = reply.stream(200, &[])?;
    let block = vec![b'x'; 1 << 16];
    for _ in 0..LARGE / block.len() {
        body.write_all(&block)?;
    }
    body.finish()
}

/// A worker that serves to the end of the test's process: nobody can ask a detached one to stop.
struct Serving {
    address: SocketAddr,
    stage: Arc<Stage>,
    context: Arc<WorkerContext>,
}

/// One that holds a call soon.
fn serve(change: impl FnOnce(&mut Config)) -> Serving {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.socket_addr().unwrap();
    let mut config = Config::default();
    config.settings.response_buffer = 1 << 16;
    config.settings.response_spool = 1 << 16;
    change(&mut config);
    let serving = Serving {
        address,
        stage: Arc::default(),
        context: Arc::new(WorkerContext::detached(listener).unwrap()),
    };
    let (stage, context) = (Arc::clone(&serving.stage), Arc::clone(&serving.context));
    thread::spawn(move || {
        let service = move |request: Request<'_>, reply: Responder<'_>| stage.call(request, reply);
        SyncWorker::new(service)
            .reactor(config)
            .run(&context)
            .unwrap();
    });
    serving
}

impl Serving {
    /// A client that has sent this.
    fn client(&self, bytes: &str) -> Client {
        let mut client = Client::connect(self.address);
        client.send(bytes);
        client
    }

    /// A client that asks for more than it takes, once its call is running.
    fn reader(&self) -> Client {
        let reader = self.client("GET /large HTTP/1.0\r\n\r\n");
        wait_until("the call begins", || self.is_held());
        reader
    }

    fn is_held(&self) -> bool {
        self.stage.held.load(Ordering::SeqCst)
    }
}

// Gunicorn: W5
#[test]
fn while_a_slow_reader_holds_the_call_the_others_are_seen_to() {
    let serving = serve(|config| {
        config.settings.head_timeout = Duration::from_secs(1);
        config.settings.keepalive = Duration::from_secs(1);
    });
    // All of them are accepted before the call begins.
    let mut kept = serving.client("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    kept.take(1);
    let mut silent = serving.client("");
    let mut halting = serving.client("GET / HT");
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {LARGE}\r\n\r\n");
    let mut upload = serving.client(&head);
    wait_until("four are accepted", || {
        serving.context.slot().connections() == 4
    });
    let mut reader = serving.reader();

    assert!(kept.read_all().ends_with("\r\n\r\n0"));
    assert_eq!(silent.read_all(), "");
    assert!(halting.read_all().starts_with("HTTP/1.1 408 "));
    // Somebody has to read this for all of it to be taken.
    upload.send(vec![b'y'; LARGE]);
    assert!(serving.is_held(), "all of that was while it was held");
    assert_eq!(serving.context.slot().calls().count(), 1);

    let response = reader.read_all();
    assert_eq!(response.split_once("\r\n\r\n").unwrap().1.len(), LARGE);
    assert!(upload.read_all().ends_with(&LARGE.to_string()));
}

#[test]
fn heart_of_a_held_worker_beats_and_it_accepts_nothing() {
    let serving = serve(|_| ());
    let mut reader = serving.reader();
    let mut waiting = serving.client("GET / HTTP/1.0\r\n\r\n");
    for _ in 0..2 {
        let heard = serving.context.slot().heard();
        wait_until("it beats", || serving.context.slot().heard() > heard);
    }
    assert_eq!(serving.context.slot().connections(), 1);
    assert!(serving.is_held());
    reader.read_all();
    assert!(waiting.read_all().ends_with("\r\n\r\n0"));
}

#[test]
fn reader_that_leaves_or_drips_ends_the_call_that_it_blocks() {
    let serving = serve(|_| ());
    drop(serving.reader());
    wait_until("the call ends", || !serving.is_held());

    let serving = serve(|config| {
        config.settings.send_rate = u64::MAX;
        config.settings.send_grace = Duration::from_millis(100);
    });
    let _stopped = serving.reader();
    wait_until("the call ends", || !serving.is_held());
}

#[test]
fn held_call_that_takes_too_long_is_cut() {
    let serving = serve(|config| config.settings.request_timeout = Duration::from_millis(300));
    let mut reader = serving.reader();
    wait_until("the call ends", || !serving.is_held());
    let taken = reader.read_all().len();
    assert!(taken < LARGE, "{taken}");
    let mut next = serving.client("GET / HTTP/1.0\r\n\r\n");
    assert!(next.read_all().ends_with("\r\n\r\n0"));
}

#[test]
fn while_a_call_reads_a_streamed_body_others_are_polled() {
    let serving = serve(|config| {
        config.settings.stream_request_body = true;
        config.settings.head_timeout = Duration::from_secs(1);
    });
    let mut halting = serving.client("GET / HT");
    wait_until("it is accepted", || {
        serving.context.slot().connections() == 1
    });
    let mut upload = serving.client("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n1");
    wait_until("the call begins", || {
        serving.context.slot().calls().count() == 1
    });
    assert!(halting.read_all().starts_with("HTTP/1.1 408 "));
    assert_eq!(serving.context.slot().calls().count(), 1);
    upload.send(b"23");
    assert!(upload.read_all().ends_with("\r\n\r\n3"));
}

// Gunicorn: W1
#[test]
fn client_that_never_pauses_holds_no_worker() {
    let serving = serve(|_| ());
    let flood = Flood::begin(serving.address);
    for _ in 0..20 {
        let mut client = serving.client("GET / HTTP/1.0\r\n\r\n");
        assert!(client.read_all().ends_with("\r\n\r\n0"));
    }
    flood.end();
}

/// Keeps what it is told of each exchange.
#[derive(Debug)]
struct Kept(mpsc::Sender<Exchange>);

#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    pid: i32,
    worker: u64,
    status: u16,
    received: u64,
    sent: u64,
    refusal: Option<RefusalCause>,
}

impl AccessSink for Kept {
    fn record(&mut self, access: &Access<'_>) {
        let exchange = Exchange {
            pid: access.pid,
            worker: access.worker,
            status: access.status,
            received: access.received,
            sent: access.sent,
            refusal: access.refusal,
        };
        self.0.send(exchange).expect("the test listens");
    }
}

#[test]
fn a_sink_learns_who_answered_and_how_much_was_received() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.socket_addr().unwrap();
    let context = WorkerContext::detached(listener).unwrap();
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let stage = Arc::new(Stage::default());
        let service = move |request: Request<'_>, reply: Responder<'_>| stage.call(request, reply);
        SyncWorker::new(service)
            .access_sink(Some(Box::new(Kept(sender))))
            .run(&context)
            .unwrap();
    });
    Client::connect(address)
        .post("/", b"twelve bytes")
        .expect(200);
    let malformed = Client::connect(address).send("GET\r\n\r\n").response();
    let exchange = |status, received, sent, refusal| Exchange {
        pid: nix::unistd::getpid().as_raw(),
        worker: 1,
        status,
        received,
        sent,
        refusal,
    };
    let of_next = || told.recv_timeout(PATIENCE).expect("an exchange");
    assert_eq!(of_next(), exchange(200, 12, 2, None));
    let page = malformed.body.len() as u64;
    let refused = Some(RefusalCause::Malformed);
    assert_eq!(of_next(), exchange(400, 0, page, refused));
}
