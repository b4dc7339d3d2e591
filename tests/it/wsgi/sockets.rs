//! `gunicorn.socket`: applications that take their client's connection over.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::support::{Client, Serve, Server, eventually};

/// A server with two threads, and its access log on standard output.
fn serve(args: &[&str]) -> Server {
    Serve::app("sockets:app")
        .args(["--threads", "2", "--access-logfile", "-"])
        .args(args)
        .start()
}

/// Sends a request to go on in another protocol, with what follows it at once.
fn ask(server: &Server, path: &str, more: &str) -> Client {
    let mut client = server.client();
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n{more}"
    ));
    client
}

/// The connection, once the application has said that it goes on in its protocol.
#[track_caller]
fn upgrade(server: &Server, path: &str) -> Client {
    let mut client = ask(server, path, "");
    let head = client.response().expect(101);
    assert_eq!(head.header("upgrade"), Some("echo"));
    client
}

#[track_caller]
fn echoes(client: &mut Client, line: &str) {
    client.send(line);
    assert_eq!(client.read_until("\n"), line);
}

// Gunicorn: E12, E65
#[test]
fn a_call_takes_its_clients_socket_over_and_its_end_is_the_end() {
    let server = serve(&[]);
    for path in ["/echo", "/stops", "/yields", "/none", "/hands_on"] {
        let mut client = upgrade(&server, path);
        echoes(&mut client, "one\n");
        echoes(&mut client, "bye\n");
        client.expect_end();
    }
    // The client may be the one that ends.
    let mut client = upgrade(&server, "/echo");
    echoes(&mut client, "one\n");
    client.end_output().expect_end();
    let facts = upgrade(&server, "/facts").read_all();
    assert_eq!(facts, "True None AF_INET []\n");
    let exited = server.stop();
    let silent = |line: &String| !line.contains("ERROR") && !line.contains("WARNING");
    assert!(exited.stderr.iter().all(silent), "{exited:#?}");
    assert!(exited.stdout.is_empty(), "{exited:#?}");
}

// Gunicorn: E12
#[test]
fn after_a_take_over_no_second_head_is_sent() {
    let server = serve(&[]);
    for (path, words) in [
        (
            "/answers_too",
            "refused: the call has taken the connection over",
        ),
        ("/fails", "ValueError: after the take-over"),
    ] {
        let mut client = upgrade(&server, path);
        echoes(&mut client, "bye\n");
        client.expect_end();
        server.stderr().wait_for(words);
    }
    server.stop();
}

// Gunicorn: E12
#[test]
fn a_socket_that_is_not_used_stays_the_servers() {
    let server = serve(&[]);
    let mut client = ask(&server, "/looks", "");
    assert_eq!(client.response().expect(200).text(), "True");
    // Nor has a request one that asks for no other protocol.
    assert_eq!(client.get("/looks").expect(200).text(), "False");
    client.send("GET /looks HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "False");
    client
        .send("GET /too_late HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "none");
    client.send("GET /keeps HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "kept");
    assert_eq!(
        client.get("/uses_kept").expect(200).text(),
        "the request is over"
    );
    let refused = ask(&server, "/other_thread", "").response().expect(200);
    assert!(
        refused
            .text()
            .contains("only the thread that serves the request")
    );
    let exited = server.stop();
    assert_eq!(exited.stdout.len(), 7, "{exited:#?}");
}

// Gunicorn: E12
#[test]
fn bytes_that_came_early_are_the_sockets_first() {
    let server = serve(&[]);
    let mut client = ask(&server, "/early", "abcdefgh");
    client.response().expect(101);
    assert_eq!(client.read_until("\n"), "ab|ab|cde|fgh\n");
    echoes(&mut client, "and more\n");
    let mut client = ask(&server, "/echo", "one\ntwo\nth");
    client.response().expect(101);
    assert_eq!(client.read_until("two\n"), "one\ntwo\n");
    client.send("ree\n");
    assert_eq!(client.read_until("\n"), "three\n");
    drop(client);
    server.stop();
}

// Gunicorn: E65
#[test]
fn an_application_that_switches_has_its_head_sent_before() {
    let server = serve(&[]);
    let mut client = ask(&server, "/switches", "");
    let head = client.response().expect(101);
    assert_eq!(head.reason, "Switching Protocols");
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(
        (head.header("upgrade"), head.header("x-own")),
        (Some("echo"), Some("1"))
    );
    assert!(head.header("date").is_some() && head.header("content-length").is_none());
    echoes(&mut client, "one\n");
    echoes(&mut client, "bye\n");
    client.expect_end();
    // Without the socket there is no other protocol to go on in.
    ask(&server, "/switches_only", "").response().expect(500);
    server
        .stderr()
        .wait_for("status 101 without taking the connection over");
    server.stop();
}

// Gunicorn: E12
#[test]
fn a_worker_without_threads_has_no_socket_and_says_why_once() {
    let server = Serve::app("sockets:app").start();
    for _ in 0..2 {
        let seen = ask(&server, "/looks", "").response().expect(200);
        assert_eq!(seen.text(), "False");
    }
    ask(&server, "/echo", "").response().expect(500);
    let said = server.stop().stderr;
    let said = said
        .iter()
        .filter(|line| line.contains("no thread to spare"));
    assert_eq!(said.count(), 1);
}

// Gunicorn: E12
#[test]
fn a_taken_socket_counts_as_a_call_and_has_all_the_time() {
    let server = Serve::app("sockets:app")
        .args(["-k", "gthread", "--request-timeout", "1", "--timeout", "1"])
        .start();
    let worker = server.workers(1);
    let mut taken = upgrade(&server, "/echo");
    let mut waiting = server.client();
    waiting.send_get("/looks");
    let start = MonoTime::now();
    while MonoTime::now().since(start) < Duration::from_millis(2500) {
        echoes(&mut taken, "one\n");
        thread::sleep(Duration::from_millis(50));
    }
    waiting.socket().set_nonblocking(true).expect("a socket");
    assert!(waiting.try_begin().is_err(), "the one thread is in a call");
    waiting.socket().set_nonblocking(false).expect("a socket");
    echoes(&mut taken, "bye\n");
    waiting.response().expect(200);
    assert_eq!(server.workers(1), worker);
    server.stop();
}

// Gunicorn: E12, S12
#[test]
fn a_worker_that_leaves_shuts_taken_sockets_down_at_its_end() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let server = serve(&["--graceful-timeout", "2"]);
        let mut client = upgrade(&server, "/echo");
        echoes(&mut client, "one\n");
        let worker = server.workers(1);
        server.signal(signal);
        if signal == Signal::SIGTERM {
            eventually("the listener's end", || {
                server.address().connect().is_err().then_some(())
            });
            echoes(&mut client, "two\n");
            assert_eq!(server.workers(1), worker);
        }
        client.expect_end();
        let exited = server.wait();
        assert_eq!(exited.status, 0, "{exited:#?}");
        let ended = format!("Worker (pid:{}) exited with code 0", worker[0]);
        let said = exited.stderr.iter().any(|line| line.contains(&ended));
        assert!(said, "{exited:#?}");
    }
}
