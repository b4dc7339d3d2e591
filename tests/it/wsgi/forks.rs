//! Children that an application forks: what they share with their worker is its worker's.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::support::{Address, Client, Gate, Serve, Server, eventually, send};

const THREADS: [&str; 2] = ["1", "2"];

fn serve(threads: &str, args: &[&str]) -> Server {
    Serve::app("forks:app")
        .args(["--threads", threads])
        .args(args)
        .start()
}

/// Has the application fork a child that stays.
fn child(client: &mut Client) -> Pid {
    let page = client.get("/stay").expect(200);
    Pid::from_raw(page.text().parse().expect("a process id"))
}

#[test]
fn connection_ends_for_its_client_while_a_child_has_it_too() {
    for threads in THREADS {
        let server = serve(threads, &["--keep-alive", "1"]);
        let (mut old, mut asking, mut kept) = (server.client(), server.client(), server.client());
        kept.get("/pid").expect(200);
        // All three are inherited.
        asking.send("GET /pid HTTP/1.1\r\n");
        old.send("GET /pid HTTP/1.0\r\n");
        let child = child(&mut server.client());
        old.send("\r\n").response().expect(200);
        old.expect_end();
        asking.send("Host: a\r\nConnection: close\r\n\r\n");
        asking.response().expect(200);
        asking.expect_end();
        // After its time.
        kept.expect_end();
        send(child, Signal::SIGKILL);
        server.stop();
    }
}

#[test]
fn connections_of_an_ending_worker_end_while_a_child_has_them() {
    for threads in THREADS {
        for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
            let server = serve(threads, &["--keep-alive", "60"]);
            let mut kept = server.client();
            kept.get("/pid").expect(200);
            let child = child(&mut server.client());
            send(server.workers(1)[0], signal);
            kept.expect_end();
            send(child, Signal::SIGKILL);
            server.stop();
        }
    }
}

#[test]
fn worker_that_abandons_calls_closes_its_idle_connections() {
    let server = serve("2", &["--keep-alive", "60"]);
    let mut kept = server.client();
    kept.get("/pid").expect(200);
    let child = child(&mut server.client());
    let gate = Gate::new();
    let mut held = server.client();
    held.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/stray")
    ));
    let _arrived = gate.arrival();
    send(server.workers(1)[0], Signal::SIGQUIT);
    kept.expect_end();
    send(child, Signal::SIGKILL);
    server.stop();
}

#[test]
fn child_that_comes_back_from_import_or_handler_serves_none() {
    for (at, status) in [
        ("import", ""),
        ("import", "5"),
        ("signal", ""),
        ("signal", "5"),
    ] {
        for threads in THREADS {
            comes_back(at, status, threads);
        }
    }
}

fn comes_back(at: &str, status: &str, threads: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("forks:app")
        .args(["--threads", threads])
        .env("FORK_AT", at)
        .env("STATUS", status)
        .env("FOLDER", folder.path())
        .start();
    server.get("/pid").expect(200);
    let worker = server.workers(1)[0];
    if at == "signal" {
        send(worker, Signal::SIGUSR2);
    }
    let ended = eventually("the child has not ended", || {
        let text = fs::read_to_string(folder.path().join(at)).ok()?;
        text.ends_with('\n').then_some(text)
    });
    let wanted = if status.is_empty() { "1" } else { status };
    assert_eq!(ended.trim(), wanted, "{at}, {threads}");
    let mut client = server.client();
    assert_eq!(client.get("/pid").text(), worker.to_string());
    drop(client);
    let log = server.stop().stderr.join("\n");
    assert!(log.contains("has forked, came back from it"), "{log}");
}

#[test]
fn child_that_comes_back_from_preloading_is_no_second_arbiter() {
    for (status, wanted) in [("", "1"), ("5", "5")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Serve::app("forks:app")
            .args(["--preload"])
            .env("FORK_AT", "import")
            .env("STATUS", status)
            .env("FOLDER", folder.path())
            .start();
        server.get("/pid").expect(200);
        let ended = fs::read_to_string(folder.path().join("import")).expect("it has ended");
        assert_eq!(ended.trim(), wanted);
        server.stop();
    }
}

#[test]
fn signals_for_a_worker_mean_nothing_to_its_child() {
    for threads in THREADS {
        let server = serve(threads, &[]);
        let worker = server.workers(1);
        assert_eq!(server.get("/orders").expect(200).text(), "-15");
        assert_eq!(server.get("/pid").expect(200).text(), worker[0].to_string());
        assert_eq!(server.workers(1), worker);
        let exited = server.stop();
        let exits = exited.stderr.iter();
        let exits = exits.filter(|line| line.contains("Worker exiting"));
        assert_eq!(exits.count(), 1, "{exited:#?}");
    }
}

/// A pipe for the errors of a server that nobody reads yet.
fn unread(path: &std::path::Path) -> File {
    nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("a named pipe");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let pipe = options.open(path).expect("it is there");
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).expect("a page");
    pipe
}

/// Whether a thread of a process waits for its standard error to take something (`proc_pid_syscall(5)`).
fn waits_for_its_log(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    tasks.flatten().any(|task| {
        let call = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        call.starts_with(&format!("{} 0x2 ", libc::SYS_write))
    })
}

#[test]
fn child_forked_while_another_thread_logs_can_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let mut pipe = unread(&path("errors"));
    let server = Serve::app("forks:app")
        .args(["--threads", "2"])
        .bind([format!("unix:{}", path("socket").display())])
        .after(&format!("exec 2>{}", path("errors").display()))
        .spawn();
    let address = Address::Unix(path("socket"));
    eventually("a socket that listens", || address.try_client().map(drop));
    let mut client = address.client();
    let page = client.get("/pid").expect(200);
    let worker = Pid::from_raw(page.text().parse().expect("a process id"));
    let gate = Gate::new();
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", gate.at("/stray"));
    client.send(request);
    let arrived = gate.arrival();
    // The thread that leads says of each that it is none, until it has to wait.
    let mut refused = Vec::new();
    eventually("the pipe is not full", || {
        let mut client = address.client();
        let _ = client.try_send("no request\r\n\r\n");
        refused.push(client);
        waits_for_its_log(worker).then_some(())
    });
    drop(arrived);
    eventually("no child", || {
        let children = format!("/proc/{worker}/task");
        let tasks = fs::read_dir(children).ok()?;
        let mut lists = tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        lists.any(|list| !list.trim().is_empty()).then_some(())
    });
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("an open pipe");
    std::thread::spawn(move || pipe.read_to_end(&mut Vec::new()));
    assert_eq!(client.response().expect(200).text(), "1");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().status, 0);
}
