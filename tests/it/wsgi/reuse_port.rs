//! Workers that each listen by themselves (`--reuse-port`).

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Address, Client, Gate, Serve, Server, eventually};

fn serve() -> Serve {
    Serve::app("probe:app").args(["--reuse-port"])
}

fn port(server: &Server) -> u16 {
    match server.address() {
        Address::Tcp(address) => address.port(),
        Address::Unix(path) => panic!("{} has no port", path.display()),
    }
}

/// Waits until so many sockets listen on the server's port (`proc_pid_net(5)`), and tells their inodes.
#[track_caller]
fn queues(server: &Server, count: usize) -> BTreeSet<String> {
    let port = format!(":{:04X}", port(server));
    let listening = || -> BTreeSet<String> {
        let table = fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
        table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| words[1].ends_with(&port) && words[3] == "0A")
            .map(|words| words[9].to_owned())
            .collect()
    };
    eventually(&format!("not {count} queues"), || {
        Some(listening()).filter(|found| found.len() == count)
    })
}

fn ask(client: &mut Client, target: &str) {
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
}

#[test]
fn each_worker_listens_by_itself_at_the_address_in_the_log_and_all_of_them_answer() {
    for threads in ["1", "2"] {
        let server = serve().workers(2).args(["--threads", threads]).start();
        assert_ne!(port(&server), 0);
        let workers = server.workers(2);
        let workers: BTreeSet<String> = workers.iter().map(ToString::to_string).collect();
        queues(&server, 2);
        let mut answered = BTreeSet::new();
        eventually("a worker does not answer", || {
            answered.insert(server.get("/pid").expect(200).text().to_owned());
            (answered == workers).then_some(())
        });
        server.stop();
    }
}

#[test]
fn who_waits_in_the_queue_of_a_worker_that_is_replaced_or_stopped_is_answered_by_it() {
    for signal in [Signal::SIGHUP, Signal::SIGTERM] {
        let server = serve().start();
        let before = server.workers(1);
        let queue = queues(&server, 1);
        let gate = Gate::new();
        let mut held = server.client();
        ask(&mut held, &gate.at("/hold"));
        let arrived = gate.arrival();
        let mut waiting = server.client();
        ask(&mut waiting, "/pid");
        server.signal(signal);
        if signal == Signal::SIGHUP {
            assert!(queues(&server, 2).is_superset(&queue));
        } else {
            server.stderr().wait_for("Handling signal: term");
        }
        drop(arrived);
        held.response().expect(200);
        let answer = waiting.response();
        assert_eq!(answer.expect(200).text(), before[0].to_string());
        if signal == Signal::SIGHUP {
            assert!(queues(&server, 1).is_disjoint(&queue));
            let after = server.workers(1)[0].to_string();
            assert_eq!(server.get("/pid").expect(200).text(), after);
            server.stop();
        } else {
            server.wait();
        }
    }
}
