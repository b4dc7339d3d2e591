//! Connections that serve more than one request, and when they end.

use std::time::Duration;

use oxicorn::time::MonoTime;

use crate::support::Serve;

// Gunicorn: P41, W4
#[test]
fn connection_serves_several_requests() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let worker = client.get("/pid").expect(200).body;
    for _ in 0..5 {
        assert_eq!(client.get("/pid").expect(200).body, worker);
    }
    server.stop();
}

// Gunicorn: W4
#[test]
fn idle_connection_is_closed_after_two_seconds() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    client.get("/pid").expect(200);
    let start = MonoTime::now();
    client.expect_end();
    let idle = MonoTime::now().since(start);
    assert!(idle > Duration::from_millis(1800), "closed after {idle:?}");
    assert!(idle < Duration::from_secs(6), "closed after {idle:?}");
    server.stop();
}

// Gunicorn: S13
#[test]
fn keep_alive_of_zero_closes_after_each_response() {
    let server = Serve::app("probe:app").args(["--keep-alive", "0"]).start();
    let mut client = server.client();
    let response = client.get("/pid").expect(200);
    assert_eq!(response.header("connection"), Some("close"));
    client.expect_end();
    server.stop();
}

#[test]
fn client_that_asks_for_close_gets_it() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    client.send("GET /pid HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let response = client.response().expect(200);
    assert_eq!(response.header("connection"), Some("close"));
    client.expect_end();
    server.stop();
}

// Gunicorn: P41
#[test]
fn sync_worker_with_long_calls_keeps_no_connection() {
    for (workers, flags, kept) in [
        (2, &[][..], false),
        (1, &[], true),
        (2, &["--keepalive-busy", "0"], true),
        (2, &["--keepalive-busy", "10"], true),
    ] {
        let server = Serve::app("threads:app")
            .workers(workers)
            .args(flags)
            .start();
        let mut client = server.client();
        let quick = client.get("/").expect(200);
        assert_eq!(quick.header("connection"), None);
        // A quarter of it is in the average, which is then beyond 50 ms.
        let slow = client.get("/sleep?300").expect(200);
        let said = (!kept).then_some("close");
        assert_eq!(slow.header("connection"), said, "{workers} {flags:?}");
        if kept {
            client.get("/").expect(200);
        } else {
            client.expect_end();
        }
        server.stop();
    }
}

#[test]
fn threads_with_long_calls_keep_their_connections() {
    let server = Serve::app("threads:app")
        .args(["--threads", "2"])
        .workers(2)
        .start();
    let mut client = server.client();
    let slow = client.get("/sleep?300").expect(200);
    assert_eq!(slow.header("connection"), None);
    client.get("/").expect(200);
    server.stop();
}
