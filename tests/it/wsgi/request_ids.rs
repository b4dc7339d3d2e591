//! The ids of requests: who gives them, and where they are seen.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Client, Serve, eventually};

/// What the application sees of a request with these lines.
#[track_caller]
fn environ(client: &mut Client, lines: &str) -> BTreeMap<String, String> {
    client.send(format!("GET /environ HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    let response = client.response().expect(200);
    serde_json::from_str(response.text()).expect("it is JSON")
}

#[test]
fn without_the_setting_the_field_is_one_like_any_other() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let seen = environ(&mut client, "X-Request-Id: r-1\r\n");
    assert_eq!(seen["HTTP_X_REQUEST_ID"], "'r-1'");
    assert!(!seen.contains_key("oxicorn.request_id"));
    assert!(!environ(&mut client, "").contains_key("HTTP_X_REQUEST_ID"));
    let failed = server.get("/boom").expect(500);
    assert!(!failed.text().contains("request"), "{failed:?}");
    assert!(
        server.stderr().wait_for("RuntimeError").contains("Error")
            && failed.header("x-request-id").is_none()
    );
}

#[test]
fn one_id_is_in_environ_logs_page_and_response() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("access");
    let server = Serve::app("probe:app")
        .args(["--request-id=send", "--access-logformat"])
        .args(["%(s)s %(request_id)s", "--access-logfile"])
        .args([&log])
        .start();
    let mut client = server.client();
    let seen = environ(&mut client, "X-Request-Id: r-1\r\n");
    assert_eq!(seen["oxicorn.request_id"], "'r-1'");
    assert_eq!(seen["HTTP_X_REQUEST_ID"], "'r-1'");

    let failed = server.get("/boom").expect(500);
    let id = failed
        .header("x-request-id")
        .expect("it is sent")
        .to_owned();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    assert!(
        failed.text().contains(&format!("(request {id})")),
        "{failed:?}"
    );
    let error = format!("[ERROR] [{id}] Error handling request GET /boom: ");
    server.stderr().wait_for(&error);

    // One without a head has an id, too.
    let mut broken = server.client();
    broken.send("what\r\n\r\n");
    let refused = broken.response().expect(400);
    let other = refused
        .header("x-request-id")
        .expect("it is sent")
        .to_owned();
    assert_ne!(id, other);
    server
        .stderr()
        .wait_for(&format!("[WARNING] [{other}] Invalid request from ip="));
    eventually("the access log has them", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        (text == format!("200 r-1\n500 {id}\n400 {other}\n")).then_some(())
    });
}

#[test]
fn what_the_application_writes_has_the_id_and_no_later_line() {
    let server = Serve::app("probe:app")
        .args(["--request-id", "--log-json"])
        .start();
    let mut client = server.client();
    client.send("GET /complain HTTP/1.1\r\nHost: a\r\nX-Request-Id: r-2\r\n\r\n");
    let response = client.response().expect(200);
    assert!(response.header("x-request-id").is_none());
    let line = server.stderr().wait_for("a line for the error log");
    let line: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(line["request_id"], "r-2");
    let exited = server.stop();
    let ends = exited
        .stderr
        .iter()
        .filter(|line| line.contains("Worker exiting"));
    assert!(ends.clone().count() == 1 && ends.clone().all(|line| !line.contains("request_id")));
}

#[test]
fn strangers_id_is_replaced() {
    let server = Serve::app("probe:app")
        .args(["--request-id", "--forwarded-allow-ips", "10.0.0.0/8"])
        .start();
    let seen = environ(&mut server.client(), "X-Request-Id: mine\r\n");
    assert_eq!(seen["HTTP_X_REQUEST_ID"].len(), 34);
    assert_eq!(seen["HTTP_X_REQUEST_ID"], seen["oxicorn.request_id"]);
}

#[test]
fn malformed_trace_context_is_dropped() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (lines, shown) in [
        (format!("tracestate: a=b\r\ntraceparent: {good}\r\n"), true),
        (
            "tracestate: a=b\r\ntraceparent: 00-0-0-0\r\n".to_owned(),
            false,
        ),
        ("tracestate: a=b\r\n".to_owned(), false),
        (
            format!("traceparent: {good}\r\ntracestate: a=b\r\ntraceparent: {good}\r\n"),
            false,
        ),
    ] {
        let seen = environ(&mut client, &lines);
        for (key, value) in [("HTTP_TRACEPARENT", good), ("HTTP_TRACESTATE", "a=b")] {
            let expected = shown.then(|| format!("'{value}'"));
            assert_eq!(seen.get(key), expected.as_ref(), "{key} of {lines}");
        }
    }
}
