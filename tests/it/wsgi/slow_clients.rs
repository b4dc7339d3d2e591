//! Clients that send nothing, too little or too slowly, or do not read: they cost a buffer, not a worker.

use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::Tick;

use crate::support::{Client, Serve, Server};

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

#[test]
fn silent_clients_do_not_delay_others_on_a_single_worker() {
    let server = Serve::app("probe:app").start();
    server.get("/pid").expect(200);
    let silent = silent(&server);
    for _ in 0..20 {
        let start = Tick::now();
        server.get("/pid").expect(200);
        let took = Tick::now().since(start);
        assert!(took < Duration::from_secs(1), "took {took:?}");
    }
    drop(silent);
    server.stop();
}

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
fn worker_that_a_slow_reader_holds_leaves_at_once_when_it_is_told_to() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let (server, _halting, _reader) = held(&[]);
        let start = Tick::now();
        server.signal(signal);
        let exited = server.wait();
        let took = Tick::now().since(start);
        assert!(took < Duration::from_secs(3), "took {took:?}: {exited:#?}");
        assert_eq!(exited.status, 0);
    }
}

#[test]
fn silent_clients_do_not_delay_a_graceful_stop() {
    let server = Serve::app("probe:app").start();
    server.get("/pid").expect(200);
    let silent = silent(&server);
    let start = Tick::now();
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    let took = Tick::now().since(start);
    assert_eq!(exited.status, 0);
    assert!(took < Duration::from_secs(10), "took {took:?}");
    assert!(
        !exited.stderr.iter().any(|l| l.contains("SIGKILL")),
        "{exited:#?}"
    );
    drop(silent);
}
