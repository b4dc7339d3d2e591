//! Workers that are replaced while the server runs: by HUP, or because they have served for long enough.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, ttyname};
use oxicorn::time::MonoTime;

use crate::support::{Address, Gate, Serve, Server, eventually};

/// A server with an application that a test can spoil and mend; none of it is compiled ahead.
fn serve(folder: &Path) -> Serve {
    write(folder, GOOD);
    Serve::app("shop:app")
        .args(["--pythonpath".as_ref(), folder.as_os_str()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

const GOOD: &str = "from probe import app\n";

fn write(folder: &Path, code: &str) {
    fs::write(folder.join("shop.py"), code).expect("the folder is writable");
}

/// Waits until no worker of `before` is left, and as many others are there.
#[track_caller]
fn renewed(server: &Server, before: &[Pid]) -> Vec<Pid> {
    eventually("the workers are not replaced", || {
        let now = server.workers(before.len());
        now.iter().all(|pid| !before.contains(pid)).then_some(now)
    })
}

#[track_caller]
fn answering(server: &Server) -> Pid {
    let answer = server.get("/pid");
    let pid = answer.expect(200).text().parse();
    Pid::from_raw(pid.expect("a process id"))
}

// Gunicorn: HUP10
#[test]
fn reload_that_fails_is_one_line_and_costs_no_worker() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = serve(folder.path()).start();
    let before = server.workers(1);
    answering(&server);
    write(folder.path(), "app = (\n");
    server.signal(Signal::SIGHUP);
    let line = server.stderr().wait_for("Reload failed");
    assert!(line.contains("[ERROR]"), "{line}");
    assert!(line.contains("syntax error in ") && line.contains("shop.py line 1"));
    assert_eq!(answering(&server), before[0]);
    assert_eq!(server.workers(1), before);
    write(folder.path(), "from probe import app  # mended\n");
    server.signal(Signal::SIGHUP);
    let after = renewed(&server, &before);
    assert_eq!(answering(&server), after[0]);
    let exited = server.stop();
    let failed = exited.stderr.iter().filter(|l| l.contains("Reload failed"));
    assert_eq!(failed.count(), 1, "{exited:#?}");
}

// Gunicorn: HUP7, HUP8
#[test]
fn during_a_reload_the_old_worker_serves_and_signals_work() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = serve(folder.path()).start();
    let before = server.workers(1);
    answering(&server);
    let gate = Gate::new();
    let path = gate.path();
    write(
        folder.path(),
        &format!("open({path:?}).read()\nfrom probe import app\n"),
    );
    server.signal(Signal::SIGHUP);
    // The new worker imports, and will until the test lets it.
    let arrived = gate.arrival();
    assert_eq!(answering(&server), before[0]);
    write(folder.path(), GOOD);
    let start = MonoTime::now();
    server.signal(Signal::SIGTTIN);
    server.workers(3);
    let took = MonoTime::now().since(start);
    assert!(took < Duration::from_secs(2), "TTIN took {took:?}");
    drop(arrived);
    eventually("the old worker stays", || {
        (!server.workers(2).contains(&before[0])).then_some(())
    });
    server.stop();
}

// Gunicorn: HUP9, S12
#[test]
fn request_past_the_graceful_timeout_is_cut_by_a_reload_too() {
    let server = Serve::app("probe:app")
        .args(["--graceful-timeout", "1"])
        .start();
    let before = server.workers(1);
    let gate = Gate::new();
    let mut client = server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let arrived = gate.arrival();
    server.signal(Signal::SIGHUP);
    server.stderr().wait_for("Killing worker");
    renewed(&server, &before);
    client.expect_end();
    drop(arrived);
    server.stop();
}

// Gunicorn: S9, S10
#[test]
fn worker_is_replaced_after_max_requests_with_jitter() {
    let server = Serve::app("probe:app")
        .args(["--max-requests", "5", "--max-requests-jitter", "3"])
        .start();
    let before = server.workers(1);
    let mut client = server.client();
    for _ in 0..5 {
        client.get("/pid").expect(200);
    }
    // Who has answered enough goes on until another one is ready: nobody is turned away.
    let line = eventually("it is never worn", || {
        server.get("/pid").expect(200);
        let all = server.stderr().all();
        all.into_iter().find(|line| line.contains("has answered"))
    });
    let words: Vec<_> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "answered");
    let count = at.and_then(|at| words[at + 1].parse::<u32>().ok());
    assert!(
        count.is_some_and(|count| (5..=8).contains(&count)),
        "{line}"
    );
    eventually("it stays", || {
        (answering(&server) != before[0]).then_some(())
    });
    server.stop();
}

