//! What Gunicorn's compatibility switches let through, and what is refused without them.

use crate::support::Serve;

const UNDERSCORED: &str =
    "GET /environ HTTP/1.1\r\nHost: a\r\nX-Real-IP: true\r\nX_Real_IP: spoofed\r\n\r\n";

#[test]
fn header_with_an_underscore_is_dropped_and_that_is_logged_once() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    for _ in 0..3 {
        let seen = client.send(UNDERSCORED).response().expect(200);
        assert!(seen.text().contains("'true'") && !seen.text().contains("spoofed"));
    }
    let exited = server.stop();
    let told = |line: &&String| line.contains("header_map");
    assert_eq!(exited.stderr.iter().filter(told).count(), 1, "{exited:?}");
}

// Gunicorn: S84
#[test]
fn header_with_an_underscore_can_be_refused_or_taken() {
    let server = Serve::app("probe:app")
        .args(["--header-map", "refuse"])
        .start();
    let refused = server.client().send(UNDERSCORED).response();
    assert_eq!(refused.status, 400);
    server.stop();

    let server = Serve::app("probe:app")
        .args(["--header-map=dangerous"])
        .start();
    let taken = server.client().send(UNDERSCORED).response().expect(200);
    assert!(taken.text().contains("'true,spoofed'"), "{}", taken.text());
    server.stop();
}

// Gunicorn: S78, S79, S80, S81, S82
#[test]
fn each_switch_takes_what_is_refused_without_it() {
    let cases = [
        (
            "--permit-obsolete-folding",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        ),
        (
            "--strip-header-spaces",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        ),
        (
            "--permit-unconventional-http-method",
            "frob# / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "--permit-unconventional-http-version",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        ),
        (
            "--casefold-http-method",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ];
    let plain = Serve::app("probe:app").start();
    for (switch, request) in cases {
        assert_eq!(
            plain.client().send(request).response().status,
            400,
            "{switch}"
        );
        let server = Serve::app("probe:app").args([switch]).start();
        assert_ne!(
            server.client().send(request).response().status,
            400,
            "{switch}"
        );
        server.stop();
    }
    plain.stop();
}

// Gunicorn: S19, S20, S21
#[test]
fn limits_of_a_head_are_settings() {
    let limits = [
        "--limit-request-line=30",
        "--limit-request-fields=2",
        "--limit-request-field_size=20",
    ];
    let server = Serve::app("probe:app").args(limits).start();
    for (request, status) in [
        (
            format!(
                "GET /unread HTTP/1.1\r\nHost: a\r\nB: {}\r\n\r\n",
                "b".repeat(15)
            ),
            200,
        ),
        (
            format!(
                "GET /unread HTTP/1.1\r\nHost: a\r\nB: {}\r\n\r\n",
                "b".repeat(16)
            ),
            431,
        ),
        (
            "GET /unread HTTP/1.1\r\nHost: a\r\nB: b\r\nC: c\r\n\r\n".into(),
            431,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(17)),
            414,
        ),
    ] {
        assert_eq!(
            server.client().send(&request).response().status,
            status,
            "{request:?}"
        );
    }
    server.stop();
}
