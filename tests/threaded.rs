//! The threaded worker in this process, over real sockets: no arbiter, no Python, no turn to hold.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use oxicorn::h1::Page;
use oxicorn::net::Listener;
use oxicorn::reactor::{Config, ErrorPage};
use oxicorn::{Request, Responded, Responder, Result, ThreadedWorker, Worker, WorkerContext};

#[path = "support/mod.rs"]
mod support;

use support::{Client, Flood, MOMENT, await_arrival, wait_until};

/// What the service of these tests has.
#[derive(Default)]
struct Stage {
    running: AtomicUsize,
    most: AtomicUsize,
    /// Where the calls of `/meet` meet: four of them.
    meeting: Option<Barrier>,
    /// Held by a test while the calls of `/hold` are to wait.
    held: Mutex<()>,
    /// How the calls of `/begun` and `/late` have ended.
    ends: Mutex<Vec<String>>,
    /// What was called, one after the other.
    called: Mutex<Vec<String>>,
}

impl Stage {
    fn call(&self, request: &Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        if let "/begun" | "/late" = request.path() {
            let end = self.wait_and_send(request.path() == "/begun", reply);
            let mut ends = self.ends.lock().unwrap();
            ends.push(
                end.as_ref()
                    .map_or_else(ToString::to_string, |_| String::new()),
            );
            return end;
        }
        self.called.lock().unwrap().push(request.path().to_owned());
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        match (request.path(), &self.meeting) {
            ("/meet", Some(meeting)) => drop(meeting.wait()),
            ("/hold", _) => drop(self.held.lock().unwrap()),
            ("/slow", _) => thread::sleep(MOMENT),
            ("/panic", _) => {
                self.running.fetch_sub(1, Ordering::SeqCst);
                panic!("on purpose");
            }
            _ => {}
        }
        let most = self.most.load(Ordering::SeqCst);
        self.running.fetch_sub(1, Ordering::SeqCst);
        reply.text(200, format!("{} {most}", request.path()))
    }
}

impl Stage {
    /// Sends a block, unless it is to be late, and the rest when the test lets it.
    fn wait_and_send(&self, begin: bool, reply: Responder<'_>) -> Result<Responded> {
        let mut body = reply.stream(200, &[])?;
        if begin {
            body.write_all(b"begun")?;
        }
        drop(self.held.lock().unwrap());
        body.write_all(b"done")?;
        body.finish()
    }
}

/// A worker that serves to the end of the test's process: nobody can ask a detached one to stop.
fn serve(threads: usize, stage: &Arc<Stage>) -> SocketAddr {
    serve_within(threads, stage, None)
}

/// The same with a `request_timeout`.
fn serve_within(threads: usize, stage: &Arc<Stage>, limit: Option<Duration>) -> SocketAddr {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.socket_addr().unwrap();
    let stage = Arc::clone(stage);
    let mut config = Config::default();
    config.settings.request_timeout = limit.unwrap_or_default();
    config.error_page =
        ErrorPage::new(|refusal| Page::text(refusal.status, format!("page {}", refusal.status)));
    thread::spawn(move || {
        let context = WorkerContext::detached(listener).unwrap();
        let service = move |request: Request<'_>, reply: Responder<'_>| stage.call(&request, reply);
        ThreadedWorker::new(service, threads)
            .reactor(config)
            .run(&context)
            .unwrap();
    });
    address
}

/// Reads one response: its status and its body.
fn receive(client: &mut Client) -> (u16, String) {
    let response = client.response();
    (response.status, response.text().to_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    receive(Client::connect(address).send_get(path))
}

#[test]
fn calls_of_all_threads_run_at_once() {
    let stage = Arc::new(Stage {
        meeting: Some(Barrier::new(4)),
        ..Stage::default()
    });
    let address = serve(4, &stage);
    for _ in 0..10 {
        let mut streams: Vec<_> = (0..4).map(|_| Client::connect(address)).collect();
        for stream in &mut streams {
            stream.send_get("/meet");
        }
        for stream in &mut streams {
            assert_eq!(receive(stream), (200, "/meet 4".to_owned()));
        }
    }
}

#[test]
fn no_more_calls_run_than_threads_and_the_rest_wait() {
    let stage = Arc::new(Stage::default());
    let address = serve(2, &stage);
    let held = stage.held.lock().unwrap();
    let mut streams: Vec<_> = (0..10).map(|_| Client::connect(address)).collect();
    for stream in &mut streams {
        stream.send_get("/hold");
    }
    wait_until("calls run", || stage.running.load(Ordering::SeqCst) >= 2);
    drop(held);
    for stream in &mut streams {
        assert_eq!(receive(stream), (200, "/hold 2".to_owned()));
    }
    assert_eq!(get(address, "/"), (200, "/ 2".to_owned()));
}

#[test]
fn waiting_calls_do_not_delay_the_others() {
    let stage = Arc::new(Stage::default());
    let address = serve(4, &stage);
    let held = stage.held.lock().unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Client::connect(address)).collect();
    for stream in &mut waiting {
        stream.send_get("/hold");
    }
    let mut stream = Client::connect(address);
    for _ in 0..1000 {
        stream.send_get("/");
        assert_eq!(receive(&mut stream).0, 200);
    }
    drop(held);
    for stream in &mut waiting {
        assert_eq!(receive(stream).0, 200);
    }
}

