//! INT and QUIT while an application works, and applications that handle signals themselves.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;
use tempfile::TempDir;

use crate::support::{Client, Exited, Gate, Serve, Server, eventually, send};

/// A server, and the folder in which its application notes what happens.
fn serve(threads: usize) -> (Server, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("interrupted:app")
        .args(["--threads", &threads.to_string()])
        .env("FOLDER", folder.path())
        .start();
    server.get("/pid").expect(200);
    (server, folder)
}

fn ask(server: &Server, target: &str) -> Client {
    let mut client = server.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

/// How often something was noted.
fn noted(folder: &TempDir, what: &str) -> usize {
    let notes = fs::read_to_string(folder.path().join(what)).unwrap_or_default();
    notes.lines().count()
}

#[track_caller]
fn assert_left_by_itself(exited: &Exited, since: MonoTime) {
    assert_eq!(exited.status, 0, "{exited:#?}");
    let took = MonoTime::now().since(since);
    assert!(took < Duration::from_secs(3), "took {took:?}");
    assert!(
        !exited.stderr.iter().any(|line| line.contains("SIGKILL")),
        "{exited:#?}"
    );
}

// Gunicorn: G14
#[test]
fn aborted_worker_answers_its_request_500_and_is_replaced() {
    for threads in [1, 2] {
        let (server, folder) = serve(threads);
        let gate = Gate::new();
        let mut client = ask(&server, &gate.at("/hold"));
        let _arrived = gate.arrival();
        let worker = server.workers(1)[0];
        send(worker, Signal::SIGABRT);
        if threads == 1 {
            client.response().expect(500);
            client.expect_end();
            eventually("finally", || (noted(&folder, "finally") == 1).then_some(()));
        }
        let ended = format!("Worker (pid:{worker}) exited with code 1");
        server.stderr().wait_for(&ended);
        server.get("/pid").expect(200);
        server.stop();
    }
}

// Gunicorn: G13
#[test]
fn int_and_quit_break_off_a_sync_call_which_is_answered_500() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let (server, folder) = serve(1);
        let gate = Gate::new();
        let mut client = ask(&server, &gate.at("/hold"));
        let _arrived = gate.arrival();
        let start = MonoTime::now();
        server.signal(signal);
        client.response().expect(500);
        client.expect_end();
        assert_left_by_itself(&server.wait(), start);
        assert_eq!(noted(&folder, "finally"), 1, "{signal}");
        assert_eq!(noted(&folder, "atexit"), 1, "{signal}");
    }
}

#[test]
fn int_right_before_a_call_waits_breaks_it_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("at_once:app")
        .env("WHEN", "call")
        .env("FOLDER", folder.path())
        .start();
    let mut client = ask(&server, "/sleep");
    client.response().expect(500);
    client.expect_end();
    assert!(folder.path().join("finally").exists());
    server.stop();
}

#[test]
fn call_that_waits_for_its_client_is_broken_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("interrupted:app")
        .args(["--response-buffer", "65536", "--response-spool", "65536"])
        .env("FOLDER", folder.path())
        .start();
    // It reads nothing.
    let client = ask(&server, "/endless");
    eventually("no block was made", || {
        (noted(&folder, "block") > 2).then_some(())
    });
    let start = MonoTime::now();
    server.signal(Signal::SIGINT);
    assert_left_by_itself(&server.wait(), start);
    assert_eq!(noted(&folder, "finally"), 1);
    assert_eq!(noted(&folder, "atexit"), 1);
    drop(client);
}

// Gunicorn: G13
#[test]
fn worker_that_is_told_to_quit_in_a_call_is_replaced() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let (server, folder) = serve(1);
        let gate = Gate::new();
        let mut client = ask(&server, &gate.at("/hold"));
        let _arrived = gate.arrival();
        let before = server.workers(1);
        // The next one is not begun.
        client.send("GET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
        send(before[0], signal);
        client.response().expect(500);
        client.expect_end();
        eventually("no replacement", || {
            (server.workers(1) != before).then_some(())
        });
        assert_eq!(noted(&folder, "atexit"), 1);
        server.get("/pid").expect(200);
        server.stop();
    }
}

