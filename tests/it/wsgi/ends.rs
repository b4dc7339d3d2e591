//! How Python ends with its worker: as it does in a program, within bounds, and whatever comes meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{Exited, Serve, Server, eventually};

/// A server with the application that leaves files in a folder.
fn serve(folder: &Path, mode: &str) -> Serve {
    Serve::app("ends:app")
        .env("FOLDER", folder)
        .env("MODE", mode)
}

/// The names in a folder that begin so.
fn names(folder: &Path, start: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with(start))
        .collect()
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// Asks, and tells which worker has answered.
#[track_caller]
fn ask(server: &Server) -> String {
    server.get("/").expect(200).text().to_owned()
}

#[track_caller]
fn assert_written(folder: &Path, pid: &str, lines: usize) {
    let written = text(folder, &format!("written-{pid}"));
    assert_eq!(written, "a line\n".repeat(lines));
    let printed = text(folder, &format!("stdout-{pid}"));
    assert_eq!(printed, "printed\n".repeat(lines));
}

#[track_caller]
fn assert_no_crash(exited: &Exited) {
    for words in ["crashed", "cut short", "was sent", "Killing", "Traceback"] {
        let said = exited.stderr.iter().any(|line| line.contains(words));
        assert!(!said, "{words} in {exited:#?}");
    }
}

// Gunicorn: G37
#[test]
fn files_are_written_and_temporary_ones_gone_after_a_worker() {
    for threads in ["1", "3"] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path();
            let server = serve(folder, "").args(["--threads", threads]).start();
            let pid = ask(&server);
            assert_eq!(names(folder, "temporary-").len(), 2);
            server.signal(signal);
            let exited = server.wait();
            assert_eq!(exited.status, 0, "{exited:#?}");
            assert_written(folder, &pid, 1);
            assert!(names(folder, "temporary-").is_empty());
            for noted in ["finalized", "ending", "ended"] {
                assert_eq!(text(folder, noted).trim(), pid, "{noted}: {exited:#?}");
            }
            assert_no_crash(&exited);
        }
    }
}

#[test]
fn workers_that_are_replaced_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = serve(folder, "").args(["--max-requests", "2"]).start();
    let mut workers = BTreeMap::<String, usize>::new();
    eventually("five workers", || {
        *workers.entry(ask(&server)).or_default() += 1;
        (workers.len() == 5).then_some(())
    });
    let exited = server.stop();
    for (pid, requests) in &workers {
        assert_written(folder, pid, *requests);
    }
    assert!(names(folder, "temporary-").is_empty(), "{exited:#?}");
    assert_no_crash(&exited);
}

#[test]
fn signals_at_the_end_of_python_change_nothing() {
    // The last one asks for the stacks.
    for signal in ["TERM", "INT", "QUIT", "HUP", "USR1", "ABRT", "ALRM", "40"] {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let server = serve(folder, "slow").start();
        let pid = ask(&server);
        server.signal(Signal::SIGTERM);
        eventually("the end", || folder.join("ending").exists().then_some(()));
        let kill = format!("kill -{signal} {pid}");
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal}");
        let exited = server.wait();
        assert_eq!(exited.status, 0, "{signal}: {exited:#?}");
        assert_eq!(text(folder, "ended").trim(), pid, "{signal}: {exited:#?}");
        assert_written(folder, &pid, 1);
        assert_no_crash(&exited);
    }
}

#[test]
fn daemon_that_is_busy_keeps_nothing_from_being_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = serve(folder, "daemon").start();
    let pid = ask(&server);
    let exited = server.stop();
    assert_written(folder, &pid, 1);
    assert!(names(folder, "temporary-").is_empty(), "{exited:#?}");
    assert_eq!(text(folder, "finalized").trim(), pid);
    assert_no_crash(&exited);
}

// Gunicorn: G37
#[test]
fn python_that_hangs_at_its_end_is_cut_and_the_status_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path(), "hangs").start();
    let pid = ask(&server);
    let exited = server.stop();
    let cut = format!("Worker (pid:{pid}) did not come to the end of its last step in time");
    assert!(
        exited.stderr.iter().any(|line| line.contains(&cut)),
        "{exited:#?}"
    );
    assert!(!exited.stderr.iter().any(|line| line.contains("Killing")));
    assert_eq!(text(folder.path(), "ending").trim(), pid);
    assert_eq!(text(folder.path(), "ended"), "");
}

// Gunicorn: G37
#[test]
fn python_that_crashes_at_its_end_is_no_failed_worker() {
    for (mode, signal) in [("crashes", "SIGSEGV"), ("aborts", "SIGABRT")] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = serve(folder.path(), mode)
            .args(["--max-requests", "1"])
            .start();
        let pid = ask(&server);
        let line = server.stderr().wait_for("crashed in its last step");
        assert!(line.contains(&pid) && line.contains(signal), "{line}");
        eventually("another worker", || (ask(&server) != pid).then_some(()));
        let exited = server.stop();
        for words in [
            "exited with code 255",
            ") was sent SIGSEGV",
            ") was sent SIGABRT",
        ] {
            let said = exited.stderr.iter().any(|line| line.contains(words));
            assert!(!said, "{words} in {exited:#?}");
        }
    }
}

#[test]
fn worker_that_leaves_calls_behind_saves_what_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = serve(folder, "").args(["--threads", "2"]).start();
    let pid = ask(&server);
    let mut client = server.client();
    client.send("GET /stays HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the call", || folder.join("stays").exists().then_some(()));
    server.signal(Signal::SIGINT);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert_written(folder, &pid, 1);
    assert!(names(folder, "temporary-").is_empty(), "{exited:#?}");
    assert_eq!(text(folder, "finalized").trim(), pid);
}

#[test]
fn python_that_could_not_load_its_application_ends_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let exited = Serve::app("ends:nothing")
        .env("FOLDER", folder.path())
        .run();
    assert_eq!(exited.status, 4, "{exited:#?}");
    assert!(names(folder.path(), "temporary-").is_empty(), "{exited:#?}");
}
