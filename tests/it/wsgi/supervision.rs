//! Workers that die, hang or are told to leave: each is replaced, and the others serve on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oxicorn::time::MonoTime;

use crate::support::{Gate, Serve, Server, eventually, send, suspend};

/// The worker that answers one request.
#[track_caller]
fn answering(server: &Server) -> Pid {
    let pid = server.get("/pid").expect(200);
    Pid::from_raw(pid.text().parse().expect("a process id"))
}

// Gunicorn: G10, G41
#[test]
fn killed_worker_is_replaced_within_a_second_beside_another() {
    let server = Serve::app("probe:app").workers(2).start();
    let before = server.workers(2);
    eventually("both workers answer", || {
        (answering(&server) == before[0]).then_some(())
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = || {
            // What the killed worker had in hand is lost; nothing else may fail.
            let (mut answers, mut lost) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let mut client = server.client();
                let sent =
                    client.try_send("GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                if sent.is_ok() && client.rest().starts_with(b"HTTP/1.1 200") {
                    answers += 1;
                } else {
                    lost += 1;
                }
            }
            (answers, lost)
        };
        let clients = [scope.spawn(load), scope.spawn(load)];
        let start = MonoTime::now();
        send(before[0], Signal::SIGKILL);
        let after = eventually("no replacement", || {
            let workers = server.workers(2);
            (!workers.contains(&before[0])).then_some(workers)
        });
        let took = MonoTime::now().since(start);
        assert_eq!(after[0], before[1], "the other one lives");
        assert!(took < Duration::from_secs(1), "took {took:?}");
        eventually("the replacement does not answer", || {
            (answering(&server) == after[1]).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let (answers, lost) = client.join().expect("the client does not panic");
            assert!(answers > 0 && lost <= 2, "{answers} answers, {lost} lost");
        }
    });
    let line = server
        .stderr()
        .wait_for(&format!("(pid:{}) was sent SIGKILL!", before[0]));
    assert!(
        line.contains("[ERROR]") && line.contains("SIGKILL"),
        "{line}"
    );
    server.stop();
}

// Gunicorn: G48
#[test]
fn worker_that_sleeps_past_the_timeout_is_replaced() {
    let server = Serve::app("probe:app")
        .workers(2)
        .args(["--timeout", "2"])
        .start();
    let before = server.workers(2);
    let mut hung = server.client();
    hung.send("GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n");
    let start = MonoTime::now();
    let line = eventually("no timeout", || {
        let begun = MonoTime::now();
        server.get("/pid").expect(200);
        let took = MonoTime::now().since(begun);
        assert!(
            took < Duration::from_millis(1500),
            "the other worker took {took:?}"
        );
        let all = server.stderr().all();
        all.into_iter().find(|line| line.contains("WORKER TIMEOUT"))
    });
    assert!(
        MonoTime::now().since(start) > Duration::from_millis(1900),
        "too early"
    );
    assert!(
        line.contains("[CRITICAL]") || line.contains("[ERROR]"),
        "{line}"
    );
    hung.rest();
    let after = eventually("no replacement", || {
        let workers = server.workers(2);
        (workers != before).then_some(workers)
    });
    assert!(
        before.contains(&after[0]),
        "only one was replaced: {before:?} {after:?}"
    );
    server.stop();
}

