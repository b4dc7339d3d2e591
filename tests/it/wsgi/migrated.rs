//! Configuration files in the manner of those in the wild, run unchanged by Gunicorn and here: `tests/apps/migrated`.
//! What they see must be the same.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Process, Serve, Server, python_env, root, send};

/// A configuration file, with what a test does with its server.
struct Case {
    file: &'static str,
    /// Requests, one after the other, and what they must get.
    requests: &'static [(&'static str, &'static str)],
    /// A line that must come before the server is stopped.
    awaited: Option<&'static str>,
    /// How many workers are forked; without a number as many as the file has seen.
    workers: Option<usize>,
    /// Whether the worker is stopped, too, before the server is.
    recycled: bool,
    /// What is seen.
    seen: &'static [&'static str],
}

const CASE: Case = Case {
    file: "",
    requests: &[("/", "hello")],
    awaited: None,
    workers: Some(1),
    recycled: false,
    seen: &[],
};

const VARIABLES: &[(&str, &str)] = &[
    ("SHOP_GUNICORN_BIND", "127.0.0.1:0"),
    ("SHOP_GUNICORN_WORKERS", "2"),
    ("SHOP_GUNICORN_TIMEOUT", "45"),
    ("SHOP_GUNICORN_GRACEFUL_TIMEOUT", "7"),
    ("SHOP_GUNICORN_PROC_NAME", "shop"),
];

fn folder() -> PathBuf {
    root().join("tests/apps/migrated")
}

