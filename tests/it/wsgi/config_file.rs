//! Configuration files that are Python programs: which one is read, where it runs, and what is said where it fails.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use tempfile::TempDir;

use crate::support::{Exited, Serve, Server, python, root};

/// A folder with an application that tells what it finds, and these files.
fn site(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copied = fs::copy(
        root().join("tests/apps/probe.py"),
        folder.path().join("probe.py"),
    );
    copied.expect("a copy");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("the folder is there");
    }
    folder
}

/// A server in such a folder.
fn serve(folder: &Path, args: &[&str]) -> Serve {
    Serve::command_line(args.iter().copied().chain(["probe:app"])).started_in(folder)
}

fn facts(server: &Server) -> serde_json::Value {
    let response = server.get("/process").expect(200);
    serde_json::from_str(response.text()).expect("it is JSON")
}

/// What the server would be started with, or its failure.
fn print_config(folder: &Path, args: &[&str]) -> Exited {
    serve(folder, args).args(["--print-config"]).run()
}

#[track_caller]
fn assert_printed(folder: &Path, args: &[&str], lines: &[&str]) {
    let exited = print_config(folder, args);
    assert_eq!(exited.status, 0, "{exited:#?}");
    for line in lines {
        assert!(
            exited.stdout.iter().any(|printed| printed == line),
            "no {line:?} in {exited:#?}"
        );
    }
}

/// The file's path as the server names it.
fn named(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}

// Gunicorn: S1, S5
#[test]
fn default_file_is_read_where_the_server_is_started() {
    let folder = site(&[
        (
            "gunicorn.conf.py",
            "import os, pathlib, sys\n\
         import neighbour\n\
         bind = '127.0.0.1:0'\n\
         workers = neighbour.COUNT\n\
         os.environ['FROM_FILE'] = __name__ + ' ' + str(pathlib.Path(__file__).parent)\n\
         sys.path.append('/from/file')\n",
        ),
        ("neighbour.py", "COUNT = '2'\n"),
    ]);
    let there = fs::canonicalize(folder.path()).expect("it is there");
    let server = serve(&there, &[]).start();
    server.workers(2);
    let facts = facts(&server);
    let wanted = format!("__config__ {}", there.display());
    assert_eq!(facts["environment"]["FROM_FILE"], wanted.as_str());
    let path: Vec<_> = facts["path"].as_array().expect("a list").iter().collect();
    assert!(path.iter().any(|entry| *entry == "/from/file"), "{path:?}");
    server.stop();
}

// Gunicorn: S1, C1, C2
#[test]
fn file_is_named_by_path_or_module_and_its_lines_are_told() {
    let text = "if True:\n    workers = 3\nelse:\n    workers = 4\n\
                locals().update(timeout='17')\nkeepalive = None\nbacklog = 0x40\n\
                raw_env = ['A=1', 'B=2']\nhost = 'my own'\n";
    let folder = site(&[("shop.conf.py", text), ("settings.py", text)]);
    let folder = folder.path();
    for (flag, file) in [
        ("shop.conf.py", "shop.conf.py"),
        ("file:shop.conf.py", "shop.conf.py"),
        ("python:settings", "settings.py"),
    ] {
        let file = named(folder, file);
        assert_printed(
            folder,
            &["-c", flag, "--backlog", "9"],
            &[
                &format!("workers = 3  ({file}:2)"),
                &format!("timeout = 17  ({file}:5)"),
                "keepalive = 2  (default)",
                "backlog = 9  (--backlog)",
                &format!("raw_env = A=1,B=2  ({file}:8)"),
            ],
        );
    }
    // No file is read that is not named or the default.
    assert_printed(folder, &[], &["workers = 1  (default)"]);
}

#[test]
fn file_comes_between_the_environment_and_the_flags() {
    let folder = site(&[("gunicorn.conf.py", "workers = 5\nthreads = 5\n")]);
    let exited = serve(folder.path(), &["--threads", "2", "--print-config"])
        .env("WEB_CONCURRENCY", "9")
        .env("PORT", "81")
        .run();
    let file = named(folder.path(), "gunicorn.conf.py");
    for line in [
        &format!("workers = 5  ({file}:1)"),
        "threads = 2  (--threads)",
        "bind = 0.0.0.0:81  (PORT)",
    ] {
        assert!(
            exited.stdout.iter().any(|printed| printed == line),
            "{exited:#?}"
        );
    }
}

