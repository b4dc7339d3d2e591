//! A client that leaves, at any point, costs nothing but a line for debugging.

use std::time::Duration;

use socket2::SockRef;

use crate::support::{Address, Client, Gate, Serve, Server};

/// What it has sent when it leaves, and how much it has read.
const POINTS: &[(&str, usize)] = &[
    ("", 0),
    ("GET /pid HT", 0),
    ("GET /pid HTTP/1.1\r\nHost: test\r\n", 0),
    (
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nsome",
        0,
    ),
    (
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
        0,
    ),
    (
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        0,
    ),
    ("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n", 0),
    ("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n", 40),
    ("GET /big?32 HTTP/1.1\r\nHost: test\r\n\r\n", 0),
    ("GET /big?32 HTTP/1.1\r\nHost: test\r\n\r\n", 300),
    ("GET /big?32 HTTP/1.1\r\nHost: test\r\n\r\n", 100_000),
    (
        "GET /pid HTTP/1.1\r\nHost: test\r\n\r\nGET /pid HTTP/1.1\r\nHost: test\r\n\r\nGET",
        40,
    ),
];

/// A connection that is reset when it is dropped, not closed.
fn resetting(server: &Server) -> Client {
    let Address::Tcp(address) = server.address() else {
        unreachable!("the server listens on a port");
    };
    let stream = std::net::TcpStream::connect(address).expect("the server listens");
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a TCP socket");
    Client::tcp(stream)
}

// Gunicorn: E56
#[test]
fn client_that_leaves_empty_blocks_frees_the_worker() {
    let server = Serve::app("responses:app").start();
    for page in ["empty_for_ever", "empty_for_ever?begun"] {
        for connect in [Server::client, resetting] {
            let mut client = connect(&server);
            client.send(format!("GET /{page} HTTP/1.1\r\nHost: test\r\n\r\n"));
            if page.ends_with("begun") {
                client.head().expect(200);
            }
            drop(client);
            // The one worker is free again.
            server.get("/plain").expect(200);
        }
    }
    // One that stays gets what comes at last.
    let mut client = server.client();
    let late = client.get("/empty_for_long").expect(200);
    assert_eq!(late.text(), "at last");
    let lines = server.stop().stderr;
    let told = |line: &String| line.contains("ERROR") || line.contains("Traceback");
    assert!(!lines.iter().any(told), "{lines:#?}");
}

// Gunicorn: W10
#[test]
fn client_that_leaves_at_any_point_leaves_the_log_clean() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1);
    for (sent, read) in POINTS {
        for connect in [Server::client, resetting] {
            let mut client = connect(&server);
            client.send(sent).take(*read);
            drop(client);
            server.get("/pid").expect(200);
        }
    }
    assert_eq!(server.workers(1), worker);
    let exited = server.stop();
    for line in &exited.stderr {
        let wrong = [
            "[ERROR]",
            "[CRITICAL]",
            "[WARNING]",
            "Traceback",
            "panicked",
        ];
        assert!(!wrong.iter().any(|w| line.contains(w)), "{exited:#?}");
    }
}

// Gunicorn: W10
#[test]
fn client_that_leaves_during_the_call_leaves_the_log_clean() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1);
    for page in ["/hold", "/stream"] {
        for connect in [Server::client, resetting] {
            let gate = Gate::new();
            let mut client = connect(&server);
            client.send(format!(
                "GET {} HTTP/1.1\r\nHost: test\r\n\r\n",
                gate.at(page)
            ));
            let arrived = gate.arrival();
            drop(client);
            drop(arrived);
            server.get("/pid").expect(200);
        }
    }
    assert_eq!(server.workers(1), worker);
    let exited = server.stop();
    let wrong = ["[ERROR]", "Traceback", "panicked"];
    for line in &exited.stderr {
        assert!(!wrong.iter().any(|w| line.contains(w)), "{exited:#?}");
    }
}

#[test]
fn client_that_has_ended_its_output_still_gets_the_answer() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    client
        .send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n")
        .end_output();
    client.response().expect(200);
    client.expect_end();
    server.stop();
}
