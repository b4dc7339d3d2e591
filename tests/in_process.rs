//! Servers in threads of this test's own process: started, asked, stopped, dropped.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use oxicorn::access::{Access, AccessSink, RefusalCause};
use oxicorn::h1::Head;
use oxicorn::hooks::{RequestOutcome, WorkerInfo};
use oxicorn::service::per_worker;
use oxicorn::time::MonoTime;
use oxicorn::worker::WorkerState;
use oxicorn::{
    Error, Hooks, InProcessServer, Request, Responded, Responder, Result, Server, ServerBuilder,
};

#[path = "support/mod.rs"]
mod support;

use support::{Address, Client, Flood, MOMENT, PATIENCE, wait_until};

fn hello(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    let mut body = String::new();
    let path = request.path();
    if path == "/slow" {
        thread::sleep(MOMENT);
    }
    request.into_body().read_to_string(&mut body)?;
    reply.text(200, format!("{path} {body}"))
}

fn on_a_free_port() -> ServerBuilder {
    Server::bind("127.0.0.1:0").unwrap()
}

fn start(builder: ServerBuilder) -> (InProcessServer, SocketAddr) {
    let running = builder.build().unwrap().in_process(hello).unwrap();
    let address = running.listeners()[0].ip().unwrap();
    (running, address)
}

/// A client that has asked for this path, and for nothing more.
fn asking(address: SocketAddr, path: &str) -> Client {
    let mut client = Client::connect(address);
    client.send_last(path);
    client
}

/// Everything that the server sends.
fn get(address: SocketAddr, path: &str) -> String {
    asking(address, path).read_all()
}

#[test]
fn a_server_serves_beside_its_program_until_it_is_stopped() {
    for threads in [1, 4] {
        let (running, address) = start(on_a_free_port().threads(threads));
        let handle = running.handle();
        assert_eq!(handle.status().state, WorkerState::Ready);
        assert!(get(address, "/a").ends_with("/a "));
        assert!(get(address, "/b").ends_with("/b "));
        wait_until("both are counted", || handle.status().requests == 2);
        running.stop().unwrap();
        assert!(TcpStream::connect(address).is_err());
        let status = handle.status();
        assert_eq!((status.state, status.connections), (WorkerState::Empty, 0));
        assert_eq!(status.requests, 2);
    }
}

/// Sends on what it is told: status, cause, bytes in and out, whether a head was read, peer, and whether time passed.
#[derive(Debug)]
struct Told(Sender<Line>);

type Line = (u16, Option<RefusalCause>, u64, u64, bool);

impl AccessSink for Told {
    fn record(&mut self, access: &Access<'_>) {
        assert!(access.finished >= access.started);
        let peer = access.client().ip().expect("a peer");
        assert!(peer.ip().is_loopback());
        let (received, sent) = (access.received, access.sent);
        let line = (
            access.status,
            access.refusal,
            received,
            sent,
            access.head.is_some(),
        );
        self.0.send(line).expect("the test listens");
    }
}

#[test]
fn a_sink_is_told_of_answers_and_of_every_kind_of_refusal() {
    for threads in [1, 4] {
        let (tell, told) = channel();
        let server = on_a_free_port()
            .threads(threads)
            .head_timeout(Duration::from_millis(200))
            .limit_request_fields(4)
            .limit_request_body(1000)
            .body_buffer(8)
            .spool_total(150)
            .access_sink(move || Told(tell.clone()));
        let (running, address) = start(server);
        let post = |length: usize| {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            head.into_bytes()
        };
        let ask = |bytes: &[u8], status: u16| {
            let answer = Client::connect(address)
                .send(bytes)
                .response()
                .expect(status);
            let line = told.recv_timeout(PATIENCE).expect("a record");
            assert_eq!(line.0, status);
            (line, answer.text().len() as u64)
        };
        let (line, sent) = ask(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 200);
        assert_eq!(line, (200, None, 0, sent, true));
        let body = [&post(3)[..], b"abc"].concat();
        let (line, sent) = ask(&body, 200);
        assert_eq!(line, (200, None, 3, sent, true));
        let fields = b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n";
        for (request, status, cause) in [
            (&b"GET\r\n\r\n"[..], 400, RefusalCause::Malformed),
            (b"GET / HT", 408, RefusalCause::TooSlow),
            (&post(2000), 413, RefusalCause::TooLarge),
            (fields, 431, RefusalCause::TooLarge),
        ] {
            let (line, sent) = ask(request, status);
            assert_eq!((line.1, line.3), (Some(cause), sent), "{status}");
        }
        // A body that is not complete has most of the files' room.
        let mut other = Client::connect(address);
        other.send([&post(100)[..], &[b'x'; 99]].concat());
        let (line, sent) = ask(&post(100), 503);
        assert_eq!((line.1, line.3), (Some(RefusalCause::NoRoom), sent));
        running.stop().unwrap();
    }
}