// Gunicorn: W17
#[test]
fn request_that_comes_during_a_call_is_answered_after_it() {
    let stage = Arc::new(Stage::default());
    let address = serve(2, &stage);
    let mut stream = Client::connect(address);
    stream.send_get("/first");
    receive(&mut stream);
    for _ in 0..20 {
        let held = stage.held.lock().unwrap();
        stream.send_get("/hold");
        wait_until("calls run", || stage.running.load(Ordering::SeqCst) >= 1);
        stream.send_get("/second");
        // By then the leader has been told of it.
        get(address, "/");
        drop(held);
        assert_eq!(receive(&mut stream).1.split(' ').next(), Some("/hold"));
        assert_eq!(receive(&mut stream).1.split(' ').next(), Some("/second"));
    }
}

// Gunicorn: W19
#[test]
fn many_clients_and_calls_of_all_lengths_lose_nothing() {
    let stage = Arc::new(Stage::default());
    let address = serve(3, &stage);
    thread::scope(|scope| {
        for client in 0..8 {
            scope.spawn(move || {
                let mut stream = Client::connect(address);
                for round in 0..300 {
                    let path = format!("/{client}/{round}");
                    stream.send_get(&path);
                    let (status, text) = receive(&mut stream);
                    assert_eq!((status, text.split(' ').next()), (200, Some(&*path)));
                    if round % 50 == 0 {
                        stream = Client::connect(address);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                let held = stage.held.lock().unwrap();
                let mut stream = Client::connect(address);
                stream.send_get("/hold");
                wait_until("calls run", || stage.running.load(Ordering::SeqCst) != 0);
                drop(held);
                assert_eq!(receive(&mut stream).0, 200);
            }
        });
    });
    assert!(stage.most.load(Ordering::SeqCst) <= 3);
}

#[test]
fn panic_in_a_call_is_a_500_and_the_thread_lives() {
    let stage = Arc::new(Stage::default());
    let address = serve(2, &stage);
    for _ in 0..5 {
        assert_eq!(get(address, "/panic").0, 500);
    }
    assert_eq!(get(address, "/").0, 200);
}

#[test]
fn request_that_takes_too_long_is_504_or_cut() {
    let stage = Arc::new(Stage::default());
    let address = serve_within(3, &stage, Some(Duration::from_millis(300)));
    let held = stage.held.lock().unwrap();
    let [mut late, mut begun] = ["/late", "/begun"].map(|path| {
        let mut stream = Client::connect(address);
        stream.send_get(path);
        stream
    });
    let answer = late.read_all();
    assert!(
        answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(answer.ends_with("\r\n\r\npage 504"), "{answer}");
    let cut = begun.read_all();
    assert!(
        cut.starts_with("HTTP/1.1 200 ") && cut.ends_with("\r\n5\r\nbegun\r\n"),
        "{cut}"
    );
    // Both are still in their calls, and the others are answered.
    assert_eq!(get(address, "/").0, 200);
    drop(held);
    wait_until("calls run", || stage.ends.lock().unwrap().len() >= 2);
    for end in &*stage.ends.lock().unwrap() {
        assert!(end.contains("request_timeout"), "{end}");
    }
    assert_eq!(get(address, "/"), (200, "/ 1".to_owned()));
}

#[test]
fn requests_of_all_lengths_within_the_limit_are_answered() {
    let stage = Arc::new(Stage::default());
    let address = serve_within(3, &stage, Some(Duration::from_secs(20)));
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                let mut stream = Client::connect(address);
                for round in 0..200 {
                    let path = format!("/{client}/{round}");
                    stream.send_get(&path);
                    let (status, text) = receive(&mut stream);
                    assert_eq!((status, text.split(' ').next()), (200, Some(&*path)));
                }
            });
        }
    });
}

// Gunicorn: W1
#[test]
fn a_request_sent_at_once_goes_behind_all_sent_before() {
    for threads in [1, 2] {
        let stage = Arc::new(Stage::default());
        let address = serve(threads, &stage);
        let [mut first, mut second] = ["/first", "/second"].map(|path| {
            let mut stream = Client::connect(address);
            stream.send_get(path);
            assert_eq!(receive(&mut stream).0, 200);
            stream
        });
        let held = stage.held.lock().unwrap();
        // All threads are in calls.
        let mut others: Vec<_> = (1..threads).map(|_| Client::connect(address)).collect();
        for stream in others.iter_mut().chain([&mut first]) {
            stream.send_get("/hold");
        }
        wait_until("calls run", || {
            stage.running.load(Ordering::SeqCst) >= threads
        });
        stage.called.lock().unwrap().clear();
        // By then the leader has read no more, or all of it: the order is the same.
        second.send_get("/kept");
        let mut newcomer = Client::connect(address);
        newcomer.send_get("/new");
        await_arrival(&newcomer);
        for _ in 0..9 {
            first.send_get("/again");
        }
        drop(held);
        for stream in others.iter_mut().chain([&mut second, &mut newcomer]) {
            assert_eq!(receive(stream).0, 200);
        }
        for _ in 0..10 {
            assert_eq!(receive(&mut first).0, 200);
        }
        let called = stage.called.lock().unwrap();
        let before = called.iter().position(|path| path == "/again").unwrap();
        // Two threads may overtake each other on the way to their calls.
        assert!(before + threads > 2, "{called:?}");
    }
}

// Gunicorn: W1
#[test]
fn client_that_never_pauses_holds_no_worker() {
    for threads in [1, 4] {
        let address = serve(threads, &Arc::default());
        let flood = Flood::begin(address);
        for _ in 0..20 {
            assert_eq!(get(address, "/").0, 200);
        }
        flood.end();
    }
}
