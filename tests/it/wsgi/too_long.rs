//! Requests that take longer than `request_timeout`.

use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::support::{Client, Gate, Serve, Server, eventually, send};

fn serve(app: &str, args: &[&str]) -> Server {
    Serve::app(app)
        .args(["--request-timeout", "1", "--access-logfile", "-"])
        .args(args)
        .start()
}

fn ask(server: &Server, target: &str) -> Client {
    let mut client = server.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

/// The client is answered in the call's place, in time.
#[track_caller]
fn expect_504(server: &Server, target: &str) {
    let start = MonoTime::now();
    let mut client = ask(server, target);
    let answer = client.response().expect(504);
    assert_eq!(answer.header("connection"), Some("close"));
    client.expect_end();
    let took = MonoTime::now().since(start);
    let expected = Duration::from_millis(990)..Duration::from_secs(3);
    assert!(expected.contains(&took), "took {took:?}");
}

#[test]
fn request_that_waits_right_after_its_time_is_broken_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("at_once:app")
        .args(["--request-timeout", "1"])
        .env("WHEN", "call")
        .env("FOLDER", folder.path())
        .start();
    let before = server.workers(1);
    expect_504(&server, "/late");
    eventually("finally", || {
        folder.path().join("finally").exists().then_some(())
    });
    let ended = format!("[{}] [INFO] Worker exiting", before[0]);
    server.stderr().wait_for(&ended);
    server.stop();
}

// Gunicorn: S11
#[test]
fn stuck_thread_costs_its_client_a_504_and_others_nothing() {
    let server = serve("probe:app", &["--threads", "4"]);
    let before = server.workers(1);
    let gate = Gate::new();
    let mut begun = ask(&server, "/ticks?0,0.4,0.4,0.4,0.4,0.4");
    begun.head().expect(200);
    expect_504(&server, "/sleep");
    server.stderr().wait_for("GET /sleep");
    server.stdout().wait_for("\"GET /sleep HTTP/1.1\" 504 ");
    // Cut where it was, for it had begun.
    assert!(!begun.rest().ends_with(b"0\r\n\r\n"));
    // Whoever came after it is served to the end.
    let mut next = ask(&server, &gate.at("/hold"));
    drop(gate.arrival());
    next.response().expect(200);
    eventually("the worker is not replaced", || {
        (server.workers(1) != before).then_some(())
    });
    assert_eq!(
        server
            .stdout()
            .all()
            .iter()
            .filter(|line| line.contains("GET /sleep"))
            .count(),
        1
    );
    server.stop();
}

// Gunicorn: S11
#[test]
fn stuck_sync_worker_answers_504_and_is_replaced() {
    for (app, target) in [("probe:app", "/sleep"), ("threads:app", "/stuck")] {
        let server = serve(app, &[]);
        let before = server.workers(1);
        server.get("/").expect(200);
        // Python sleeps, or C holds the interpreter for ever.
        expect_504(&server, target);
        server.stderr().wait_for(&format!("GET {target}"));
        server.get("/").expect(200);
        eventually("the worker is not replaced", || {
            (server.workers(1) != before).then_some(())
        });
        server.stop();
    }
}

#[test]
fn response_of_a_sync_worker_that_takes_too_long_is_cut() {
    let server = serve("probe:app", &[]);
    let mut client = ask(&server, "/ticks?0,0.4,0.4,0.4,0.4,0.4");
    client.head().expect(200);
    assert_eq!(client.chunk().as_deref(), Some(&b"tick\n"[..]));
    assert!(!client.rest().ends_with(b"0\r\n\r\n"));
    server.get("/pid").expect(200);
    server.stop();
}

#[test]
fn requests_within_the_limit_are_answered_as_ever() {
    for threads in ["1", "4"] {
        let server = serve("probe:app", &["--threads", threads]);
        let worker = server.workers(1);
        let mut client = server.client();
        for _ in 0..4 {
            let ticks = client.get("/ticks?0.1,0.1,0.1,0.1");
            assert_eq!(ticks.expect(200).text(), "tick\n".repeat(4));
        }
        assert_eq!(server.workers(1), worker);
        server.stop();
    }
}

#[test]
fn request_of_a_leaving_worker_has_no_more_time_than_others() {
    let server = serve("probe:app", &[]);
    let worker = server.workers(1)[0];
    let gate = Gate::new();
    let mut client = ask(&server, &gate.at("/hold"));
    let arrived = gate.arrival();
    send(worker, Signal::SIGTERM);
    server.signal(Signal::SIGTERM);
    client.response().expect(504);
    let line = server.stderr().wait_for("REQUEST TIMEOUT");
    assert!(line.contains("GET /hold"), "{line}");
    drop(arrived);
    assert_eq!(server.wait().status, 0);
}

#[test]
fn several_late_requests_are_each_given_up_with_one_worker() {
    let server = serve("probe:app", &[]);
    let asked: Vec<(Client, Gate)> = (0..4)
        .map(|_| {
            let gate = Gate::new();
            (ask(&server, &gate.at("/hold")), gate)
        })
        .collect();
    for (mut client, _gate) in asked {
        client.response().expect(504);
    }
    server.stop();
}
