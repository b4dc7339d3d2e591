//! Writes that fail where the system would end the process by a signal.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Address, Client, Gate, Serve, eventually};

/// A client that has sent a request, of an application that has the defaults of the signals.
fn ask(address: &Address, target: &str) -> Client {
    let mut client = address.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

#[test]
fn lost_client_sends_no_sigpipe_to_an_app_with_its_default() {
    for threads in ["1", "2"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("socket");
        let server = Serve::app("broken_pipe:app")
            .args(["--threads", threads])
            .bind([format!("unix:{}", socket.display())])
            .start();
        let address = Address::Unix(socket);
        let worker = address.client().get("/pid").expect(200).body;
        for page in ["/blocks", "/file", "/pid"] {
            let gate = Gate::new();
            let client = ask(&address, &gate.at(page));
            let arrived = gate.arrival();
            drop(client);
            drop(arrived);
            assert_eq!(address.client().get("/pid").expect(200).body, worker);
        }
        server.stop();
    }
}

#[test]
fn log_and_bodies_that_may_grow_no_further_end_nobody() {
    for app in ["probe:app", "broken_pipe:app"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        // Blocks of 512 or 1,024 bytes, as the shell has it. Python takes what it has cached so far for whole.
        let server = Serve::app(app)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["--body-buffer", "1024", "--access-logfile"])
            .args([path("access")])
            .args(["--error-logfile"])
            .args([path("error")])
            .bind([format!("unix:{}", path("socket").display())])
            .after("ulimit -f 8")
            .spawn();
        let address = Address::Unix(path("socket"));
        eventually("a socket that listens", || address.try_client().map(drop));
        let worker = address.client().get("/pid").expect(200).body;
        for _ in 0..200 {
            let mut client = address.client();
            client.send("no request\r\n\r\n").response().expect(400);
        }
        let size = |name: &str| fs::metadata(path(name)).expect("a log").len();
        assert!(size("error") == size("access") && size("error") % 512 == 0);
        if app == "probe:app" {
            address.client().post("/pid", &vec![0; 20_000]).expect(503);
        }
        assert_eq!(address.client().get("/pid").expect(200).body, worker);
        server.signal(Signal::SIGTTIN);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().status, 0);
    }
}