// Gunicorn: B14
#[test]
fn servers_run_side_by_side_and_in_turn_at_one_address() {
    let (first, address) = start(on_a_free_port().threads(2));
    let (second, other) = start(on_a_free_port());
    assert!(get(address, "/").contains("200 OK") && get(other, "/").contains("200 OK"));
    first.stop().unwrap();
    let (third, same) = start(Server::bind(address.to_string()).unwrap().threads(2));
    assert_eq!(same, address);
    assert!(get(address, "/").contains("200 OK") && get(other, "/").contains("200 OK"));
    second.stop().unwrap();
    assert!(get(address, "/").contains("200 OK"));
    third.stop().unwrap();
}

// Gunicorn: B2
#[test]
fn a_service_that_cannot_be_made_is_an_error_and_none_listens() {
    let server = on_a_free_port().build().unwrap();
    let address = server.listeners().iter().next().unwrap().socket_addr();
    let make = per_worker(|_| {
        Err::<fn(Request<'_>, Responder<'_>) -> Result<Responded>, _>(Error::app("no such service"))
    });
    let error = server.in_process(make).unwrap_err();
    assert_eq!(error.to_string(), "no such service");
    assert!(error.is_app());
    assert!(TcpStream::connect(address.unwrap()).is_err());
}

/// A service whose calls tell that they run, and wait until they may go on.
fn held() -> (
    impl Fn(Request<'_>, Responder<'_>) -> Result<Responded> + Clone + Send + Sync,
    Receiver<()>,
    Sender<()>,
) {
    let (tell, runs) = channel();
    let (go, wait) = channel();
    let both = Arc::new((tell, Mutex::new(wait)));
    let service = move |_: Request<'_>, reply: Responder<'_>| {
        let _ = both.0.send(());
        let _ = both.1.lock().unwrap().recv();
        reply.text(200, "done\n")
    };
    (service, runs, go)
}