#[test]
fn file_runs_in_the_virtual_environment_that_it_names() {
    let folder = site(&[("gunicorn.conf.py", "\nvenv = '/nowhere'\n")]);
    let exited = serve(folder.path(), &[]).run();
    assert_eq!(exited.status, 1, "{exited:#?}");
    let file = named(folder.path(), "gunicorn.conf.py");
    let wanted =
        format!("Error: venv = /nowhere ({file}:2) is not where the file itself runs, which is /");
    assert!(exited.last().starts_with(&wanted), "{exited:#?}");
    let python = Command::new(python())
        .args(["-c", "import sys; print(sys.prefix)"])
        .output();
    let prefix = String::from_utf8(python.expect("there is one").stdout).expect("UTF-8");
    let text = format!("venv = '{}'\n", prefix.trim());
    fs::write(folder.path().join("gunicorn.conf.py"), text).expect("the folder is there");
    let exited = print_config(folder.path(), &[]);
    assert!(!exited.log().contains("is not where"), "{exited:#?}");
}

// Gunicorn: HUP1
#[test]
fn modules_that_a_file_has_imported_stay_old_and_are_named() {
    let folder = site(&[
        (
            "gunicorn.conf.py",
            "import helper\nimport json\nbind = '127.0.0.1:0'\n",
        ),
        ("helper.py", "x = 1\n"),
    ]);
    let server = serve(folder.path(), &[]).start();
    // A worker that still boots would end by the signal, without a word of its own.
    server.get("/pid").expect(200);
    server.signal(Signal::SIGHUP);
    server.stderr().wait_for("exited with code 0");
    assert!(!server.stderr().contain("Changed since"));
    let helper = File::options()
        .write(true)
        .open(folder.path().join("helper.py"));
    let later = SystemTime::now() + Duration::from_secs(5);
    helper
        .and_then(|file| file.set_modified(later))
        .expect("it is there");
    server.signal(Signal::SIGHUP);
    let line = server
        .stderr()
        .wait_for("Changed since the arbiter has imported them");
    assert!(
        line.contains("in its workers: helper (an upgrade"),
        "{line}"
    );
    server.stop();
}

#[test]
fn sockets_beside_the_listeners_stay_and_a_reload_says_so() {
    let folder = site(&[("gunicorn.conf.py", "bind = '127.0.0.1:0'\n")]);
    let server = serve(folder.path(), &[]).start();
    let changed = "bind = '127.0.0.1:0'\nstatus_bind = '127.0.0.1:1'\ncontrol_socket = 'ctl'\n";
    fs::write(folder.path().join("gunicorn.conf.py"), changed).expect("the folder is there");
    server.signal(Signal::SIGHUP);
    for name in ["control_socket", "status_bind"] {
        server.stderr().wait_for(&format!(
            "[WARNING] {name} has changed, and stays as it is until the next start"
        ));
    }
    server.stop();
}

// Gunicorn: G45
#[test]
fn file_that_fails_is_told_with_line_and_cause() {
    let folder = site(&[
        ("raises.py", "x = 1\nimport inner\ninner.fail()\n"),
        (
            "inner.py",
            "def fail():\n    raise ValueError('bad\\nday')\n",
        ),
        ("syntax.py", "x = 1\nworkers = = 2\n"),
        ("leaves.py", "import sys\nsys.exit(7)\n"),
        ("value.py", "\nworkers = 'many'\n"),
        ("object.py", "host = object()\ntimeout = print\n"),
    ]);
    let folder = folder.path();
    let at = |file: &str, line| format!("{} line {line}", named(folder, file));
    for (flag, status, sentence) in [
        (
            "raises.py",
            1,
            format!(
                "cannot run the configuration file {}: ValueError: bad ({}, raised in {})",
                named(folder, "raises.py"),
                at("raises.py", 3),
                at("inner.py", 2)
            ),
        ),
        (
            "syntax.py",
            1,
            format!(
                "cannot run the configuration file {}: SyntaxError: invalid syntax ({})",
                named(folder, "syntax.py"),
                at("syntax.py", 2)
            ),
        ),
        (
            "leaves.py",
            7,
            format!(
                "cannot run the configuration file {}: it called sys.exit(7) ({})",
                named(folder, "leaves.py"),
                at("leaves.py", 2)
            ),
        ),
        (
            "python:leaves",
            7,
            format!(
                "cannot run the configuration module leaves: it called sys.exit(7) ({})",
                at("leaves.py", 2)
            ),
        ),
        (
            "python:missing",
            1,
            "cannot run the configuration module missing: ModuleNotFoundError: No module named 'missing'"
                .to_owned(),
        ),
        (
            "missing.py",
            1,
            format!("there is no configuration file {}", named(folder, "missing.py")),
        ),
        (
            "value.py",
            1,
            format!(
                "invalid value 'many' for workers ({}:2): expected a whole number",
                named(folder, "value.py")
            ),
        ),
        (
            "object.py",
            1,
            format!(
                "invalid value '<built-in function print>' for timeout ({}:2): expected a text, a number or a truth value",
                named(folder, "object.py")
            ),
        ),
    ] {
        let exited = serve(folder, &["-c", flag]).run();
        assert_eq!(exited.status, status, "{exited:#?}");
        assert_eq!(exited.last(), format!("Error: {sentence}"), "{exited:#?}");
        assert!(!exited.log().contains("<oxicorn>"), "{exited:#?}");
    }
}

