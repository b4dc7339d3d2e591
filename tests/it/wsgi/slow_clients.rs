//! Clients that send nothing, too little or too slowly, or do not read: they cost a buffer, not a worker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::support::{Client, Gate, Serve, Server, eventually};

/// Connections that will never ask for anything.
fn silent(server: &Server) -> Vec<Client> {
    let mut clients = Vec::new();
    for beginning in [
        "",
        "G",
        "GET / HTTP/1.1\r\nHost: te",
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nnot all",
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ] {
        for _ in 0..4 {
            let mut client = server.client();
            client.send(beginning);
            clients.push(client);
        }
    }
    clients
}

// Gunicorn: W1, W5
#[test]
fn silent_clients_do_not_delay_others_on_a_single_worker() {
    let server = Serve::app("probe:app").start();
    server.get("/pid").expect(200);
    let silent = silent(&server);
    for _ in 0..20 {
        let start = MonoTime::now();
        server.get("/pid").expect(200);
        let took = MonoTime::now().since(start);
        assert!(took < Duration::from_secs(1), "took {took:?}");
    }
    drop(silent);
    server.stop();
}

// Gunicorn: E56, W5
#[test]
fn slow_reader_does_not_hold_the_worker() {
    let server = Serve::app("probe:app").start();
    let mut reader = server.client();
    reader.send("GET /big?16 HTTP/1.1\r\nHost: test\r\n\r\n");
    reader.head().expect(200);
    // It reads no more for now: 16 MiB are more than the sockets' buffers hold.
    for _ in 0..5 {
        server.get("/pid").expect(200);
    }
    let mut length = 0;
    while let Some(chunk) = reader.chunk() {
        length += chunk.len();
    }
    assert_eq!(length, 16 << 20);
    server.stop();
}

/// A server whose only worker is held by a client that asks for 64 MiB and reads none of them.
fn held(args: &[&str]) -> (Server, Client, Client) {
    let server = Serve::app("probe:app")
        .args(["--response-buffer", "65536", "--response-spool", "65536"])
        .args(args)
        .start();
    server.get("/pid").expect(200);
    let mut halting = server.client();
    halting.send("GET / HT");
    let mut reader = server.client();
    reader.send("GET /big?64 HTTP/1.1\r\nHost: test\r\n\r\n");
    reader.head().expect(200);
    (server, halting, reader)
}

// Gunicorn: W5
#[test]
fn worker_that_a_slow_reader_holds_sees_to_the_others_and_lives() {
    let (server, mut halting, mut reader) = held(&["--head-timeout", "4", "--timeout", "2"]);
    let worker = server.workers(1);
    // Twice the timeout has passed when this comes.
    halting.response().expect(408);
    let mut length = 0;
    while let Some(chunk) = reader.chunk() {
        length += chunk.len();
    }
    assert_eq!(length, 64 << 20);
    assert!(!server.stderr().contain("WORKER TIMEOUT"));
    assert_eq!(server.workers(1), worker);
    server.stop();
}

#[test]
fn worker_blocked_on_a_slow_reader_leaves_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let (server, _halting, _reader) = held(&[]);
        let start = MonoTime::now();
        server.signal(signal);
        let exited = server.wait();
        let took = MonoTime::now().since(start);
        assert!(took < Duration::from_secs(3), "took {took:?}: {exited:#?}");
        assert_eq!(exited.status, 0);
    }
}

// Gunicorn: W6
#[test]
fn silent_clients_do_not_delay_a_graceful_stop() {
    let server = Serve::app("probe:app").start();
    server.get("/pid").expect(200);
    let silent = silent(&server);
    let start = MonoTime::now();
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    let took = MonoTime::now().since(start);
    assert_eq!(exited.status, 0);
    assert!(took < Duration::from_secs(10), "took {took:?}");
    assert!(
        !exited.stderr.iter().any(|l| l.contains("SIGKILL")),
        "{exited:#?}"
    );
    drop(silent);
}

/// What slow clients begin with, and whether they go on with a byte now and then.
const ATTACKS: &[(&str, bool)] = &[
    ("GET /pid HTTP/1.1\r\nHost: test\r\nX-Slow: ", true),
    (
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4000\r\n\r\n",
        true,
    ),
    // They read nothing of 4 MiB.
    ("GET /big?4 HTTP/1.1\r\nHost: test\r\n\r\n", false),
    ("", false),
];

/// Clients of one kind of attack.
const EACH: usize = 15;

/// Attacks `server` from a thread of its own, and calls `meanwhile` again and again until the slow ones have
/// dripped so many times.
fn under_attack(server: &Server, drips: usize, mut meanwhile: impl FnMut()) {
    let dripped = AtomicUsize::new(0);
    let begin = |bytes: &str| {
        let mut client = server.client();
        client.send(bytes);
        client
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut slow: Vec<_> = ATTACKS
                .iter()
                .flat_map(|attack| (0..EACH).map(move |_| attack))
                .map(|(bytes, drips)| (*bytes, *drips, begin(bytes)))
                .collect();
            while dripped.fetch_add(1, Ordering::SeqCst) < drips {
                for (bytes, _, client) in slow.iter_mut().filter(|(_, drips, _)| *drips) {
                    // One that the server has given up comes again.
                    if client.try_send("x").is_err() {
                        *client = begin(bytes);
                    }
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        eventually("the attack has not begun", || {
            (dripped.load(Ordering::SeqCst) > 0).then_some(())
        });
        while dripped.load(Ordering::SeqCst) < drips {
            meanwhile();
        }
    });
}

#[track_caller]
fn ordinary_clients_are_answered_within_two_seconds(flags: &[&str]) {
    let server = Serve::app("probe:app").args(flags).start();
    let worker = server.workers(1);
    let mut kept = server.client();
    let mut answered = 0;
    under_attack(&server, 40, || {
        for fresh in [true, false] {
            let start = MonoTime::now();
            if fresh {
                server.get("/pid").expect(200);
            } else {
                kept.post("/echo", b"ordinary").expect(200);
            }
            let took = MonoTime::now().since(start);
            assert!(took < Duration::from_secs(2), "took {took:?}");
            answered += 1;
        }
    });
    assert!(answered >= 10, "{answered}");
    assert_eq!(server.workers(1), worker);
    server.stop();
}

// Gunicorn: W5
#[test]
fn ordinary_requests_are_answered_soon_during_an_attack() {
    ordinary_clients_are_answered_within_two_seconds(&[]);
}

// Gunicorn: W14
#[test]
fn ordinary_requests_are_answered_soon_on_attacked_threads() {
    ordinary_clients_are_answered_within_two_seconds(&["--threads", "4"]);
}

// Gunicorn: S8
#[test]
fn connections_with_threads_are_bounded_and_idle_ones_make_room() {
    let server = Serve::app("probe:app")
        .args(["--threads", "4", "--worker-connections", "2"])
        .args(["--keep-alive", "60"])
        .start();
    let gates = [Gate::new(), Gate::new()];
    let mut held: Vec<_> = gates
        .iter()
        .map(|gate| {
            let mut client = server.client();
            client.send(format!(
                "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
                gate.at("/hold")
            ));
            client
        })
        .collect();
    let mut arrived: Vec<_> = gates.iter().map(Gate::arrival).collect();
    // Two threads are free, but both connections have a request: the third waits for one that has none.
    let mut third = server.client();
    third.send("GET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(arrived.pop());
    let mut second = held.pop().expect("there are two");
    second.response().expect(200);
    third.response().expect(200);
    // It was kept, and has made room long before its keep-alive was over.
    second.expect_end();
    drop(arrived);
    held[0].response().expect(200);
    server.stop();
}
