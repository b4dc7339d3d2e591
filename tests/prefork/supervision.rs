//! The arbiter and its workers: number, readiness, death, silence, stopping.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::server::{Server, exists, send};
use crate::support::wait_until;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    workers_start_and_become_ready,
    a_killed_worker_is_replaced_within_a_second,
    workers_that_die_early_repeatedly_are_replaced_all_the_same,
    term_lets_the_workers_finish,
    a_worker_that_stays_is_killed_after_graceful_timeout,
    int_ends_stubborn_workers_within_three_seconds,
    int_during_a_graceful_stop_makes_it_quick,
    hup_puts_new_workers_in_the_place_of_all,
    a_worker_that_is_worn_as_soon_as_it_is_ready_is_replaced,
    a_worker_that_was_ready_before_a_command_counts_for_it,
    winch_sends_all_workers_away_until_one_is_asked_for,
    ttin_and_ttou_change_the_number_of_workers_but_never_to_none,
    a_silent_worker_is_aborted_replaced_and_its_request_named,
    a_boot_failure_of_four_workers_is_one_sentence_and_status_3,
    an_application_that_is_not_found_is_status_4,
    a_panic_at_boot_is_a_boot_failure,
    a_worker_that_leaves_before_it_is_ready_has_failed_to_boot,
    a_worker_that_is_never_ready_fails_the_start,
    a_failure_after_ready_is_no_boot_failure,
    a_later_boot_failure_is_retried_beside_a_healthy_worker,
    a_worker_that_leaves_with_status_0_before_ready_is_logged,
    a_worker_that_is_not_ready_leaves_at_once_when_it_is_told_to,
    other_signals_kill_nobody,
    workers_leave_when_their_arbiter_is_killed,
    a_busy_orphan_closes_its_listeners_and_has_the_grace_period,
];

// Gunicorn: G32, B11
fn workers_start_and_become_ready() {
    let mut server = Server::started(&["steady", "--workers", "3"], 3);
    assert!(server.wait_for_line("ready 3").starts_with("ready 3"));
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    if cfg!(feature = "tracing") {
        for line in [
            "Starting oxicorn ",
            "Booting worker with pid: ",
            "Handling signal: term",
            "Worker exiting (pid: ",
            "Shutting down: Master",
        ] {
            assert!(ended.log().contains(line), "{line}: {}", ended.log());
        }
    }
}

fn a_killed_worker_is_replaced_within_a_second() {
    let mut server = Server::started(&["steady"], 2);
    let before = server.workers();
    send(before[0], Signal::SIGKILL);
    let start = MonoTime::now();
    server.wait_for_line("ready 3");
    assert!(MonoTime::now().since(start) < Duration::from_secs(1));
    server.wait_for_workers(2);
    assert!(server.workers().contains(&before[1]));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: G43
fn workers_that_die_early_repeatedly_are_replaced_all_the_same() {
    let mut server = Server::started(&["steady"], 2);
    for _ in 0..5 {
        send(server.workers()[0], Signal::SIGKILL);
        server.wait_for_line("exited");
        server.wait_for_workers(2);
    }
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait_for_end().status, 0);
}

fn term_lets_the_workers_finish() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pid, socket) = (folder.path().join("pid"), folder.path().join("sock"));
    let bind = format!("unix:{}", socket.display());
    let path = pid.display().to_string();
    let server = Server::started(&["slow", "--pid", &path, "--bind", &bind], 2);
    assert!(socket.exists());
    assert_eq!(
        fs::read_to_string(&pid).ok(),
        Some(format!("{}\n", server.pid()))
    );
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let finished = ended
        .stdout
        .iter()
        .filter(|line| line.starts_with("finished"));
    assert_eq!(finished.count(), 2, "{ended:?}");
    assert!(!socket.exists() && !pid.exists());
}

