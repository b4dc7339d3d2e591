//! `examples/prefork_pure_rust.rs`: the same arbiter, workers and protocol with no Python in the binary.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::{Client, Serve, eventually, send};

#[test]
fn server_without_python_serves_survives_a_kill_and_stops() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let bind = format!("unix:{}", path.display());
    let process = Serve::example("prefork_pure_rust").args([bind]).spawn();
    let connect = || {
        eventually("nobody listens", || {
            UnixStream::connect(&path).ok().map(Client::unix)
        })
    };

    let mut client = connect();
    let page = client.get("/").expect(200);
    let worker = page.text().strip_prefix("worker ").expect("its process id");
    let worker = worker.trim().parse().expect("a process id");
    let echoed = client.post("/echo", b"sent back in pieces").expect(200);
    assert_eq!(echoed.header("transfer-encoding"), Some("chunked"));
    assert_eq!(echoed.text(), "sent back in pieces");
    client.get("/nope").expect(404);
    drop(client);

    let before: BTreeSet<_> = eventually("there are not four workers", || {
        Some(process.others()).filter(|workers| workers.len() == 4)
    })
    .into_iter()
    .collect();
    let killed = *before
        .iter()
        .find(|pid| pid.as_raw() == worker)
        .expect("a worker has answered");
    send(killed, Signal::SIGKILL);
    eventually("the worker is not replaced", || {
        let workers: BTreeSet<_> = process.others().into_iter().collect();
        (workers.len() == 4 && !workers.contains(&killed)).then_some(())
    });
    connect().get("/").expect(200);

    process.signal(Signal::SIGTERM);
    let exited = process.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(!path.exists(), "the socket file is left");
}
