//! Processes that a preloaded application starts when it is imported: the arbiter's, and nobody else's.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Address, Serve, Server, eventually, send};

fn serve(folder: &Path, helper: &str) -> Serve {
    Serve::app("helped:app")
        .args(["--preload"])
        .env("FOLDER", folder)
        .env("HELPER", helper)
}

/// The worker that has answered, and the helpers.
#[track_caller]
fn ask(server: &Server) -> (Pid, Vec<Pid>) {
    let page = server.get("/").expect(200);
    let mut numbers = page.text().split(' ').map(str::parse::<i32>);
    assert_eq!(numbers.next(), Some(Ok(42)), "{}", page.text());
    let mut pids = numbers.map(|pid| Pid::from_raw(pid.expect("a process id")));
    (pids.next().expect("a worker"), pids.collect())
}

fn temporary_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("temporary-"))
        .count()
}

#[expect(clippy::disallowed_methods, reason = "no signal is sent")]
fn exists(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

// Gunicorn: S28
#[test]
fn helpers_of_a_preloaded_app_end_with_the_arbiter() {
    for helper in ["manager", "pool", "executor"] {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let server = serve(folder, helper).args(["--max-requests", "1"]).start();
        let (first, helpers) = ask(&server);
        eventually("three more workers", || {
            let gone = server.stderr().all();
            let gone = gone
                .iter()
                .filter(|line| line.contains("exited with code 0"));
            let (worker, same) = ask(&server);
            assert_eq!(same, helpers);
            (worker != first && gone.count() >= 3).then_some(())
        });
        assert!(helpers.iter().all(|helper| exists(*helper)), "{helper}");
        assert_eq!(temporary_files(folder), 2);
        // `stop` asserts that nothing of the server is left.
        let exited = server.stop();
        assert_eq!(temporary_files(folder), 0, "{exited:#?}");
        let written = fs::read_to_string(folder.join("written")).expect("a file");
        assert_eq!(written, "once\n", "{exited:#?}");
        for words in ["Traceback", "WARNING", "Killing"] {
            let said = exited.stderr.iter().any(|line| line.contains(words));
            // A pool's threads are named in a warning when they are started.
            assert!(!said || words == "WARNING", "{words} in {exited:#?}");
        }
    }
}

// Gunicorn: S28
#[test]
fn helper_that_outlives_its_killed_arbiter_blocks_no_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let pidfile = folder.path().join("pid");
    let start = |bind: &str| {
        serve(folder.path(), "manager")
            .bind([bind])
            .args(["--pid".as_ref(), pidfile.as_os_str()])
            .start()
    };
    let first = start("127.0.0.1:0");
    let (worker, helpers) = ask(&first);
    let Address::Tcp(address) = first.address() else {
        panic!("it is bound to TCP");
    };
    let address = address.to_string();
    first.signal(Signal::SIGKILL);
    eventually("the worker's end", || (!exists(worker)).then_some(()));
    assert!(helpers.iter().all(|helper| exists(*helper)));
    let second = start(&address);
    ask(&second);
    second.stop();
    for helper in helpers {
        send(helper, Signal::SIGKILL);
    }
}

// Gunicorn: S28
#[test]
fn signals_to_a_helper_have_their_default_effect() {
    for signal in [
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTERM,
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = serve(folder.path(), "manager").start();
        let (_, helpers) = ask(&server);
        send(helpers[0], signal);
        // Until its parent waits for it, it is a zombie.
        eventually("the helper's end", || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", helpers[0]));
            stat.map_or(true, |stat| stat.contains(") Z "))
                .then_some(())
        });
        server.stop();
    }
}

// Gunicorn: S28
#[test]
fn helpers_of_an_app_that_cannot_be_loaded_end_with_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let exited = Serve::app("helped:nothing")
        .args(["--preload"])
        .env("FOLDER", folder.path())
        .env("HELPER", "manager")
        .run();
    assert_eq!(exited.status, 4, "{exited:#?}");
    assert_eq!(temporary_files(folder.path()), 0, "{exited:#?}");
}
