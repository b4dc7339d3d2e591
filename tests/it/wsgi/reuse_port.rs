//! Workers that each listen by themselves (`--reuse-port`).

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{Address, Client, Gate, Serve, Server, eventually, root, send, suspend};

fn serve() -> Serve {
    Serve::app("probe:app").args(["--reuse-port"])
}

/// Waits until so many sockets listen on the server's port, and tells their inodes.
#[track_caller]
fn queues(server: &Server, count: usize) -> BTreeSet<String> {
    match server.address() {
        Address::Tcp(address) => listening(address.port(), count),
        Address::Unix(path) => panic!("{} has no port", path.display()),
    }
}

/// Waits until so many sockets listen on a port (`proc_pid_net(5)`), and tells their inodes.
#[track_caller]
fn listening(port: u16, count: usize) -> BTreeSet<String> {
    let port = format!(":{port:04X}");
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

/// One whose call lasts until the second of these is dropped, and one that waits for the same worker.
fn two_clients(server: &Server) -> (Client, impl Sized + use<>, Client) {
    let gate = Gate::new();
    let mut held = server.client();
    ask(&mut held, &gate.at("/hold"));
    let arrived = gate.arrival();
    let mut waiting = server.client();
    ask(&mut waiting, "/pid");
    (held, (arrived, gate), waiting)
}

// Gunicorn: S30
#[test]
fn workers_listen_each_by_itself_at_the_logged_address() {
    for threads in ["1", "2"] {
        let server = serve().workers(2).args(["--threads", threads]).start();
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

// Gunicorn: S30
#[test]
fn queue_of_a_replaced_worker_is_served_by_its_replacement() {
    let server = serve().start();
    let before = server.workers(1);
    let queue = queues(&server, 1);
    let (mut held, arrived, mut waiting) = two_clients(&server);
    server.signal(Signal::SIGHUP);
    // The old one is in its call still.
    let answer = waiting.response();
    assert_ne!(answer.expect(200).text(), before[0].to_string());
    assert_eq!(queues(&server, 1), queue);
    drop(arrived);
    held.response().expect(200);
    let after = server.workers(1)[0].to_string();
    assert_eq!(server.get("/pid").expect(200).text(), after);
    assert_eq!(queues(&server, 1), queue);
    server.stop();
}

// Gunicorn: S30
#[test]
fn queue_of_a_killed_worker_is_served_by_its_replacement() {
    let server = serve().start();
    let before = server.workers(1);
    let queue = queues(&server, 1);
    let (_held, _arrived, mut waiting) = two_clients(&server);
    send(before[0], Signal::SIGKILL);
    let answer = waiting.response();
    let after = server.workers(1)[0];
    assert_eq!(answer.expect(200).text(), after.to_string());
    assert_eq!(queues(&server, 1), queue);
    server.stop();
}

// Gunicorn: S30
#[test]
fn queues_pass_between_workers_over_reloads_and_recycling() {
    let server = serve().workers(3).args(["--max-requests", "20"]).start();
    server.workers(3);
    let queue = queues(&server, 3);
    let mut seen = BTreeSet::new();
    for reload in 1..=3 {
        server.signal(Signal::SIGHUP);
        eventually("the workers are not others", || {
            seen.insert(server.get("/pid").expect(200).text().to_owned());
            (seen.len() > 5 * reload).then_some(())
        });
    }
    assert_eq!(queues(&server, 3), queue);
    server.stop();
}

// Gunicorn: S30
#[test]
fn queue_of_a_stopped_worker_is_served_by_it() {
    let server = serve().start();
    let worker = server.workers(1)[0];
    queues(&server, 1);
    let (mut held, arrived, mut waiting) = two_clients(&server);
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("Handling signal: term");
    drop(arrived);
    held.response().expect(200);
    let answer = waiting.response();
    assert_eq!(answer.expect(200).text(), worker.to_string());
    server.wait();
}

// Gunicorn: S30
#[test]
fn queues_go_to_the_next_arbiters_workers_and_lose_no_client() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pid");
    let server = serve()
        .workers(2)
        .args(["--pid".as_ref(), file.as_os_str()])
        .start();
    let before = server.workers(2);
    let queue = queues(&server, 2);
    server.signal(Signal::SIGUSR2);
    server.stderr().wait_for(") serves: stop this one");
    let workers = server.workers(4);
    assert_eq!(queues(&server, 2), queue);
    // The old ones are busy, all of them.
    for worker in &before {
        suspend(*worker);
    }
    let mut answered = BTreeSet::new();
    eventually("a new worker does not answer", || {
        answered.insert(server.get("/pid").expect(200).text().to_owned());
        (answered.len() == 2).then_some(())
    });
    let new = workers.iter().filter(|worker| !before.contains(worker));
    assert_eq!(answered, new.map(ToString::to_string).collect());
    for worker in &before {
        send(*worker, Signal::SIGCONT);
    }
    server.signal(Signal::SIGTERM);
    eventually("it is not promoted", || {
        server.get("/pid").expect(200);
        let lines = server.stderr();
        lines.contain("Master has been promoted.").then_some(())
    });
    assert_eq!(queues(&server, 2), queue);
    let pid = fs::read_to_string(&file).expect("the new server's");
    send(
        Pid::from_raw(pid.trim().parse().expect("a process id")),
        Signal::SIGTERM,
    );
    let exited = server.wait_for_orphans();
    assert_eq!(exited.status, 0, "{exited:#?}");
}

// Gunicorn: S30
#[test]
fn an_inherited_socket_is_shared_beside_queues_of_one_worker() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let given = socket.local_addr().expect("it is bound");
    let server = Serve::command_line(["--bind", "127.0.0.1:0", "--workers", "2", "--reuse-port"])
        .chdir(root().join("tests/apps"))
        .args(["probe:app"])
        .after("exec 3<&0 && export LISTEN_PID=$$ LISTEN_FDS=1")
        .stdin(OwnedFd::from(socket))
        .start();
    assert_eq!(server.addresses.len(), 2);
    server
        .stderr()
        .wait_for("reuse_port has no effect on inherited sockets");
    server.workers(2);
    listening(given.port(), 1);
    let Address::Tcp(own) = server.addresses[1] else {
        panic!("{:?} is no TCP address", server.addresses[1]);
    };
    listening(own.port(), 2);
    for address in &server.addresses {
        address.client().get("/pid").expect(200);
    }
    server.stop();
}

// Gunicorn: S30
#[test]
fn workers_of_another_user_have_queues_the_arbiter_opened() {
    if !nix::unistd::geteuid().is_root() {
        println!("only root can become somebody else");
        return;
    }
    // Preloaded, since neither this folder nor the Python of this machine may be anything that everybody can read.
    let server = serve()
        .workers(2)
        .args(["--preload", "--user", "65534"])
        .start();
    let before = server.workers(2);
    let queue = queues(&server, 2);
    server.signal(Signal::SIGHUP);
    eventually("the workers are not others", || {
        let after = server.workers(2);
        let others = after.iter().all(|worker| !before.contains(worker));
        others.then_some(())
    });
    for worker in server.workers(2) {
        let facts = fs::metadata(format!("/proc/{worker}")).expect("it lives");
        assert_eq!(facts.uid(), 65534);
    }
    assert_eq!(queues(&server, 2), queue);
    server.get("/pid").expect(200);
    server.stop();
}
