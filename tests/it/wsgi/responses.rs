//! What an application may answer, what it may not, and what becomes of it: PEP 3333.

use crate::support::{Response, Serve, Server};

fn serve() -> Server {
    Serve::app("responses:app").start()
}

#[track_caller]
fn get(server: &Server, page: &str) -> Response {
    server.get(&format!("/{page}"))
}

// Gunicorn: E54
#[test]
fn exception_is_a_500_with_the_traceback_in_the_error_log() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1);
    let response = server.get("/boom?secret=1").expect(500);
    assert!(
        !response.text().contains("own words"),
        "the client is told too much"
    );
    let lines = server.stderr();
    lines.wait_for("RuntimeError: the application's own words");
    assert!(lines.contain("/boom"), "{:#?}", lines.all());
    lines.wait_for("Traceback (most recent call last)");
    lines.wait_for("probe.py");
    assert_eq!(server.workers(1), worker);
    server.get("/pid").expect(200);
    server.stop();
}

// Gunicorn: E54, P38
#[test]
fn exception_after_the_head_cuts_the_connection() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1);
    let mut client = server.client();
    client.send("GET /late HTTP/1.1\r\nHost: test\r\n\r\n");
    client.head().expect(200);
    assert_eq!(client.chunk().as_deref(), Some(&b"begun"[..]));
    // No last chunk: what came must not be taken for the whole.
    client.expect_end();
    server.stderr().wait_for("RuntimeError: too late for a 500");
    assert_eq!(server.workers(1), worker);
    server.stop();
}

// Gunicorn: G40
#[test]
fn system_exit_in_a_request_is_a_500_and_the_worker_lives() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1);
    for code in [0, 3, 4] {
        server.get(&format!("/leave?{code}")).expect(500);
    }
    assert_eq!(server.workers(1), worker);
    server.stderr().wait_for("SystemExit: 4");
    server.stop();
}

// Gunicorn: E53
#[test]
fn application_that_breaks_the_protocol_gets_a_500() {
    let server = Serve::app("responses:app")
        .args(["--access-logfile", "-"])
        .start();
    for (page, logged) in [
        ("never_started", "start_response"),
        ("started_twice", "start_response"),
        ("bad_status", "status"),
        ("status_of_bytes", "status"),
        ("bad_header_name", "header"),
        ("header_with_newline", "header"),
        ("header_of_bytes", "header"),
        ("bad_length", "Content-Length"),
        ("returns_none", "None"),
    ] {
        get(&server, page).expect(500);
        server.stderr().wait_for(logged);
        server
            .stdout()
            .wait_for(&format!("\"GET /{page} HTTP/1.1\" 500 "));
    }
    get(&server, "plain").expect(200);
    server.stop();
}

