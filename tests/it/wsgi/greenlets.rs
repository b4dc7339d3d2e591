//! Applications that switch greenlets within a call.

use nix::sys::signal::Signal;

use crate::support::{Serve, Server, eventually, python_env, send};

const REFUSED: &str = "RuntimeError: only the greenlet that serves the request may do this";

/// Loaded in the worker and in the arbiter, sync and with threads.
fn for_all_servers(test: impl Fn(&Server)) {
    for preload in [None, Some("--preload")] {
        for threads in ["1", "2"] {
            let server = Serve::app("greenlets:app")
                .args(["--venv".as_ref(), python_env().as_os_str()])
                .args(["--threads", threads, "--stream-request-body"])
                .args(preload)
                .start();
            let worker = server.get("/pid").expect(200).body;
            for _ in 0..3 {
                test(&server);
            }
            assert_eq!(server.get("/pid").expect(200).body, worker);
            server.stop();
        }
    }
}

#[test]
fn what_belongs_to_a_call_is_refused_to_other_greenlets() {
    for_all_servers(|server| {
        for greenlet in ["made", "now"] {
            let answer = server.get(&format!("/write?{greenlet}")).expect(200);
            let text = answer.text();
            assert!(text.starts_with(&format!("sent {REFUSED}")), "{text}");
            let answer = server.get(&format!("/hints?{greenlet}")).expect(200);
            assert!(answer.text().starts_with(REFUSED), "{}", answer.text());
            let mut client = server.client();
            client.send(format!(
                "POST /read?{greenlet} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
            ));
            let text = client.response().expect(200).text().to_owned();
            assert!(
                text.starts_with(REFUSED) && text.ends_with(" b'body'"),
                "{text}"
            );
        }
    });
}

#[test]
fn what_belongs_to_nobody_works_in_other_greenlets() {
    for_all_servers(|server| {
        let answer = server.get("/blocks?made").expect(201);
        assert_eq!(answer.header("x-made"), Some("there"));
        assert_eq!(answer.text(), "abc");
        server.stderr().wait_for("from a greenlet");
    });
}

#[test]
fn threads_serve_while_a_handler_runs_on_the_main_thread() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let handled = folder.path().join("handled");
    let server = Serve::app("greenlets:app")
        .args(["--venv".as_ref(), python_env().as_os_str()])
        .args(["--threads", "2", "--preload"])
        .env("HANDLED", &handled)
        .start();
    let worker = server.get("/pid").expect(200).body;
    for count in 1..=2 {
        send(server.workers(1)[0], Signal::SIGALRM);
        eventually("the handler did not come back", || {
            assert_eq!(server.get("/pid").expect(200).body, worker);
            let text = std::fs::read_to_string(&handled).unwrap_or_default();
            (text.lines().count() == count).then_some(())
        });
    }
    server.stop();
}
