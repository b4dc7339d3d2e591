//! Workers that are broken off, in a call or idle: who waits for a worker is answered, by it or by the next one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::support::{Client, Gate, Serve, Server, eventually, send};

/// How many wait while a worker hangs.
const WAITING: usize = 8;
/// How often an idle worker is broken off under load.
const ROUNDS: usize = 10;

fn serve(threads: usize, args: &[&str]) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("interrupted:app")
        .args(["--threads", &threads.to_string()])
        .args(args)
        .env("FOLDER", folder.path())
        .start();
    server.get("/pid").expect(200);
    (server, folder)
}

fn ask(server: &Server, target: &str) -> Client {
    let mut client = server.client();
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    client
}

/// All threads of the only worker are in calls that hang, and others wait. Once the worker is told to go, or not to
/// by this test, all who wait are answered.
#[track_caller]
fn assert_none_who_waits_is_lost(server: &Server, threads: usize, signal: Option<Signal>) {
    let worker = server.workers(1)[0];
    let gates: Vec<Gate> = (0..threads).map(|_| Gate::new()).collect();
    let hung: Vec<Client> = gates
        .iter()
        .map(|gate| ask(server, &gate.at("/hold")))
        .collect();
    let arrived: Vec<_> = gates.iter().map(Gate::arrival).collect();
    let waiting: Vec<Client> = (0..WAITING).map(|_| ask(server, "/pid")).collect();
    if let Some(signal) = signal {
        send(worker, signal);
    }
    for mut client in waiting {
        let answer = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{threads} threads, {signal:?}: {answer:?}"
        );
    }
    eventually("the worker stays", || {
        (server.workers(1)[0] != worker).then_some(())
    });
    drop((hung, arrived));
}

// Gunicorn: G13
#[test]
fn none_who_waits_is_lost_when_a_worker_is_broken_off_in_a_call() {
    for threads in [1, 3] {
        let (server, _folder) = serve(threads, &[]);
        for signal in [Signal::SIGABRT, Signal::SIGQUIT, Signal::SIGINT] {
            assert_none_who_waits_is_lost(&server, threads, Some(signal));
        }
        server.stop();
    }
}

// Gunicorn: G14
#[test]
fn none_who_waits_is_lost_when_a_worker_is_silent_for_too_long() {
    let (server, _folder) = serve(1, &["--timeout", "2"]);
    assert_none_who_waits_is_lost(&server, 1, None);
    server.stop();
}

// Gunicorn: G13
#[test]
fn none_is_lost_when_an_idle_worker_is_broken_off_under_load() {
    for threads in [1, 4] {
        let (server, _folder) = serve(threads, &[]);
        let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let load = || {
                let mut lost = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let answer = ask(&server, "/pid").rest();
                    // The one that the worker is in may be broken off, and is told so.
                    let told = answer.starts_with(b"HTTP/1.1 200 ")
                        || answer.starts_with(b"HTTP/1.1 500 ");
                    if !told {
                        lost.push(String::from_utf8_lossy(&answer).into_owned());
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                lost
            };
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
            for round in 0..ROUNDS {
                let signal = [Signal::SIGQUIT, Signal::SIGINT, Signal::SIGABRT][round % 3];
                let before = answered.load(Ordering::Relaxed);
                eventually("no answers", || {
                    (answered.load(Ordering::Relaxed) > before + 20).then_some(())
                });
                let worker = server.workers(1)[0];
                send(worker, signal);
                eventually("no replacement", || {
                    (server.workers(1)[0] != worker).then_some(())
                });
            }
            over.store(true, Ordering::Relaxed);
            for client in clients {
                let lost = client.join().expect("the client does not panic");
                assert!(lost.is_empty(), "{threads} threads: {lost:?}");
            }
        });
        server.stop();
    }
}
