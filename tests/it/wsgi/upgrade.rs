//! USR2: one server after another, with no request lost.

use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{Serve, eventually, send};

// Gunicorn: G26
#[test]
fn an_upgrade_under_requests_loses_none_of_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let server = Serve::app("probe:app")
        .bind([
            "127.0.0.1:0".to_owned(),
            format!("unix:{}", at("sock").display()),
        ])
        .args(["--pid".as_ref(), at("pid").as_os_str()])
        .args(["--access-logfile".as_ref(), at("log").as_os_str()])
        .workers(2)
        .start();
    let mut requests = 0;
    let mut ask = || {
        for address in &server.addresses {
            address.client().get("/pid").expect(200);
            requests += 1;
        }
    };
    let mut ask_until = |text: &str| {
        eventually(text, || {
            ask();
            server.stderr().contain(text).then_some(())
        });
    };
    server.signal(Signal::SIGUSR2);
    ask_until(") serves: stop this one");
    server.signal(Signal::SIGTERM);
    ask_until("Master has been promoted.");
    for _ in 0..10 {
        ask();
    }
    let pid = fs::read_to_string(at("pid")).expect("the new server's");
    let pid = Pid::from_raw(pid.trim().parse().expect("a process id"));
    assert_ne!(pid, server.pid());
    assert!(!at("pid.2").exists());
    send(pid, Signal::SIGTERM);
    let exited = server.wait_for_orphans();
    assert_eq!(exited.status, 0, "{exited:#?}");
    // Both have written to it.
    let log = fs::read_to_string(at("log")).expect("the access log");
    assert_eq!(log.lines().count(), requests);
    assert!(!at("sock").exists() && !at("pid").exists());
}

#[test]
fn a_killed_successor_leaves_no_file_and_the_server_hears_of_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let server = Serve::app("probe:app")
        .args(["--pid".as_ref(), at("pid").as_os_str()])
        .workers(1)
        .start();
    let told = |text: &str| eventually(text, || server.stderr().contain(text).then_some(()));
    server.signal(Signal::SIGUSR2);
    told(") serves: stop this one");
    server.signal(Signal::SIGWINCH);
    told("Handling signal: winch");
    let second = fs::read_to_string(at("pid.2")).expect("the new server's");
    let second = Pid::from_raw(second.trim().parse().expect("a process id"));
    send(second, Signal::SIGKILL);
    told("was sent SIGKILL, and this one has no workers: HUP or TTIN brings them back");
    assert!(at("pid").exists() && !at("pid.2").exists());
    server.signal(Signal::SIGHUP);
    server.get("/pid").expect(200);
    assert_eq!(server.stop().status, 0);
}