// Gunicorn: G13, W22
#[test]
fn calls_in_threads_are_broken_off_and_answered_500() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let (server, folder) = serve(3);
        let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
        let mut clients: Vec<_> = gates
            .iter()
            .map(|gate| ask(&server, &gate.at("/busy")))
            .collect();
        let _arrived: Vec<_> = gates.iter().map(Gate::arrival).collect();
        let start = MonoTime::now();
        server.signal(signal);
        for client in &mut clients {
            client.response().expect(500);
        }
        assert_left_by_itself(&server.wait(), start);
        assert_eq!(noted(&folder, "finally"), 3, "{signal}");
        assert_eq!(noted(&folder, "atexit"), 1, "{signal}");
    }
}

// Gunicorn: G13
#[test]
fn thread_that_waits_in_the_system_does_not_keep_the_worker() {
    let (server, folder) = serve(2);
    let gates = [Gate::new(), Gate::new()];
    let _held = ask(&server, &gates[0].at("/hold"));
    let mut busy = ask(&server, &gates[1].at("/busy"));
    let _arrived = [gates[0].arrival(), gates[1].arrival()];
    let start = MonoTime::now();
    server.signal(Signal::SIGQUIT);
    busy.response().expect(500);
    assert_left_by_itself(&server.wait(), start);
    // The other one had its exception, too, if it was not waiting yet.
    assert!(noted(&folder, "finally") >= 1);
}

#[test]
fn application_that_handles_int_itself_keeps_it() {
    let (server, _folder) = serve(1);
    let gate = Gate::new();
    let worker = server.workers(1);
    let mut client = ask(&server, &gate.at("/own_handler"));
    let _arrived = gate.arrival();
    send(worker[0], Signal::SIGINT);
    assert_eq!(client.response().expect(200).text(), "handled");
    assert_eq!(server.workers(1), worker);
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait().status, 0);
}

#[test]
fn handlers_can_be_saved_and_brought_back() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let (server, folder) = serve(1);
        let page = server.get(&format!("/save?{signal}")).expect(200);
        assert!(page.text().contains("oxicorn's handler"), "{}", page.text());
        let before = server.workers(1);
        send(before[0], signal);
        eventually("no replacement", || {
            (server.workers(1) != before).then_some(())
        });
        assert_eq!(noted(&folder, "atexit"), 1, "{signal}");
        let exited = server.stop();
        assert!(!exited.stderr.iter().any(|line| line.contains("[ERROR]")));
    }
}

#[test]
fn handlers_of_an_application_may_call_the_workers_own() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let (server, folder) = serve(1);
        server.get(&format!("/chain?{signal}")).expect(200);
        let before = server.workers(1);
        send(before[0], signal);
        eventually("no replacement", || {
            (server.workers(1) != before).then_some(())
        });
        assert_eq!(noted(&folder, "chained"), 1, "{signal}");
        assert_eq!(noted(&folder, "atexit"), 1, "{signal}");
        server.stop();
    }
}

#[test]
fn signal_to_an_applications_child_does_not_reach_its_worker() {
    for threads in [1, 2] {
        let (server, _folder) = serve(threads);
        let worker = server.workers(1)[0];
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGABRT,
        ] {
            let answer = server.get(&format!("/child?{signal}")).expect(200);
            assert_eq!(answer.text(), format!("{worker} -{}", signal as i32));
            assert_eq!(server.workers(1), [worker], "{signal}");
        }
        let exited = server.stop();
        let exits = exited
            .stderr
            .iter()
            .filter(|line| line.contains("Worker exiting"));
        assert_eq!(exits.count(), 1, "{exited:#?}");
    }
}

#[test]
fn child_that_comes_back_from_its_request_ends_and_answers_none() {
    for threads in [1, 2] {
        let (server, _folder) = serve(threads);
        let worker = server.workers(1)[0];
        let mut client = server.client();
        for (how, status) in [("return", 1), ("raise", 1), ("exit", 0), ("exit5", 5)] {
            client.send(format!("GET /stray?{how} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let answer = client.response().expect(200);
            assert_eq!(answer.text(), format!("{worker} {status}"), "{how}");
        }
        client.send("GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().expect(200).text(), worker.to_string());
        client.expect_end();
        assert_eq!(server.workers(1), [worker]);
        let log = server.stop().stderr.join("\n");
        let told = format!("which a request of worker {worker} has forked");
        assert_eq!(log.matches(&told).count(), 4, "{log}");
        assert!(log.contains("ValueError: in the child"), "{log}");
    }
}