#[test]
fn stopping_finishes_the_request_that_runs() {
    for threads in [1, 4] {
        let (service, runs, go) = held();
        let server = on_a_free_port().threads(threads).build().unwrap();
        let running = server.in_process(service).unwrap();
        let address = running.listeners()[0].ip().unwrap();
        let mut client = asking(address, "/");
        runs.recv_timeout(PATIENCE).unwrap();
        let stopping = thread::spawn(move || running.stop());
        thread::yield_now();
        go.send(()).unwrap();
        assert!(client.read_all().ends_with("done\n"));
        stopping.join().unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn stopping_answers_those_who_wait_in_the_queue() {
    let (service, runs, go) = held();
    let server = on_a_free_port().build().unwrap();
    let running = server.in_process(service).unwrap();
    let address = running.listeners()[0].ip().unwrap();
    let connected = || asking(address, "/");
    let mut clients = vec![connected()];
    runs.recv_timeout(PATIENCE).unwrap();
    // The only thread is in a call, and accepts nobody.
    clients.extend((0..5).map(|_| connected()));
    running.handle().stop();
    for _ in &clients {
        go.send(()).unwrap();
    }
    for mut client in clients {
        assert!(client.read_all().ends_with("done\n"));
    }
    running.join().unwrap();
}

#[test]
fn stopping_waits_for_no_client_longer_than_the_grace() {
    for threads in [1, 4] {
        let builder = on_a_free_port().threads(threads);
        let (running, address) = start(builder.graceful_timeout(Duration::from_millis(100)));
        let mut client = Client::connect(address);
        let upload = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        client.send(upload);
        let handle = running.handle();
        wait_until("the client is there", || handle.status().connections == 1);
        let before = MonoTime::now();
        running.stop().unwrap();
        // The reactor's own bounds for a body are 30 s.
        assert!(MonoTime::now().since(before) < Duration::from_secs(15));
        assert!(!client.rest().starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn a_handle_ends_it_at_once_from_another_thread() {
    let (running, address) = start(on_a_free_port().threads(4));
    let mut client = Client::connect(address);
    client.send(b"GET / HTTP/1.1\r\n");
    let handle = running.handle();
    wait_until("the client is there", || handle.status().connections == 1);
    let other = thread::spawn(move || handle.stop_now());
    running.join().unwrap();
    other.join().unwrap();
    client.expect_end();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn dropping_it_stops_it() {
    let (running, address) = start(on_a_free_port());
    let handle = running.handle();
    drop(running);
    wait_until("it has ended", || {
        handle.status().state == WorkerState::Empty
    });
    wait_until("it listens no more", || {
        TcpStream::connect(address).is_err()
    });
}

#[test]
fn its_socket_file_goes_when_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let bind = format!("unix:{}", path.display());
    let running = Server::bind(bind).unwrap().build().unwrap();
    let running = running.in_process(hello).unwrap();
    assert_eq!(running.listeners()[0].path(), Some(path.as_path()));
    let mut client = Address::Unix(path.clone()).client();
    client.send_last("/");
    assert!(client.read_all().contains("200 OK"));
    running.stop().unwrap();
    assert!(!Path::exists(&path));
}

#[derive(Clone, Default)]
struct Counting(Arc<[AtomicUsize; 3]>);

impl Hooks for Counting {
    fn post_worker_init(&self, _: &WorkerInfo) -> Result<()> {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn pre_request(&self, _: &WorkerInfo, _: &Request<'_>) -> Result<()> {
        self.0[1].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn post_request(&self, _: &WorkerInfo, request: &Head, answer: &RequestOutcome<'_>) {
        assert_eq!((request.path(), answer.status), ("/x", Some(200)));
        self.0[2].fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn another_user_for_threads_of_this_process_is_refused() {
    let server = on_a_free_port().user("root").build().unwrap();
    let error = server.in_process(hello).err().unwrap();
    assert!(error.is_config(), "{error}");
    assert!(error.to_string().starts_with("user, group: "), "{error}");
}

#[test]
fn a_late_request_is_given_up_with_one_thread_too() {
    let (gate, held) = channel::<()>();
    let held = Mutex::new(held);
    let builder = on_a_free_port().request_timeout(Duration::from_millis(200));
    let service = Arc::new(move |request: Request<'_>, reply: Responder<'_>| {
        if request.path() == "/held" {
            let _ = held.lock().unwrap().recv();
        }
        reply.text(200, "late")
    });
    let make = per_worker(move |_| {
        let service = Arc::clone(&service);
        Ok(move |request: Request<'_>, reply: Responder<'_>| service(request, reply))
    });
    let running = builder.build().unwrap().in_process(make).unwrap();
    let address = running.listeners()[0].ip().unwrap();
    assert!(get(address, "/held").starts_with("HTTP/1.1 504 "));
    drop(gate);
    assert!(get(address, "/").contains("200 OK"));
    running.stop().unwrap();
}

#[test]
fn the_order_of_a_builders_methods_does_not_matter() {
    let page = |_: &oxicorn::reactor::ErrorResponse<'_>| oxicorn::h1::Page::text(400, "mine");
    let keepalive = Duration::from_secs(7);
    let builders = [
        on_a_free_port()
            .keepalive(keepalive)
            .error_page(page)
            .workers(3),
        on_a_free_port()
            .workers(3)
            .error_page(page)
            .keepalive(keepalive),
    ];
    for builder in builders {
        assert_eq!(builder.settings().keepalive, keepalive);
        assert_eq!(builder.settings().workers, 3);
        let running = builder.build().unwrap().in_process(hello).unwrap();
        let mut stream = Client::connect(running.listeners()[0].ip().unwrap());
        stream.send(b"nonsense\r\n\r\n");
        assert!(stream.read_all().ends_with("mine"));
        running.stop().unwrap();
    }
}

#[test]
fn servers_and_their_builders_can_be_sent_to_a_thread() {
    fn send<T: Send>() {}
    send::<Server>();
    send::<ServerBuilder>();
}

#[test]
fn the_hooks_of_requests_are_called() {
    let hooks = Counting::default();
    let (running, address) = start(on_a_free_port().threads(2).hooks(hooks.clone()));
    for _ in 0..3 {
        assert!(get(address, "/x").contains("200 OK"));
    }
    running.stop().unwrap();
    let counted = hooks.0.each_ref().map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counted, [1, 3, 3]);
}

#[cfg(feature = "wsgi")]
#[test]
fn a_wsgi_application_is_served_by_threads_of_a_rust_program() {
    use oxicorn::wsgi::App;

    let folder = tempfile::tempdir().unwrap();
    let source = "\
import atexit, threading
atexit.register(lambda: open(__file__ + '.end', 'w').close())
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '5')])
    return [b'%5d' % (environ['wsgi.multithread'] + 2 * environ['wsgi.multiprocess'])]
";
    let file = folder.path().join("inside.py");
    std::fs::write(&file, source).unwrap();
    let app = || App::new("inside:app").python_path([folder.path()]);
    for _ in 0..2 {
        let server = on_a_free_port().threads(4).build().unwrap();
        let running = server.in_process(app()).unwrap();
        let address = running.listeners()[0].ip().unwrap();
        let clients: Vec<_> = (0..8)
            .map(|_| thread::spawn(move || get(address, "/")))
            .collect();
        for client in clients {
            let response = client.join().unwrap();
            assert!(response.ends_with("    1"), "{response}");
        }
        running.stop().unwrap();
    }
    assert!(folder.path().join("inside.py.end").exists());

    let missing = App::new("inside:nothing").python_path([folder.path()]);
    let server = on_a_free_port().build().unwrap();
    assert_eq!(server.in_process(missing).unwrap_err().exit_code(), 4);
}

// Gunicorn: W1
#[test]
fn server_stops_though_a_client_never_pauses() {
    for threads in [1, 4] {
        let (running, address) = start(on_a_free_port().threads(threads));
        let flood = Flood::begin(address);
        let handle = running.handle();
        handle.stop();
        wait_until("it has stopped", || {
            handle.status().state == WorkerState::Empty
        });
        flood.end();
        running.join().unwrap();
    }
}
