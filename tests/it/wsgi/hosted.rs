//! `examples/host_pyo3.rs`: a program's interpreter, an application made of Rust, and a route beside it.

use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::{Client, Serve, eventually};

#[test]
fn a_programs_interpreter_serves_what_rust_has_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sock");
    let bind = format!("unix:{}", path.display());
    let process = Serve::example("host_pyo3").args([bind]).spawn();
    let mut client = eventually("nobody listens", || {
        UnixStream::connect(&path).ok().map(Client::unix)
    });
    assert_eq!(client.get("/health").expect(200).text(), "well\n");
    // One connection has one worker, and that its own count.
    for (target, expected) in [
        ("/counter", "call 1 of nobody for /counter \n"),
        ("/counter/", "call 2 of nobody for /counter /\n"),
        ("/count%65r/a%20b/", "call 3 of nobody for /counter /a b/\n"),
    ] {
        let page = client.get(target).expect(200);
        let text = page.text();
        let (version, told) = text.split_once(": ").expect("a greeting");
        assert!(version.starts_with("Python 3."), "{version}");
        assert_eq!(told, expected);
    }
    client.send(b"GET /counter HTTP/1.1\r\nHost: x\r\nX-Tenant: acme\r\n\r\n");
    let page = client.response().expect(200);
    assert!(
        page.text().contains("call 4 of acme for"),
        "{}",
        page.text()
    );
    client.get("/counters").expect(404);
    drop(client);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().status, 0);
}
