//! Signals to the arbiter: how a server stops, grows and shrinks.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::support::{Gate, Serve, Server, eventually};

/// A server on a Unix socket with a pid file, and the folder that holds both.
fn serve(workers: usize) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("probe:app")
        .bind([format!("unix:{}", folder.path().join("sock").display())])
        .args(["--pid".as_ref(), folder.path().join("pid").as_os_str()])
        .workers(workers)
        .start();
    (server, folder)
}

#[track_caller]
fn assert_nothing_left(folder: &tempfile::TempDir) {
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder is there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?} are left");
}

// Gunicorn: G1, G3
#[test]
fn term_finishes_requests_in_flight_and_leaves_nothing() {
    let (server, folder) = serve(2);
    let gates = [Gate::new(), Gate::new()];
    let mut clients = [server.client(), server.client()];
    let pages = [gates[0].at("/hold"), gates[1].at("/stream")];
    for (client, page) in clients.iter_mut().zip(&pages) {
        client.send(format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    let arrived = [gates[0].arrival(), gates[1].arrival()];
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("Handling signal: term");
    // A second one changes nothing.
    server.signal(Signal::SIGTERM);
    drop(arrived);
    clients[0].response().expect(200);
    clients[0].expect_end();
    assert_eq!(clients[1].response().expect(200).text(), "first\nsecond\n");
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert_nothing_left(&folder);
}

// Gunicorn: G2, G13
#[test]
fn int_and_quit_end_everything_within_three_seconds() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let (server, folder) = serve(2);
        let mut client = server.client();
        client.send("GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n");
        server.get("/pid").expect(200);
        let start = MonoTime::now();
        server.signal(signal);
        let exited = server.wait();
        let took = MonoTime::now().since(start);
        assert_eq!(exited.status, 0, "{exited:#?}");
        assert!(took < Duration::from_secs(3), "{signal} took {took:?}");
        assert_nothing_left(&folder);
    }
}

// Gunicorn: G1, W21, S12
#[test]
fn request_that_outlasts_the_graceful_timeout_is_cut() {
    let server = Serve::app("probe:app")
        .args(["--graceful-timeout", "1"])
        .start();
    let gate = Gate::new();
    let mut client = server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let arrived = gate.arrival();
    let start = MonoTime::now();
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    let took = MonoTime::now().since(start);
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(took > Duration::from_millis(900), "took {took:?}");
    assert!(took < Duration::from_secs(5), "took {took:?}");
    drop(arrived);
}

// Gunicorn: G3
#[test]
fn int_during_a_graceful_stop_makes_it_quick() {
    let server = Serve::app("probe:app").start();
    let gate = Gate::new();
    let mut client = server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let arrived = gate.arrival();
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("Handling signal: term");
    let start = MonoTime::now();
    server.signal(Signal::SIGINT);
    let exited = server.wait();
    let took = MonoTime::now().since(start);
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(took < Duration::from_secs(4), "took {took:?}");
    drop(arrived);
}

// Gunicorn: W8
#[test]
fn connections_in_the_backlog_are_served_before_a_graceful_stop() {
    let server = Serve::app("probe:app").start();
    let gate = Gate::new();
    let mut first = server.client();
    first.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let arrived = gate.arrival();
    // The only worker is busy: these wait in the queue of the listener.
    let mut queued: Vec<_> = (0..5).map(|_| server.client()).collect();
    for client in &mut queued {
        client.send("GET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("Handling signal: term");
    drop(arrived);
    first.response().expect(200);
    for mut client in queued {
        client.response().expect(200);
    }
    assert_eq!(server.wait().status, 0);
}

// Gunicorn: G5, G6
#[test]
fn ttin_adds_a_worker_and_ttou_retires_the_oldest() {
    let server = Serve::app("probe:app").start();
    let one = server.workers(1);
    server.signal(Signal::SIGTTIN);
    let two = server.workers(2);
    assert_eq!(two[0], one[0]);
    // One that is not ready would go first.
    eventually("the second worker serves", || {
        let pid = server.get("/pid").expect(200).text().to_owned();
        (pid == two[1].to_string()).then_some(())
    });
    server.signal(Signal::SIGTTOU);
    assert_eq!(server.workers(1), two[1..]);
    // Never below one.
    server.signal(Signal::SIGTTOU);
    let handled = |lines: &[String]| {
        let handled = lines.iter().filter(|l| l.contains("Handling signal: ttou"));
        (handled.count() == 2).then_some(())
    };
    server.stderr().wait_until("a second ttou", handled);
    assert_eq!(server.get("/pid").expect(200).text(), two[1].to_string());
    assert_eq!(server.workers(1), two[1..]);
    server.stop();
}

#[test]
fn server_under_load_stops_without_cutting_a_response() {
    let server = Serve::app("probe:app").workers(2).start();
    server.workers(2);
    let address = server.address().clone();
    let load: Vec<_> = (0..4)
        .map(|_| {
            let address = address.clone();
            thread::spawn(move || {
                let mut answers = 0;
                // Until the port is closed; a connection that was made is answered.
                while let Some(mut client) = address.try_client() {
                    if client
                        .try_send("GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                        .is_err()
                    {
                        break;
                    }
                    let answer = client.rest();
                    if answer.is_empty() {
                        break;
                    }
                    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for _ in 0..50 {
        server.get("/pid").expect(200);
    }
    server.stop();
    for thread in load {
        assert!(thread.join().expect("no response was cut") > 0);
    }
}
