//! `--preload`: the application is loaded by the arbiter, and the workers have it from there.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oxicorn::time::MonoTime;

use crate::support::{Gate, Serve, Server, eventually, send};

fn preload(app: &str) -> Serve {
    Serve::app(app).args(["--preload"])
}

/// Asks until each of that many workers has answered, and gives their answers.
#[track_caller]
fn ask_all(server: &Server, workers: usize, target: &str) -> BTreeSet<String> {
    let mut answers = BTreeSet::new();
    eventually("not all workers answer", || {
        answers.insert(server.get(target).expect(200).text().to_owned());
        (answers.len() == workers).then_some(())
    });
    answers
}

#[track_caller]
fn assert_loaded_by_the_arbiter(server: &Server, workers: &[Pid]) {
    let expected: BTreeSet<_> = workers
        .iter()
        .map(|worker| format!("{} {worker}", server.pid()))
        .collect();
    assert_eq!(ask_all(server, workers.len(), "/loaded"), expected);
}

// Gunicorn: S28
#[test]
fn preloaded_application_is_loaded_once_and_by_the_arbiter() {
    for threads in ["1", "3"] {
        let server = preload("preloaded:app")
            .workers(2)
            .args(["--threads", threads])
            .start();
        let workers = server.workers(2);
        assert_loaded_by_the_arbiter(&server, &workers);
        // Each has its own random numbers all the same.
        ask_all(&server, 2, "/chance");
        send(workers[0], Signal::SIGKILL);
        let workers = eventually("no replacement", || {
            let now = server.workers(2);
            (now != workers).then_some(now)
        });
        assert_loaded_by_the_arbiter(&server, &workers);
        server.stop();
    }
}

// Gunicorn: G44
#[test]
fn preload_failure_ends_the_start_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (pid, socket) = (folder.path().join("pid"), folder.path().join("sock"));
    for (app, status, words) in [
        ("nosuch:app", 3, "no module named 'nosuch'"),
        ("raises:app", 3, "ValueError"),
        ("exits:app", 3, "sys.exit(0)"),
        ("names:nobody", 4, "nobody"),
        ("names:not an expression", 4, "not an expression"),
    ] {
        let exited = preload(app)
            .workers(2)
            .bind([format!("unix:{}", socket.display())])
            .args(["--pid".as_ref(), pid.as_os_str()])
            .run();
        assert_eq!(exited.status, status, "{exited:#?}");
        assert!(exited.last().starts_with("Error: "), "{exited:#?}");
        assert!(exited.last().contains(words), "{exited:#?}");
        let all = exited.stderr.join("\n");
        assert!(!all.contains("Booting worker"), "{exited:#?}");
        assert!(!all.contains("Listening at"), "{exited:#?}");
        assert!(!pid.exists() && !socket.exists(), "something is left");
    }
}

// Gunicorn: S28
#[test]
fn threads_that_preloading_starts_are_named_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let count = folder.path().join("count");
    let server = preload("preloaded:app")
        .workers(2)
        .env("THREADS", "1")
        .env("COUNT", &count)
        .start();
    let workers = server.workers(2);
    assert_loaded_by_the_arbiter(&server, &workers);
    assert_eq!(server.get("/threads").expect(200).text(), "MainThread");
    // The arbiter and its threads do not wait for each other.
    let number = || {
        let text = fs::read_to_string(&count).unwrap_or_default();
        text.lines().count()
    };
    let before = number();
    eventually("the arbiter's thread counts", || {
        (number() > before + 5).then_some(())
    });
    let start = MonoTime::now();
    server.signal(Signal::SIGTTIN);
    let workers = server.workers(3);
    assert_loaded_by_the_arbiter(&server, &workers);
    assert!(MonoTime::now().since(start) < Duration::from_secs(5));
    let exited = server.stop();
    let warnings = exited.stderr.iter().filter(|l| l.contains("[WARNING]"));
    let warnings: Vec<_> = warnings.collect();
    assert!(
        matches!(warnings[..], [one] if one.ends_with("a busy one, a counter")),
        "{exited:#?}"
    );
}

// Gunicorn: HUP4, S28
#[test]
fn reload_has_the_preloaded_application_again_and_says_so() {
    let server = preload("preloaded:app").start();
    let before = server.workers(1);
    server.get("/loaded").expect(200);
    server.signal(Signal::SIGHUP);
    server.stderr().wait_for("is not loaded again");
    let after = eventually("no new worker", || {
        let now = server.workers(1);
        (now != before).then_some(now)
    });
    assert_loaded_by_the_arbiter(&server, &after);
    server.stop();
}

#[test]
fn signals_mean_the_same_to_a_preloaded_application() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = preload("interrupted:app")
        .env("FOLDER", folder.path())
        .start();
    let (arbiter, worker) = (server.pid(), server.workers(1)[0]);
    let gate = Gate::new();
    let mut client = server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        gate.at("/hold")
    ));
    let _arrived = gate.arrival();
    server.signal(Signal::SIGINT);
    client.response().expect(500);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    let noted = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    assert_eq!(noted("finally").trim(), worker.to_string());
    // Each ends its own Python, and the arbiter the last.
    assert_eq!(noted("atexit").trim(), format!("{worker}\n{arbiter}"));
}

// Gunicorn: S28
#[test]
fn stop_while_preloading_breaks_it_off_and_leaves_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let server = preload("slow_import:app")
            .env("FOLDER", folder.path())
            .bind(["unix:".to_owned() + at("socket").to_str().expect("a path")])
            .args(["--pid".as_ref(), at("pid").as_os_str()])
            .spawn();
        eventually("the import", || at("begun").exists().then_some(()));
        assert!(at("pid").exists() && at("socket").exists());
        server.signal(signal);
        let exited = server.wait();
        assert_eq!(exited.status, 0, "{signal}: {exited:#?}");
        assert!(at("finally").exists(), "{signal}: {exited:#?}");
        assert!(!at("pid").exists() && !at("socket").exists());
    }
}

/// An application to which a signal comes right before a system call that waits, or before it can be broken off.
fn signalled_at_once(when: &str) -> (Serve, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let app = preload("at_once:app")
        .env("WHEN", when)
        .env("FOLDER", folder.path());
    (app, folder)
}

#[test]
fn stop_right_before_an_import_waits_breaks_it_off() {
    let (app, folder) = signalled_at_once("import");
    let exited = app.spawn().wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(folder.path().join("finally").exists(), "{exited:#?}");
}

#[test]
fn stop_while_python_starts_has_nothing_imported() {
    let (app, folder) = signalled_at_once("early");
    let site = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)";
    fs::write(folder.path().join("sitecustomize.py"), site).expect("the folder takes a file");
    let exited = app.env("PYTHONPATH", folder.path()).spawn().wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(!folder.path().join("begun").exists(), "{exited:#?}");
    assert!(!exited.stderr.join("\n").contains("race"), "{exited:#?}");
}

#[test]
fn stop_right_before_an_exit_function_waits_breaks_it_off() {
    let (app, folder) = signalled_at_once("atexit");
    let server = app.start();
    server.get("/").expect(200);
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(folder.path().join("finally").exists(), "{exited:#?}");
}

// Gunicorn: S28
#[test]
fn handlers_that_a_preloaded_app_sets_are_not_the_arbiters() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let server = preload("preloaded:app").env("DEAF", "1").start();
        server.get("/loaded").expect(200);
        server.signal(signal);
        assert_eq!(server.wait().status, 0, "{signal}");
    }
}
