//! Where large request bodies are kept, and what happens where they cannot be.

use crate::support::{Response, Serve, Server, eventually};

const KIB: usize = 1024;

/// The answer to a request with a body of `length` bytes of which the first are sent, which are enough to be
/// refused.
fn refused(server: &Server, length: usize, sent: usize) -> Response {
    let mut client = server.client();
    client.send(format!(
        "POST /digest HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send(vec![b'x'; sent]);
    let response = client.response();
    client.expect_end();
    response
}

// Gunicorn: S40
#[test]
fn full_disk_is_503_with_a_line_that_names_folder_and_cause() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // No file may grow past 128 KiB (setrlimit(2), RLIMIT_FSIZE): the write fails as on a full disk.
    let server = Serve::app("probe:app")
        .args(["--tmp-upload-dir".as_ref(), folder.path().as_os_str()])
        .after("trap '' XFSZ && ulimit -f 256")
        .start();
    let worker = server.workers(1);
    let response = refused(&server, 1024 * KIB, 160 * KIB).expect(503);
    assert_eq!(response.header("retry-after"), Some("5"));
    assert_eq!(response.header("connection"), Some("close"));
    let line = server
        .stderr()
        .wait_for("[ERROR] cannot keep a request body in ");
    assert!(line.contains(&*folder.path().to_string_lossy()), "{line}");
    assert!(line.contains("os error"), "{line}");
    // Others are served, and nothing is left in the folder.
    let mut client = server.client();
    client.post("/digest", &vec![b'x'; 100 * KIB]).expect(200);
    assert_eq!(server.workers(1), worker);
    let left = folder.path().read_dir().expect("it is readable").count();
    assert_eq!(left, 0);
    server.stop();
}

#[test]
fn bodies_past_spool_total_are_503_and_name_the_setting() {
    let server = Serve::app("probe:app")
        .args(["--spool-total", "1048576", "--access-logfile", "-"])
        .start();
    // No time makes room for more than the total.
    refused(&server, 1024 * KIB + 1, 0).expect(413);
    let mut first = server.client();
    first.send(format!(
        "POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{}",
        1024 * KIB,
        "x".repeat(1000 * KIB)
    ));
    // It is read piece by piece, and then there is no room for another one.
    eventually("there is room yet", || {
        let answer = server.client().post("/digest", &vec![b'x'; 100 * KIB]);
        (answer.status == 503).then_some(())
    });
    drop(first);
    server
        .stderr()
        .wait_for("would exceed spool_total, 1048576 bytes");
    server.stdout().wait_for("\"POST /digest HTTP/1.1\" 503");
    // What had no end has given its room back.
    eventually("there is no room again", || {
        let answer = server.client().post("/digest", &vec![b'x'; 1024 * KIB]);
        (answer.status == 200).then_some(())
    });
    server.stop();
}

#[test]
fn read_only_folder_is_warned_of_and_bodies_stay_in_memory() {
    let server = Serve::app("probe:app")
        .args(["--tmp-upload-dir", "/no/such/folder"])
        .start();
    let body: Vec<u8> = (0..3_000_001_u32).map(|i| (i % 251) as u8).collect();
    let mut client = server.client();
    for _ in 0..3 {
        assert!(client.post("/echo", &body).expect(200).body == body);
    }
    let lines = server.stderr();
    lines.wait_for("no temporary file can be made in /no/such/folder");
    let exited = server.stop();
    let warnings = exited
        .stderr
        .iter()
        .filter(|line| line.contains("no temporary file"));
    assert_eq!(warnings.count(), 1, "{exited:#?}");
}

#[test]
fn upload_of_200_mib_leaves_the_workers_memory_flat() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1)[0];
    let mut client = server.client();
    client.post("/unread", &vec![b'x'; 100 * KIB]).expect(200);
    let before = Server::peak_memory(worker);
    let length = 200 * KIB * KIB;
    client.send(format!(
        "POST /unread HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
    ));
    let block = vec![b'x'; 1024 * KIB];
    for _ in 0..200 {
        client.send(&block);
    }
    client.response().expect(200);
    let grown = Server::peak_memory(worker) - before;
    assert!(grown < 8 * KIB, "by {grown} KiB");
    server.stop();
}

#[test]
fn body_is_streamed_to_the_application_where_that_is_asked_for() {
    for threads in ["1", "2"] {
        let server = Serve::app("probe:app")
            .args(["--stream-request-body", "--threads", threads])
            .start();
        let mut client = server.client();
        client.send(
            "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        );
        assert_eq!(client.response().status, 100, "the application reads");
        assert_eq!(client.send("body").response().expect(200).text(), "body");
        let chunked = "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{chunked}4\r\nmore\r\n0\r\n\r\n"));
        assert_eq!(client.response().expect(200).text(), "more");
        // What is wrong with a body is its sender's fault, and no traceback's worth.
        client.send(format!("{chunked}4\r\nmorenonsense"));
        client.response().expect(400);
        client.expect_end();
        server
            .stderr()
            .wait_for("Invalid request from ip=127.0.0.1");
        server.get("/pid").expect(200);
        let exited = server.stop();
        let traced = |line: &String| line.contains("Traceback");
        assert!(!exited.stderr.iter().any(traced), "{exited:#?}");
    }
}

#[test]
fn body_too_large_for_memory_is_a_memory_error_and_no_crash() {
    let body = vec![b'x'; 64 * KIB * KIB];
    let server = Serve::app("scarce:app").start();
    let worker = server.workers(1);
    let mut client = server.client();
    for path in ["/read", "/some", "/line", "/lines", "/next"] {
        let response = client.post(path, &body).expect(200);
        assert_eq!(response.text(), "MemoryError", "{path}");
        let response = client.post("/small", &body[..5000]).expect(200);
        assert_eq!(response.text(), "1000", "{path}");
    }
    assert_eq!(server.workers(1), worker);
    server.stop();
}