// Gunicorn: G50, S11
#[test]
fn response_in_blocks_may_outlast_the_timeout_a_silent_one_not() {
    let server = Serve::app("probe:app").args(["--timeout", "2"]).start();
    let before = server.workers(1);
    let ticks = server.get(&format!("/ticks?{}", ["0.5"; 8].join(",")));
    assert_eq!(ticks.expect(200).text(), "tick\n".repeat(8));
    assert!(!server.stderr().contain("WORKER TIMEOUT"));
    let mut client = server.client();
    client.send("GET /ticks?0,10 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().expect(200);
    assert_eq!(client.chunk().as_deref(), Some(&b"tick\n"[..]));
    client.expect_end();
    server.stderr().wait_for("WORKER TIMEOUT");
    eventually("no replacement", || {
        (server.workers(1) != before).then_some(())
    });
    server.stop();
}

// Gunicorn: G37, G40, G41
#[test]
fn application_that_ends_the_process_costs_one_worker() {
    let server = Serve::app("probe:app").workers(2).start();
    server.workers(2);
    for code in [1, 3, 4, 7] {
        let mut client = server.client();
        client.send(format!("GET /die?{code} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.expect_end();
        server
            .stderr()
            .wait_for(&format!("exited with code {code}"));
        server.get("/pid").expect(200);
    }
    // Statuses 3 and 4 mean a failed boot only before a worker is ready.
    server.workers(2);
    server.stop();
}

// Gunicorn: G12, G18, G37
#[test]
fn worker_told_to_leave_finishes_its_request_and_is_replaced() {
    let server = Serve::app("probe:app").start();
    let before = server.workers(1);
    let gate = Gate::new();
    let mut client = server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let arrived = gate.arrival();
    send(before[0], Signal::SIGTERM);
    drop(arrived);
    client.response().expect(200);
    let after = eventually("no replacement", || {
        let workers = server.workers(1);
        (workers != before).then_some(workers)
    });
    assert_eq!(answering(&server), after[0]);
    let exited = server.stop();
    assert!(
        !exited.stderr.iter().any(|l| l.contains("[ERROR]")),
        "{exited:#?}"
    );
}

// Gunicorn: G13
#[test]
fn worker_told_to_quit_leaves_at_once() {
    let server = Serve::app("probe:app").start();
    let before = server.workers(1);
    // Connections that it keeps do not hold it.
    let mut kept = server.client();
    kept.get("/pid").expect(200);
    let start = MonoTime::now();
    send(before[0], Signal::SIGQUIT);
    kept.expect_end();
    let took = MonoTime::now().since(start);
    assert!(took < Duration::from_secs(1), "took {took:?}");
    eventually("no replacement", || {
        (server.workers(1) != before).then_some(())
    });
    server.stop();
}

// Gunicorn: G16, G17, G18
#[test]
fn worker_ignores_signals_that_are_for_the_arbiter() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1);
    server.get("/pid").expect(200);
    for signal in [
        Signal::SIGHUP,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGWINCH,
    ] {
        send(worker[0], signal);
        server.get("/pid").expect(200);
    }
    assert_eq!(server.workers(1), worker);
    server.stop();
}

// Gunicorn: G54
#[test]
fn workers_leave_when_the_arbiter_is_killed() {
    let server = Serve::app("probe:app").workers(2).start();
    server.workers(2);
    server.get("/pid").expect(200);
    server.signal(Signal::SIGKILL);
    let exited = server.wait_for_orphans();
    assert_eq!(exited.status, 128 + 9);
}

// Gunicorn: G38, G43
#[test]
fn worker_that_cannot_boot_again_neither_spins_nor_harms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let module = folder.path().join("fickle.py");
    let good = "from probe import app\n";
    std::fs::write(&module, good).expect("the folder is writable");
    let server = Serve::app("fickle:app")
        .args(["--pythonpath".as_ref(), folder.path().as_os_str()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .workers(2)
        .start();
    let before = server.workers(2);
    eventually("not both are ready", || {
        let one = answering(&server);
        (one == before[0]).then_some(())
    });
    eventually("not both are ready", || {
        let one = answering(&server);
        (one == before[1]).then_some(())
    });
    std::fs::write(&module, "raise ValueError('not today')\n").expect("the folder is writable");
    send(before[0], Signal::SIGKILL);
    server.stderr().wait_for("not today");
    let start = MonoTime::now();
    while MonoTime::now().since(start) < Duration::from_secs(2) {
        assert_eq!(answering(&server), before[1]);
    }
    let booted = server.stderr().all();
    let booted = booted
        .iter()
        .filter(|l| l.contains("Booting worker"))
        .count();
    assert!(booted < 10, "{booted} boots");
    std::fs::write(&module, good).expect("the folder is writable");
    eventually("the server does not recover", || {
        (answering(&server) != before[1]).then_some(())
    });
    assert_eq!(server.workers(2)[0], before[1]);
    server.stop();
}

// Gunicorn: W3
#[test]
fn accept_errors_do_not_kill_the_worker_and_are_told_of_once() {
    let server = Serve::app("few_files:app").start();
    let worker = server.workers(1);
    server.get("/pid").expect(200);
    // More connections than the worker may have descriptors: accept(2) fails with EMFILE.
    let mut silent: Vec<_> = (0..64).map(|_| server.client()).collect();
    for client in &mut silent {
        client.send("GET / HTTP/1.1\r\n");
    }
    // One that the worker has no descriptor for waits until there is one.
    let mut last = server.client();
    last.send("GET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    server.stderr().wait_for("cannot accept on http://");
    drop(silent);
    last.response().expect(200);
    assert_eq!(server.workers(1), worker);
    let exited = server.stop();
    let told = |line: &&String| line.contains("cannot accept on ");
    assert_eq!(exited.stderr.iter().filter(told).count(), 1, "{exited:?}");
}

// Gunicorn: G48
#[test]
fn pause_of_all_processes_past_the_timeout_costs_no_request() {
    let server = Serve::app("probe:app").args(["--timeout", "2"]).start();
    let worker = server.workers(1)[0];
    let gate = Gate::new();
    let mut client = server.client();
    let target = gate.at("/nap");
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    drop(gate.arrival());
    for pid in [server.pid(), worker] {
        suspend(pid);
    }
    // So long is the pause: nothing else is waited for.
    std::thread::sleep(Duration::from_millis(2500));
    for pid in [worker, server.pid()] {
        send(pid, Signal::SIGCONT);
    }
    let answer = client.response().expect(200);
    assert_eq!(answer.text(), worker.to_string());
    assert_eq!(server.workers(1), [worker]);
    server.stop();
}