// Gunicorn: S12
fn a_worker_that_stays_is_killed_after_graceful_timeout() {
    let server = Server::started(&["stubborn", "--graceful-timeout", "300"], 2);
    let start = MonoTime::now();
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let took = MonoTime::now().since(start);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

// Gunicorn: G2
fn int_ends_stubborn_workers_within_three_seconds() {
    let server = Server::started(&["stubborn"], 2);
    let start = MonoTime::now();
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait_for_end().status, 0);
    assert!(MonoTime::now().since(start) < Duration::from_secs(3));
}

// Gunicorn: G3
fn int_during_a_graceful_stop_makes_it_quick() {
    let mut server = Server::started(&["holds-on"], 2);
    server.signal(Signal::SIGTERM);
    server.wait_for_line("held 1");
    server.wait_for_line("held 2");
    let start = MonoTime::now();
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGQUIT);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(MonoTime::now().since(start) < Duration::from_secs(2));
}

// Gunicorn: G6
fn ttin_and_ttou_change_the_number_of_workers_but_never_to_none() {
    let mut server = Server::started(&["steady", "--workers", "1"], 1);
    server.signal(Signal::SIGTTIN);
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(3);
    let youngest = *server.workers().last().expect("three");
    for _ in 0..5 {
        server.signal(Signal::SIGTTOU);
    }
    // The oldest leave.
    server.wait_for_line("exited 1");
    server.wait_for_line("exited 2");
    server.wait_for_workers(1);
    assert_eq!(server.workers(), [youngest]);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(
        !ended
            .stdout
            .iter()
            .any(|line| line.starts_with("spawned 4"))
    );
}

fn a_silent_worker_is_aborted_replaced_and_its_request_named() {
    let mut server = Server::started(&["silent", "--timeout", "1000"], 2);
    let hung = server.wait_for_line("ready 1");
    let exited = server.wait_for_line("exited 1");
    assert!(exited.contains("signal: 6"), "{hung}, {exited}");
    server.wait_for_line("ready 3");
    server.wait_for_workers(2);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    if cfg!(feature = "tracing") {
        assert!(
            ended.log().contains("WORKER TIMEOUT (pid:"),
            "{}",
            ended.log()
        );
        assert!(
            ended.log().contains("in POST /slow?x=1 for "),
            "{}",
            ended.log()
        );
        assert!(!ended.log().contains("memory"), "{}", ended.log());
    }
}

// Gunicorn: G39
fn a_boot_failure_of_four_workers_is_one_sentence_and_status_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pid, socket) = (folder.path().join("pid"), folder.path().join("sock"));
    let bind = format!("unix:{}", socket.display());
    let path = pid.display().to_string();
    let role = [
        "boot-failure",
        "--workers",
        "4",
        "--pid",
        &path,
        "--bind",
        &bind,
    ];
    let ended = Server::start(&role).wait_for_end();
    assert_eq!(ended.status, 3, "{ended:?}");
    let last = Some(ended.last());
    assert_eq!(
        last,
        Some("Error: no module named 'shop' (shop.py, line 1)")
    );
    let spawned = ended.stdout.iter().filter(|line| line.contains("spawned "));
    assert_eq!(spawned.count(), 4, "no respawn: {ended:?}");
    assert!(!socket.exists() && !pid.exists());
}

fn an_application_that_is_not_found_is_status_4() {
    let ended = Server::start(&["app-failure", "--workers", "4"]).wait_for_end();
    assert_eq!(ended.status, 4, "{ended:?}");
    let last = Some(ended.last());
    assert_eq!(last, Some("Error: module 'shop' has no attribute 'app'"));
}

fn a_panic_at_boot_is_a_boot_failure() {
    let ended = Server::start(&["panic"]).wait_for_end();
    assert_eq!(ended.status, 3, "{ended:?}");
    let last = Some(ended.last());
    assert_eq!(last, Some("Error: the worker panicked: at the disco"));
}

