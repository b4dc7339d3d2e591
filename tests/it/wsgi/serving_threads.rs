//! The threads that serve, as Python sees them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Serve, Server, eventually, send};

/// A server with four threads, and the file in which signals are noted.
struct House {
    server: Server,
    folder: TempDir,
}

fn house(prepare: impl FnOnce(Serve) -> Serve) -> House {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let serve = Serve::app("threading_facts:app")
        .args(["--threads", "4"])
        .env("HANDLED", folder.path().join("handled"));
    let house = House {
        server: prepare(serve).start(),
        folder,
    };
    // A signal that comes before the import would end the worker.
    house.get("/pid");
    house
}

impl House {
    fn get(&self, target: &str) -> String {
        self.server.get(target).expect(200).text().to_owned()
    }

    fn handled(&self) -> PathBuf {
        self.folder.path().join("handled")
    }

    /// What different answers many requests get that run side by side.
    fn answers(&self, target: &str) -> BTreeSet<String> {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| (0..20).map(|_| self.get(target)).collect::<Vec<_>>()))
                .collect();
            let answers = clients.into_iter().map(|client| client.join().unwrap());
            answers.flatten().collect()
        })
    }

    /// Sends signals to the worker, one after the other: each is handled, on Python's main thread.
    fn signal_and_look(&self) {
        let worker = self.server.workers(1)[0];
        for count in 1..=20 {
            send(worker, Signal::SIGALRM);
            eventually("the signal was not handled", || {
                let handled = fs::read_to_string(self.handled()).unwrap_or_default();
                (handled == "True\n".repeat(count)).then_some(())
            });
        }
    }
}

// Gunicorn: W11
#[test]
fn serving_threads_are_pythons_own_and_never_the_main_one() {
    let house = house(|serve| serve);
    let answers = house.answers("/facts");
    for answer in &answers {
        let mut words = answer.split(' ');
        assert_eq!(words.next(), Some("Thread"), "{answer}");
        let name = words.next().unwrap();
        assert!(name.starts_with("oxicorn-"), "{answer}");
        assert_eq!(words.next(), Some(name), "{answer}");
        assert_eq!(words.next(), Some("daemon=True"), "{answer}");
        assert_eq!(words.next(), Some("main=False"), "{answer}");
    }
    assert!(answers.len() > 1, "{answers:?}");
    house.server.stop();
}

// Gunicorn: W11
#[test]
fn functions_of_settrace_and_setprofile_are_in_force_in_them() {
    let house = house(|serve| serve);
    for answer in house.answers("/hooks") {
        let (name, seen) = answer.split_once(' ').unwrap();
        let name = format!("'{name}'");
        assert_eq!(seen.matches(&name).count(), 2, "{answer}");
    }
    house.server.stop();
}

// Gunicorn: W11
#[test]
fn deep_recursion_ends_in_a_result_or_an_error_and_no_crash() {
    let house = house(|serve| serve);
    let worker = house.get("/pid");
    for target in ["/nested?5000", "/sorting?3000"] {
        for _ in 0..6 {
            let answer = house.get(target);
            let expected = ["10002", "3000", "RecursionError"];
            assert!(expected.contains(&&*answer), "{target}: {answer}");
        }
    }
    assert_eq!(house.get("/pid"), worker);
    house.server.stop();
}

// Gunicorn: W11
#[test]
fn stack_size_of_the_application_and_of_the_system_is_theirs() {
    for limit in ["STACK=256", "ulimit -s 262144"] {
        let house = house(|serve| match limit.split_once('=') {
            Some((name, value)) => serve.env(name, value),
            None => serve.after(limit),
        });
        let worker = house.get("/pid");
        let answer = house.get("/nested?60000");
        assert!(
            ["120002", "RecursionError"].contains(&&*answer),
            "{limit}: {answer}"
        );
        assert_eq!(house.get("/pid"), worker, "{limit}");
        house.server.stop();
    }
}

// Gunicorn: W11
#[test]
fn signal_handlers_of_the_application_run_in_an_idle_worker() {
    let house = house(|serve| serve);
    // Whoever has led before waits now.
    house.answers("/pid");
    house.signal_and_look();
    house.server.stop();
}

// Gunicorn: W11
#[test]
fn signal_handlers_of_the_application_run_in_a_busy_worker() {
    let house = house(|serve| serve);
    let mut clients: Vec<_> = (0..6).map(|_| house.server.client()).collect();
    for client in &mut clients {
        client.send("GET /busy?1500 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    house.signal_and_look();
    for client in &mut clients {
        assert_eq!(client.response().expect(200).text(), "busy");
    }
    house.server.stop();
}

#[test]
fn wake_up_descriptor_of_the_application_stays() {
    let house = house(|serve| serve.env("WAKE", "1"));
    house.signal_and_look();
    assert_eq!(house.get("/woken"), "True");
    house.server.stop();
}

#[test]
fn serving_threads_exist_though_threading_can_start_none() {
    let house = house(|serve| serve.env("PATCHED", "1"));
    house
        .server
        .stderr()
        .wait_for("threading.Thread starts no thread of the system here");
    for answer in house.answers("/facts") {
        assert!(answer.ends_with("main=False"), "{answer}");
    }
    house.signal_and_look();
    house.server.stop();
}

#[test]
fn thread_that_cannot_be_started_is_a_failed_start() {
    let exited = Serve::app("threading_facts:app")
        .args(["--threads", "4"])
        .env("BROKEN", "1")
        .env("HANDLED", "/dev/null")
        .run();
    assert_eq!(exited.status, 3);
    assert!(
        exited
            .last()
            .contains("cannot start a worker's thread: RuntimeError: as intended"),
        "{}",
        exited.last()
    );
}