// Gunicorn: C1, C2
#[test]
fn gunicorns_variable_gives_flags_and_a_file() {
    let folder = site(&[
        ("a.py", "workers = 3\nthreads = 3\n"),
        ("b.py", "workers = 4\n"),
    ]);
    let folder = folder.path();
    let printed = |args: &[&str], flags: &str| {
        let serve = serve(folder, args).args(["--print-config"]);
        serve.env("GUNICORN_CMD_ARGS", flags).run().stdout
    };
    let lines = printed(&["--backlog", "5"], "-c a.py --threads 6 --backlog 6");
    for line in [
        format!("workers = 3  ({}:1)", named(folder, "a.py")),
        "threads = 6  (GUNICORN_CMD_ARGS)".to_owned(),
        "backlog = 5  (--backlog)".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }
    let lines = printed(&["-c", "b.py"], "-c a.py");
    let line = format!("workers = 4  ({}:1)", named(folder, "b.py"));
    assert!(lines.contains(&line), "{lines:#?}");
}

// Gunicorn: S26, G45
#[test]
fn check_loads_file_and_application_and_tells_by_its_status() {
    let folder = site(&[
        ("gunicorn.conf.py", "workers = 2\n"),
        ("wrong.py", "workers = 'many'\n"),
        ("broken.py", "import nothing_of_that_name\n"),
    ]);
    let check = |args: &[&str]| {
        let args = args.iter().copied().chain(["--check-config"]);
        Serve::command_line(args).started_in(folder.path()).run()
    };
    let exited = check(&["probe:app"]);
    assert_eq!(exited.status, 0, "{exited:#?}");
    for (args, wanted) in [
        (&["-c", "wrong.py", "probe:app"][..], "wrong.py:1"),
        (&["broken:app"], "nothing_of_that_name"),
        (&["probe:nothing"], "nothing"),
        (&["-c", "none.py", "probe:app"], "none.py"),
        // What a start would find wrong before it opens anything.
        (
            &["-b", "localhost:99999", "probe:app"],
            "bind (-b/--bind): ",
        ),
        (
            &["--user", "nobody-of-that-name", "probe:app"],
            "user (-u/--user): ",
        ),
        (
            &[
                "--access-logfile",
                "-",
                "--access-logformat",
                "%(h",
                "probe:app",
            ],
            "access_log_format (--access-logformat): ",
        ),
        (
            &["--statsd-host", "a b", "probe:app"],
            "statsd_host (--statsd-host): ",
        ),
        (
            &["--log-config", "none.ini", "probe:app"],
            "there is no file none.ini",
        ),
    ] {
        let exited = check(args);
        assert_eq!(exited.status, 1, "{exited:#?}");
        assert!(exited.log().contains(wanted), "{exited:#?}");
    }
    assert_eq!(check(&["--wrokers", "probe:app"]).status, 2);
    fs::write(folder.path().join("near.py"), "keep_alive = 3\n").unwrap();
    let exited = check(&["-c", "near.py", "probe:app"]);
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(exited.log().contains("keepalive"), "{exited:#?}");
}