fn a_worker_that_leaves_before_it_is_ready_has_failed_to_boot() {
    let ended = Server::start(&["returns-unready"]).wait_for_end();
    assert_eq!(ended.status, 3, "{ended:?}");
    let last = Some(ended.last());
    assert_eq!(
        last,
        Some("Error: a worker exited with code 0 before it was ready")
    );
}

// Gunicorn: G49
fn a_worker_that_is_never_ready_fails_the_start() {
    let ended = Server::start(&["hangs-in-boot", "--boot-timeout", "300"]).wait_for_end();
    assert_eq!(ended.status, 3, "{ended:?}");
    let last = Some(ended.last());
    assert_eq!(last, Some("Error: a worker was not ready within 0.3 s"));
}

// Gunicorn: G36
fn a_failure_after_ready_is_no_boot_failure() {
    let mut server = Server::start(&["fails-late"]);
    let exited = server.wait_for_line("exited 1");
    assert!(exited.ends_with("exit status: 255"), "{exited}");
    server.wait_for_line("ready 3");
    server.wait_for_workers(2);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    if cfg!(feature = "tracing") {
        assert!(
            ended.log().contains("exited with code 255: it broke later"),
            "{}",
            ended.log()
        );
    }
}

// Gunicorn: G43
fn a_later_boot_failure_is_retried_beside_a_healthy_worker() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = folder.path().join("flag");
    let path = flag.display().to_string();
    let mut server = Server::started(&["fails-with-flag", "--flag", &path], 2);
    let before = server.workers();
    fs::write(&flag, "").expect("a flag");
    send(before[0], Signal::SIGKILL);
    // At once, then after 0.25 s and 0.5 s.
    for id in 3..=5 {
        let exited = server.wait_for_line(&format!("exited {id}"));
        assert!(exited.ends_with("exit status: 3"), "{exited}");
    }
    assert!(exists(before[1]));
    fs::remove_file(&flag).expect("the flag");
    server.wait_for_workers(2);
    assert!(server.workers().contains(&before[1]));
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    if cfg!(feature = "tracing") {
        let line = "exited with code 3: the flag is up; the next attempt follows in 0.5 s";
        assert!(ended.log().contains(line), "{}", ended.log());
    }
}

fn a_worker_that_leaves_with_status_0_before_ready_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = folder.path().join("flag");
    let path = flag.display().to_string();
    let mut server = Server::started(&["leaves-with-flag", "--flag", &path], 2);
    fs::write(&flag, "").expect("a flag");
    send(server.workers()[0], Signal::SIGKILL);
    for id in 3..=4 {
        let exited = server.wait_for_line(&format!("exited {id}"));
        assert!(exited.ends_with("exit status: 0"), "{exited}");
    }
    fs::remove_file(&flag).expect("the flag");
    server.wait_for_workers(2);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    if cfg!(feature = "tracing") {
        let told = |line: &str| {
            let line = line.contains("WARN").then_some(line);
            line.is_some_and(|line| {
                line.contains("exited with code 0; the next attempt follows in 0.25 s")
            })
        };
        assert!(ended.log().lines().any(told), "{}", ended.log());
    }
}

// Gunicorn: G12
fn a_worker_that_is_not_ready_leaves_at_once_when_it_is_told_to() {
    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        let folder = tempfile::tempdir().expect("a folder");
        let flag = folder.path().join("flag");
        let path = flag.display().to_string();
        let mut server = Server::started(&["hangs-with-flag", "--flag", &path], 2);
        fs::write(&flag, "").expect("a flag");
        send(server.workers()[0], Signal::SIGKILL);
        let spawned = |server: &mut Server, id: u64| -> i32 {
            let line = server.wait_for_line(&format!("spawned {id} "));
            let pid = line.rsplit(' ').next().and_then(|pid| pid.parse().ok());
            pid.expect("a process id")
        };
        for (id, signal) in (3..).zip([Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT]) {
            send(spawned(&mut server, id), signal);
            let exited = server.wait_for_line(&format!("exited {id}"));
            assert!(exited.ends_with("signal: 15 (SIGTERM)"), "{exited}");
        }
        let booting = spawned(&mut server, 6);
        server.signal(end);
        let ended = server.wait_for_end();
        if end == Signal::SIGTERM {
            assert_eq!(ended.status, 0, "{ended:?}");
        }
        wait_until("the end of a worker that boots", || !exists(booting));
    }
}

