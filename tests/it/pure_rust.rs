//! The examples without Python: the same arbiter, workers and protocol, and each layer by itself.

use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::{Client, Serve, eventually, send};

// Gunicorn: B11
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
    let worker: i32 = worker.trim().parse().expect("a process id");
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

// Gunicorn: B15
#[test]
fn reactor_serves_in_a_thread_of_a_plain_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let (input, theirs) = UnixStream::pair().expect("a pair of sockets");
    let process = Serve::example("mio_http")
        .args([format!("unix:{}", path.display())])
        .stdin(OwnedFd::from(theirs))
        .spawn();
    let mut client = eventually("nobody listens", || {
        UnixStream::connect(&path).ok().map(Client::unix)
    });
    assert_eq!(client.get("/").expect(200).text(), "hello\n");
    let echoed = client.post("/echo", b"sent back").expect(200);
    assert_eq!(echoed.text(), "sent back");
    client.get("/nope").expect(404);
    drop(input);
    client.expect_end();
    let exited = process.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(exited.last().ends_with("/nope 404"), "{exited:#?}");
}

#[test]
fn protocol_alone_answers_what_comes_from_anywhere() {
    let mut input = tempfile::tempfile().expect("a temporary file");
    input
        .write_all(
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
              HEAD /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\r\nHost : a\r\n\r\n",
        )
        .and_then(|()| input.rewind())
        .expect("it is written");
    let exited = Serve::example("parse_only").stdin(input).spawn().wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    let status = |line: &&String| line.starts_with("HTTP/1.1 ");
    let statuses: Vec<_> = exited
        .stdout
        .iter()
        .filter(status)
        .map(|line| line.trim_end())
        .collect();
    let expected = [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 400 Bad Request",
    ];
    assert_eq!(statuses, expected, "{exited:#?}");
    assert_eq!(
        exited
            .stdout
            .iter()
            .filter(|line| *line == "2 bytes")
            .count(),
        1
    );
    assert_eq!(exited.stderr[..2], ["POST /a Known(2)", "HEAD /b Empty"]);
}

#[test]
fn hooks_of_a_program_count_what_each_worker_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let bind = format!("unix:{}", path.display());
    let process = Serve::example("hooks").args([&bind]).spawn();
    let mut client = eventually("nobody listens", || {
        UnixStream::connect(&path).ok().map(Client::unix)
    });
    assert_eq!(client.get("/a").expect(200).text(), "GET /a\n");
    let refused = client
        .send("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")
        .response();
    assert_eq!(refused.status, 500);
    process.signal(Signal::SIGTERM);
    process.stdout.wait_for(&format!("listens at {bind}"));
    process
        .stdout
        .wait_for("has answered 2 requests with 7 bytes");
    process
        .stdout
        .wait_for("TRACE / failed: the hook pre_request failed: TRACE is not answered");
    assert_eq!(process.wait().status, 0);
}

#[test]
fn a_program_with_threads_serves_until_it_has_enough() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let (input, theirs) = UnixStream::pair().expect("a pair of sockets");
    let process = Serve::example("in_process")
        .args([format!("unix:{}", path.display())])
        .stdin(OwnedFd::from(theirs))
        .spawn();
    process.stdout.wait_for("listening at unix:");
    let mut client = Client::unix(UnixStream::connect(&path).expect("it listens"));
    let page = client.get("/").expect(200);
    page.text().trim().parse::<u64>().expect("the count");
    drop(input);
    process.stdout.wait_for("answered 1 requests");
    let exited = process.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(!path.exists(), "the socket file is left");
}