/// Drawn from a million, it is next to never less than twenty.
// Gunicorn: S10
#[test]
fn jitter_lets_a_worker_answer_more_than_max_requests() {
    let server = Serve::app("probe:app")
        .args(["--max-requests", "1", "--max-requests-jitter", "1000000"])
        .start();
    let mut client = server.client();
    let first = client.get("/pid").expect(200).text().to_owned();
    for _ in 0..20 {
        assert_eq!(client.get("/pid").expect(200).text(), first);
    }
    let exited = server.stop();
    assert!(!exited.log().contains("has answered"), "{exited:#?}");
}

#[test]
fn worker_of_great_age_or_memory_is_replaced_and_logged() {
    let cases = [
        ["--max-worker-age", "1", "s old, and is replaced"],
        [
            "--max-worker-memory",
            "1000000",
            "MiB of memory, and is replaced",
        ],
    ];
    for [flag, bound, sentence] in cases {
        let server = Serve::app("probe:app").args([flag, bound]).start();
        let before = server.workers(1);
        let line = server.stderr().wait_for(sentence);
        assert!(line.contains(&format!("(pid:{})", before[0])), "{line}");
        eventually("it stays", || {
            (answering(&server) != before[0]).then_some(())
        });
        server.stop();
    }
}

// Gunicorn: G9
#[test]
fn winch_stops_all_workers_and_the_queue_waits_for_hup() {
    let server = Serve::app("probe:app").workers(2).start();
    server.workers(2);
    server.signal(Signal::SIGWINCH);
    server.workers(0);
    let mut client = server.client();
    client.send("GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    server.signal(Signal::SIGHUP);
    client.response().expect(200);
    server.workers(2);
    server.stop();
}

// Gunicorn: G9
#[test]
fn winch_of_a_controlling_terminal_stops_no_worker() {
    let terminal = openpty(None, None).expect("a terminal");
    let path = ttyname(&terminal.slave).expect("its name");
    let server = Serve::app("probe:app")
        .args(["--log-level", "debug"])
        .at_terminal(path.clone())
        .start();
    let worker = server.workers(1);
    // A window that changes its size: the kernel sends WINCH to all that the terminal controls.
    let resized = Command::new("stty")
        .args([
            "-F".as_ref(),
            path.as_os_str(),
            "cols".as_ref(),
            "77".as_ref(),
        ])
        .status();
    assert!(resized.expect("stty(1)").success());
    let ignored = "Ignoring signal: winch, since a terminal controls";
    server.stderr().wait_for(ignored);
    server.get("/pid").expect(200);
    // That of an operator is the same to a process.
    server.signal(Signal::SIGWINCH);
    server.stderr().wait_until("a second one", |lines| {
        let lines = lines.iter().filter(|line| line.contains(ignored));
        (lines.count() == 2).then_some(())
    });
    assert_eq!(server.workers(1), worker);
    server.stop();
}

// Gunicorn: G1
#[test]
fn port_is_refused_soon_after_term_while_a_last_request_runs() {
    let server = Serve::app("probe:app").workers(2).start();
    let workers = server.workers(2);
    for worker in workers {
        eventually("it is not ready", || {
            (answering(&server) == worker).then_some(())
        });
    }
    let gate = Gate::new();
    let mut client = server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let arrived = gate.arrival();
    let address: Address = server.address().clone();
    let start = MonoTime::now();
    server.signal(Signal::SIGTERM);
    eventually("new connections are taken", || {
        address.try_client().is_none().then_some(())
    });
    let took = MonoTime::now().since(start);
    assert!(took < Duration::from_secs(1), "took {took:?}");
    drop(arrived);
    client.response().expect(200);
    assert_eq!(server.wait().status, 0);
}

// Gunicorn: G1
#[test]
fn idle_connections_delay_no_stop_and_the_port_is_free_at_once() {
    for threads in ["1", "4"] {
        let server = Serve::app("probe:app").args(["--threads", threads]).start();
        let mut idle: Vec<_> = (0..8).map(|_| server.client()).collect();
        for client in &mut idle {
            client.get("/pid").expect(200);
        }
        let Address::Tcp(address) = server.address().clone() else {
            panic!("it listens on a port")
        };
        let start = MonoTime::now();
        server.stop();
        let took = MonoTime::now().since(start);
        assert!(took < Duration::from_secs(3), "took {took:?}");
        let again = Serve::app("probe:app").bind([address.to_string()]).start();
        answering(&again);
        again.stop();
    }
}
