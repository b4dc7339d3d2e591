//! Starts that must fail: with the right status, one plain last sentence, and nothing left behind.

use std::net::TcpListener;
use std::time::Duration;

use oxicorn::time::MonoTime;

use crate::support::{Exited, Serve, Server};

#[track_caller]
fn assert_sentence(exited: &Exited, status: i32, words: &[&str]) {
    assert_eq!(exited.status, status, "{exited:#?}");
    let last = exited.last();
    assert!(last.starts_with("Error: "), "{exited:#?}");
    for word in words {
        assert!(last.contains(word), "no {word:?} in {last:?}\n{exited:#?}");
    }
    assert!(
        !exited.stderr.iter().any(|l| l.contains("panicked")),
        "{exited:#?}"
    );
}

// Gunicorn: G34, G35, G39, G45, G65
#[test]
fn app_that_cannot_be_loaded_halts_with_gunicorns_status() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (pid, socket) = (folder.path().join("pid"), folder.path().join("sock"));
    for (app, status, logged, words) in [
        ("nosuch:app", 3, "", &["nosuch", "no module named"][..]),
        ("nosuch.sub:app", 3, "", &["nosuch", "no module named"]),
        ("names:nobody", 4, "", &["names", "nobody"]),
        ("names:site.nobody", 4, "", &["names", "nobody"]),
        ("names:number", 4, "", &["names:number", "cannot be called"]),
        ("names:nothing", 4, "", &["names:nothing"]),
        ("names:make_nothing()", 4, "", &["make_nothing"]),
        ("names:needs_two()", 4, "", &["needs_two"]),
        ("names:not an expression", 4, "", &["not an expression"]),
        ("nothing_in_it", 4, "", &["nothing_in_it", "application"]),
        (
            "broken_syntax:app",
            3,
            "broken_syntax.py",
            &["broken_syntax", "broken_syntax.py", "line", "syntax error"],
        ),
        (
            "raises:app",
            3,
            "Traceback",
            &[
                "raises",
                "raises.py",
                "ValueError",
                "the module's own words",
            ],
        ),
        (
            "exits:app",
            3,
            "Traceback",
            &["exits", "exits.py", "sys.exit(0)"],
        ),
        (
            "imports_missing:app",
            3,
            "Traceback",
            &[
                "imports_missing",
                "imports_missing.py",
                "no_such_dependency",
            ],
        ),
    ] {
        let exited = Serve::app(app)
            .workers(2)
            .bind([format!("unix:{}", socket.display())])
            .args(["--pid".as_ref(), pid.as_os_str()])
            .run();
        assert_sentence(&exited, status, words);
        let all = exited.stderr.join("\n");
        assert!(all.contains(logged), "{app}: no {logged:?} in {all}");
        let booted = all.matches("Booting worker").count();
        assert!(booted <= 2, "{app}: {booted} workers were started\n{all}");
        assert!(
            !pid.exists() && !socket.exists(),
            "{app}: something is left"
        );
    }
}

// Gunicorn: G45, G58, G65
#[test]
fn port_in_use_is_tried_for_a_while_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pid = folder.path().join("pid");
    let start = MonoTime::now();
    let exited = Serve::app("probe:app")
        .bind([&address])
        .args(["--pid".as_ref(), pid.as_os_str()])
        .run();
    assert_sentence(&exited, 1, &[&address, "in use"]);
    assert!(
        MonoTime::now().since(start) > Duration::from_secs(2),
        "{exited:#?}"
    );
    assert!(!pid.exists());
}

// Gunicorn: G58
#[test]
fn port_that_becomes_free_in_time_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let process = Serve::app("probe:app").bind([&address]).spawn();
    process.stderr.wait_for("in use");
    drop(taken);
    let server = Server::listening(process);
    server.get("/pid").expect(200);
    server.stop();
}

// Gunicorn: G44, G56, G58
#[test]
fn addresses_that_cannot_be_bound_are_refused_at_once() {
    for (bind, words) in [
        ("127.0.0.1:port", &["127.0.0.1:port"][..]),
        ("127.0.0.1:70000", &["127.0.0.1:70000"]),
        ("192.0.2.1:8000", &["192.0.2.1:8000"]),
        ("no-such-host.invalid:8000", &["no-such-host.invalid"]),
        ("unix:/no/such/folder/sock", &["/no/such/folder/sock"]),
        ("unix:", &["unix:"]),
        ("fd://777", &["777"]),
        ("fd://x", &["fd://x"]),
    ] {
        let serve = Serve::app("probe:app").bind([bind]);
        let start = MonoTime::now();
        let exited = serve.run();
        assert_sentence(&exited, 1, words);
        let took = MonoTime::now().since(start);
        assert!(took < Duration::from_secs(4), "{bind} took {took:?}");
        assert!(!exited.stderr.iter().any(|l| l.contains("Booting")));
    }
}

// Gunicorn: G44, G63
#[test]
fn folders_that_are_missing_are_named() {
    let exited = Serve::command_line(["--chdir", "/no/such/folder", "probe:app"]).run();
    assert_sentence(&exited, 1, &["/no/such/folder"]);
    for option in ["--pid", "--access-logfile", "--error-logfile"] {
        let exited = Serve::app("probe:app")
            .args([option, "/no/such/folder/file"])
            .run();
        assert_sentence(&exited, 1, &["/no/such/folder/file"]);
    }
}