// Gunicorn: G4
fn hup_puts_new_workers_in_the_place_of_all() {
    let mut server = Server::started(&["steady"], 2);
    let before = server.workers();
    server.signal(Signal::SIGHUP);
    for line in ["ready 3", "ready 4", "exited 1", "exited 2"] {
        server.wait_for_line(line);
    }
    let now = server.workers();
    assert!(now.len() == 2 && now.iter().all(|worker| !before.contains(worker)));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: S9
fn a_worker_that_is_worn_as_soon_as_it_is_ready_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = folder.path().join("flag").display().to_string();
    let options = ["worn-at-once", "--workers", "1", "--flag", &flag];
    let mut server = Server::start(&options);
    for line in ["ready 2", "exited 1"] {
        server.wait_for_line(line);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: G6
fn a_worker_that_was_ready_before_a_command_counts_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = folder.path().join("flag").display().to_string();
    let options = ["shrinks-at-once", "--workers", "1", "--flag", &flag];
    let mut server = Server::started(&options, 1);
    server.signal(Signal::SIGTTIN);
    // The oldest goes. Would the second one not count as ready, it would go.
    assert!(server.wait_for_line("exited").starts_with("exited 1 "));
    server.wait_for_workers(1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: G9
fn winch_sends_all_workers_away_until_one_is_asked_for() {
    let mut server = Server::started(&["steady"], 2);
    server.signal(Signal::SIGWINCH);
    server.wait_for_workers(0);
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(1);
    server.signal(Signal::SIGHUP);
    server.wait_for_workers(2);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: G16
fn other_signals_kill_nobody() {
    let mut server = Server::started(&["steady"], 2);
    let before = server.workers();
    for signal in [Signal::SIGUSR1, Signal::SIGCHLD, Signal::SIGPIPE] {
        server.signal(signal);
    }
    let others = [
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGWINCH,
        Signal::SIGTTIN,
        Signal::SIGPIPE,
    ];
    for signal in others {
        for worker in &before {
            send(*worker, signal);
        }
    }
    // It is handled after them, so they were survived.
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(3);
    assert!(
        before
            .iter()
            .all(|worker| server.workers().contains(worker))
    );
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

fn workers_leave_when_their_arbiter_is_killed() {
    let server = Server::started(&["steady"], 2);
    let workers = server.workers();
    send(server.pid(), Signal::SIGKILL);
    for worker in workers {
        wait_until("the orphan's end", || !exists(worker));
    }
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 128 + 9, "{ended:?}");
}

// Gunicorn: G54
fn a_busy_orphan_closes_its_listeners_and_has_the_grace_period() {
    let options = ["--bind", "127.0.0.1:0", "--workers", "1"];
    let times = ["--timeout", "60000", "--graceful-timeout", "5000"];
    let mut server = Server::started(&[&["silent"], &options[..], &times[..]].concat(), 1);
    let worker = server.workers()[0];
    let address = server.address();
    assert!(TcpStream::connect(address).is_ok());
    let start = MonoTime::now();
    send(server.pid(), Signal::SIGKILL);
    wait_until("a refusal", || TcpStream::connect(address).is_err());
    assert!(
        exists(worker),
        "the port is closed since the worker has gone"
    );
    wait_until("the orphan's end", || !exists(worker));
    assert!(MonoTime::now().since(start) >= Duration::from_secs(5));
}
