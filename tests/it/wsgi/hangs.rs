//! Workers that hang or crash: the log shows the request and where in the application.

use crate::support::{Serve, Server};

#[track_caller]
fn assert_explained(server: &Server, hang: &str) {
    let stderr = server.stderr();
    stderr.wait_for(&format!("GET /{hang} for "));
    stderr.wait_for("Stacks of worker");
    stderr.wait_for("hangs.py\", line");
    stderr.wait_for(&format!(" in {hang}"));
}

// Gunicorn: G48, G53
#[test]
fn hang_is_explained_by_its_request_and_its_python_stack() {
    for hang in ["busy", "sleeping", "in_c", "deadlocked"] {
        let server = Serve::app("hangs:app").args(["--timeout", "1"]).start();
        let mut client = server.client();
        client.send(format!("GET /{hang} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_explained(&server, hang);
        // What can be broken off is answered, as Gunicorn does; the others are killed.
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        let answered = rest.starts_with("HTTP/1.1 500 ");
        match hang {
            "busy" | "sleeping" => assert!(answered, "{hang}: {rest}"),
            "in_c" => assert!(rest.is_empty(), "{hang}: {rest}"),
            _ => assert!(answered || rest.is_empty(), "{hang}: {rest}"),
        }
    }
}

// Gunicorn: G53
#[test]
fn interpreter_held_for_too_long_is_explained_by_its_stack() {
    let server = Serve::app("hangs:app")
        .args(["--timeout", "1", "--threads", "3"])
        .start();
    let mut client = server.client();
    client.send("GET /in_c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_explained(&server, "in_c");
    client.expect_end();
}

// Gunicorn: G49
#[test]
fn hang_while_the_application_is_imported_is_explained() {
    let exited = Serve::app("hangs_in_import:app")
        .args(["--boot-timeout", "1"])
        .run();
    assert_eq!(exited.status, 3, "{exited:#?}");
    let shown = |text: &str| exited.stderr.iter().any(|line| line.contains(text));
    assert!(shown("not ready within 1 s"), "{exited:#?}");
    assert!(shown(" in sleeping"), "{exited:#?}");
}

#[test]
fn crash_in_c_is_explained() {
    let server = Serve::app("hangs:app").start();
    let mut client = server.client();
    client.send("GET /crashing HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect_end();
    server.stderr().wait_for("Fatal Python error: Aborted");
    server.stderr().wait_for(" in crashing");
}