fn gunicorn(file: &str, metrics: &TempDir) -> Server {
    let mut command = Command::new(python_env().join("bin/python"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PYTHON") || text.starts_with("GUNICORN") || text == "PORT" {
            command.env_remove(name);
        }
    }
    command
        .args([
            "-m",
            "gunicorn",
            "--no-control-socket",
            "-c",
            file,
            "app:app",
        ])
        .current_dir(folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PROMETHEUS_MULTIPROC_DIR", metrics.path())
        .envs(VARIABLES.iter().copied());
    Server::listening(Process::spawn(&mut command, None))
}

fn ours(file: &str, metrics: &TempDir) -> Server {
    let serve = Serve::command_line(["-c", file, "app:app"])
        .started_in(folder())
        .env("VIRTUAL_ENV", python_env())
        .env("PROMETHEUS_MULTIPROC_DIR", metrics.path());
    let variables = VARIABLES.iter();
    variables
        .fold(serve, |serve, (name, value)| serve.env(name, value))
        .start()
}

/// Waits until so many workers have imported the application. One of Gunicorn's that gets TERM before it begins to import does
/// not hear it, and is killed after 30 seconds.
#[track_caller]
fn wait_for_imports(server: &Server, workers: Option<usize>) {
    let count =
        |lines: &[String], begin: &str| lines.iter().filter(|l| l.starts_with(begin)).count();
    server.stdout().wait_until("all workers", |lines| {
        let workers = workers.unwrap_or_else(|| count(lines, "seen worker "));
        (count(lines, "seen import") >= workers).then_some(())
    });
}

/// What is seen by a server's configuration file and its application.
fn seen(case: &Case, server: Server) -> Vec<String> {
    for (path, wanted) in case.requests {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Mark: m\r\nConnection: close\r\n\r\n");
        let mut client = server.client();
        client.send(&request);
        if !wanted.is_empty() {
            assert_eq!(client.response().expect(200).text(), *wanted, "{path}");
        }
    }
    if let Some(line) = case.awaited {
        server.stdout().wait_for(line);
    }
    wait_for_imports(&server, case.workers);
    if case.recycled {
        send(server.workers(1)[0], Signal::SIGTERM);
        server.stdout().wait_for("seen child_exit");
        wait_for_imports(&server, Some(2));
    }
    let exited = server.stop();
    let mut lines = exited.stdout;
    lines.retain(|line| line.starts_with("seen ") && line != "seen import");
    lines.sort();
    lines
}

#[track_caller]
fn assert_same(case: &Case) {
    let metrics = || tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (metrics(), metrics());
    let theirs = seen(case, gunicorn(case.file, &first));
    let ours = seen(case, ours(case.file, &second));
    assert_eq!(theirs, ours, "{}: Gunicorn, and here", case.file);
    for line in case.seen {
        let line = format!("seen {line}");
        assert!(ours.contains(&line), "no {line} in {ours:#?}");
    }
}

#[test]
fn metrics_of_a_worker_that_has_gone_are_removed() {
    assert_same(&Case {
        file: "metrics.conf.py",
        requests: &[("/count", "hello")],
        recycled: true,
        seen: &["child_exit 1 0"],
        ..CASE
    });
}

#[test]
fn worker_that_hangs_shows_its_stacks() {
    assert_same(&Case {
        file: "stacks.conf.py",
        requests: &[("/held", "")],
        awaited: Some("seen stack"),
        // The one that hangs, and the one after it.
        workers: Some(2),
        seen: &["stack MainThread True False"],
        ..CASE
    });
}

#[test]
fn thread_of_when_ready_lives_in_the_master() {
    assert_same(&Case {
        file: "beat.conf.py",
        awaited: Some("seen beat"),
        seen: &["beat beat 1"],
        ..CASE
    });
}

#[test]
fn workers_are_computed_from_the_processors() {
    assert_same(&Case {
        file: "cpus.conf.py",
        seen: &["workers True True 2", "worker 1"],
        awaited: Some("seen last"),
        workers: None,
        ..CASE
    });
}

#[test]
fn everything_comes_from_the_environment() {
    assert_same(&Case {
        file: "variables.conf.py",
        workers: Some(2),
        seen: &["cfg 2 45 7 1 shop"],
        ..CASE
    });
}

#[test]
fn effects_of_on_starting_reach_the_workers() {
    assert_same(&Case {
        file: "starting.conf.py",
        requests: &[("/variables", "42")],
        workers: Some(2),
        seen: &["on_starting 0 42 True", "on_exit 0"],
        ..CASE
    });
}

#[test]
fn connections_are_made_anew_in_post_fork() {
    assert_same(&Case {
        file: "reconnect.conf.py",
        requests: &[("/owner", "own"), ("/owner", "own")],
        seen: &["post_fork True True 1", "worker_exit True"],
        ..CASE
    });
}

#[test]
fn requests_are_timed_by_their_hooks() {
    assert_same(&Case {
        file: "timing.conf.py",
        requests: &[("/a?b=c", "hello"), ("/%61", "hello")],
        awaited: Some("seen GET /%61"),
        seen: &["GET /a b=c 200 OK 5 5 True /a m 1"],
        ..CASE
    });
}

#[test]
fn file_shares_a_neighbour_with_the_application() {
    assert_same(&Case {
        file: "neighbour.conf.py",
        workers: Some(3),
        seen: &["neighbour 3 ['web', 'worker'] migrated __config__ True"],
        ..CASE
    });
}

#[test]
fn logging_is_configured_by_a_dictionary() {
    assert_same(&Case {
        file: "json_log.conf.py",
        awaited: Some("seen log shop"),
        seen: &[
            "log gunicorn.error WARNING mine: 1",
            "log shop INFO mine: shop",
        ],
        ..CASE
    });
}

#[test]
fn logger_class_leaves_health_checks_out() {
    assert_same(&Case {
        file: "logger.conf.py",
        requests: &[("/health", "hello"), ("/shop", "hello")],
        awaited: Some("seen access"),
        seen: &["access GET /shop 200 5"],
        ..CASE
    });
}

#[test]
fn tracing_is_set_up_in_post_fork() {
    assert_same(&Case {
        file: "tracing.conf.py",
        requests: &[("/span", "hello")],
        awaited: Some("seen span"),
        seen: &["span answer 1"],
        ..CASE
    });
}