// Gunicorn: E46, E39
#[test]
fn exc_info_replaces_the_answer_before_its_head_or_raises() {
    let server = serve();
    let response = get(&server, "replaced").expect(503);
    assert_eq!(
        (&*response.version, &*response.reason),
        ("HTTP/1.1", "Sorry")
    );
    assert_eq!(response.header("x-old"), None);
    assert_eq!(response.header("x-new"), Some("1"));
    assert_eq!(response.text(), "sorry");
    let mut client = server.client();
    client.send("GET /replaced_late HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().expect(200);
    assert_eq!(client.chunk().as_deref(), Some(&b"begun"[..]));
    client.expect_end();
    server.stderr().wait_for("ZeroDivisionError");
    server.stop();
}

// Gunicorn: E47, E48, E52
#[test]
fn body_comes_from_lists_tuples_generators_and_write() {
    let server = serve();
    for (page, body) in [
        ("plain", "plain"),
        ("tuple", "onetwo"),
        ("generator", "onetwo"),
        ("iterator", "onetwo"),
        ("written", "onetwothree"),
        ("empty", ""),
        ("empty_items", "onetwo"),
        ("started_late", "late"),
        ("buffers", "bytes"),
    ] {
        assert_eq!(get(&server, page).expect(200).text(), body, "{page}");
    }
    // What is known to be empty needs neither.
    assert_eq!(get(&server, "empty").header("content-length"), Some("0"));
    // One block whose end is known needs no chunks.
    assert_eq!(get(&server, "plain").header("content-length"), Some("5"));
    assert_eq!(
        get(&server, "generator").header("transfer-encoding"),
        Some("chunked")
    );
    server.stop();
}

// Gunicorn: E47
#[test]
fn item_that_is_not_bytes_is_never_sent() {
    let server = serve();
    get(&server, "text_item").expect(500);
    let mut client = server.client();
    client.send("GET /text_item_late HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().expect(200);
    assert_eq!(client.chunk().as_deref(), Some(&b"begun"[..]));
    client.expect_end();
    server.stderr().wait_for("TypeError");
    server.stop();
}

// Gunicorn: E55
#[test]
fn close_is_called_once_whatever_happens() {
    let server = serve();
    for (page, closed) in [
        ("closes", "1"),
        ("closes_after_error", "2"),
        ("closes", "3"),
    ] {
        let mut client = server.client();
        client.send(format!(
            "GET /{page} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        client.rest();
        assert_eq!(
            get(&server, "closed_count").expect(200).text(),
            closed,
            "{page}"
        );
    }
    server.stop();
}

// Gunicorn: E51
#[test]
fn statuses_without_a_body_have_none() {
    let server = serve();
    let mut client = server.client();
    for (status, page, length) in [
        (204, "status_204", None),
        (205, "reset", Some("0")),
        (304, "status_304", None),
    ] {
        client.send(format!("GET /{page} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.head().expect(status);
        assert_eq!(head.header("transfer-encoding"), None);
        assert_eq!(head.header("content-length"), length, "{status}");
        // Had a body come, it would be taken for the next response.
        assert_eq!(client.get("/plain").expect(200).text(), "plain");
        server.stderr().wait_for(&format!(
            "7 bytes of the {status} response's body were dropped"
        ));
    }
    // After HEAD that is how it should be.
    client.send("HEAD /plain HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().expect(200);
    let exited = server.stop();
    let told = |line: &String| line.contains("HEAD /plain");
    assert!(!exited.stderr.iter().any(told), "{exited:#?}");
}

// Gunicorn: E50
#[test]
fn body_and_its_announced_length_must_agree() {
    let server = serve();
    // More: cut at the length, as Gunicorn does. The head tells that nothing follows, if that is known by then;
    // else the next response is in step.
    let mut client = server.client();
    let late = client.get("/too_long_late").expect(200);
    assert_eq!((late.text(), late.header("connection")), ("12345", None));
    assert_eq!(client.get("/plain").expect(200).text(), "plain");
    let known = client.get("/too_long").expect(200);
    assert_eq!(
        (known.text(), known.header("connection")),
        ("12345", Some("close"))
    );
    client.expect_end();
    for page in ["too_long_late", "too_long"] {
        server.stderr().wait_for(&format!(
            "[WARNING] GET /{page}: 4 bytes of the 200 response's body were dropped, since its Content-Length",
        ));
    }
    // Less: the client must see that something is missing, and not wait for it for ever.
    let mut client = server.client();
    client.send("GET /too_short HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head().expect(200);
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(client.rest(), b"123");
    server
        .stderr()
        .wait_for("/too_short: the response's body is 2 bytes shorter than its Content-Length");
    server.stop();
}

// Gunicorn: E65
#[test]
fn required_upgrade_is_named_and_the_connection_goes_on() {
    let server = serve();
    let mut client = server.client();
    let response = client.get("/upgrade_required").expect(426);
    assert_eq!(response.header("upgrade"), Some("HTTP/3.0"));
    assert_eq!(response.header("connection"), Some("upgrade"));
    assert_eq!(client.get("/plain").expect(200).text(), "plain");
    server.stop();
}

// Gunicorn: E44
#[test]
fn application_that_says_close_gets_it() {
    let server = serve();
    let mut client = server.client();
    let response = client.get("/says_close").expect(200);
    assert_eq!(response.header("connection"), Some("close"));
    client.expect_end();
    server.stop();
}

// Gunicorn: E45
#[test]
fn response_has_the_servers_lines_then_the_applications() {
    let server = serve();
    for (asked, version) in [
        ("HTTP/1.0", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/1.1"),
        // Its own version, whatever later one the client has (RFC 9110 §2.5).
        ("HTTP/1.2", "HTTP/1.1"),
    ] {
        let mut client = server.client();
        client.send(format!("GET /hop_by_hop {asked}\r\nHost: a\r\n\r\n"));
        let response = client.response().expect(200);
        assert_eq!(response.version, version);
        let names: Vec<_> = response.headers.iter().map(|(name, _)| &**name).collect();
        let order = [
            "Server",
            "Date",
            "X-Mine",
            "Set-Cookie",
            "Set-Cookie",
            "Content-Length",
        ];
        assert_eq!(names[..6], order);
    }
    server.stop();
}

// Gunicorn: E58, E59, E60
#[test]
fn files_are_counted_in_the_access_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    let server = Serve::app("wrapped:app")
        .args(["--access-logfile", "-"])
        .start();
    let mut client = server.client();
    let target = format!("/file?{}", path.display());
    for size in [0, 300_000, 0] {
        std::fs::write(&path, vec![b'x'; size]).expect("it can be written");
        let response = client.get(&target).expect(200);
        assert_eq!(response.header("content-length"), Some(&*size.to_string()));
        assert_eq!(response.body.len(), size);
        server.stdout().wait_for(&format!("\" 200 {size} "));
    }
    server.stop();
}

// Gunicorn: E58
#[test]
fn files_without_a_size_are_sent_whole_unreadable_ones_are_500() {
    let server = Serve::app("wrapped:app").start();
    let mut client = server.client();
    for path in ["/proc/version", "/sys/kernel/fscaps"] {
        let Ok(content) = std::fs::read(path) else {
            continue;
        };
        let response = client.get(&format!("/file?{path}")).expect(200);
        assert_eq!(response.body, content, "{path}");
        assert_eq!(response.header("content-length"), None);
    }
    assert_eq!(client.get("/file?/dev/null").expect(200).text(), "");
    client.get("/write-only").expect(500);
    server.stderr().wait_for("UnsupportedOperation");
    server.stop();
}

// Gunicorn: E11, E43
#[test]
fn headers_of_the_connection_are_the_servers_own() {
    let server = serve();
    let response = get(&server, "hop_by_hop").expect(200);
    assert_eq!(response.header("server"), Some("oxicorn"));
    assert!(
        response
            .header("date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
    for absent in [
        "keep-alive",
        "proxy-authenticate",
        "te",
        "trailers",
        "upgrade",
    ] {
        assert_eq!(response.header(absent), None, "{absent}");
    }
    assert_eq!(response.header("x-mine"), Some("caf\u{e9}"));
    assert_eq!(
        response.all("set-cookie").collect::<Vec<_>>(),
        ["a=1", "b=2"]
    );
    server.stop();
}

#[test]
fn download_of_1_gib_leaves_the_workers_memory_flat() {
    const GIB: u64 = 1 << 30;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    let file = std::fs::File::create(&path).expect("it can be made");
    // All of it is a hole, which takes no place on the disk.
    file.set_len(GIB).expect("it may be large");
    let server = Serve::app("wrapped:app").start();
    let worker = server.workers(1)[0];
    let small = crate::support::root().join("Cargo.toml");
    server
        .get(&format!("/file?{}", small.display()))
        .expect(200);
    let before = Server::peak_memory(worker);
    let mut client = server.client();
    client.send(format!(
        "GET /file?{} HTTP/1.1\r\nHost: a\r\n\r\n",
        path.display()
    ));
    let head = client.head().expect(200);
    assert_eq!(head.header("content-length"), Some(&*GIB.to_string()));
    for _ in 0..1024 {
        assert_eq!(client.take(1 << 20).len(), 1 << 20);
    }
    let grown = Server::peak_memory(worker).saturating_sub(before);
    assert!(grown < 8 * 1024, "by {grown} KiB");
    server.stop();
}
