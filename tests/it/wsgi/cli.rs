//! The command line: Gunicorn's names, both spellings, and what is said where it is wrong.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Exited, Serve, Server, root};

#[derive(serde::Deserialize)]
struct Facts {
    cwd: String,
    environment: BTreeMap<String, String>,
    path: Vec<String>,
}

fn facts(server: &Server) -> Facts {
    let response = server.get("/process").expect(200);
    serde_json::from_str(response.text()).expect("it is JSON")
}

#[track_caller]
fn assert_usage_error(exited: &Exited, words: &[&str]) {
    assert_eq!(exited.status, 2, "{exited:#?}");
    let all = exited.stderr.join("\n");
    for word in words {
        assert!(all.contains(word), "no {word:?} in {all}");
    }
}

// Gunicorn: G45
#[test]
fn unknown_flag_exits_2_and_names_the_nearest() {
    let exited = Serve::command_line(["--wokers", "2", "probe:app"]).run();
    assert_usage_error(&exited, &["--wokers", "--workers"]);
    let exited = Serve::command_line(["--no-such-thing-at-all", "probe:app"]).run();
    assert_usage_error(&exited, &["--no-such-thing-at-all"]);
}

#[test]
fn wrong_value_is_named_with_its_flag() {
    for (flag, value) in [
        ("--workers", "many"),
        ("--timeout", "-1"),
        ("--keep-alive", "x"),
        ("--log-level", "loud"),
    ] {
        let exited = Serve::command_line([&format!("{flag}={value}"), "probe:app"]).run();
        assert!(matches!(exited.status, 1 | 2), "{exited:#?}");
        let all = exited.stderr.join("\n");
        assert!(
            all.contains(flag.trim_start_matches('-')) || all.contains(flag),
            "{all}"
        );
        assert!(all.contains(value), "{all}");
    }
}

#[test]
fn missing_application_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("sock");
    let bind = format!("unix:{}", socket.display());
    let exited = Serve::command_line(["--workers", "1", "--bind", &bind]).run();
    assert_ne!(exited.status, 0);
    assert!(!socket.exists(), "the socket's file is left");
    assert!(
        exited.stderr.join("\n").to_lowercase().contains("app"),
        "{exited:#?}"
    );
}

// Gunicorn: HUP1, G33, S33
#[test]
fn flags_are_taken_long_short_and_with_an_equals_sign() {
    let apps = root().join("tests/apps");
    let apps = apps.to_str().expect("UTF-8");
    for args in [
        vec![
            "-b",
            "127.0.0.1:0",
            "-w",
            "2",
            "-t",
            "20",
            "-e",
            "FROM_FLAG=yes",
            "--chdir",
            apps,
        ],
        vec![
            "-b127.0.0.1:0",
            "-w2",
            "-t20",
            "-eFROM_FLAG=yes",
            "--chdir",
            apps,
        ],
        vec![
            "--bind=127.0.0.1:0",
            "--workers=2",
            "--timeout=20",
            "--graceful-timeout=5",
            "--keep-alive=3",
            "--backlog=64",
            "--log-level=info",
            "--env=FROM_FLAG=yes",
            &format!("--chdir={apps}"),
        ],
    ] {
        let server = Serve::command_line(args.iter().copied().chain(["probe:app"])).start();
        server.workers(2);
        assert_eq!(facts(&server).environment["FROM_FLAG"], "yes");
        server.stop();
    }
    // The application may stand before the flags.
    let server = Serve::command_line(["probe:app", "--chdir", apps, "-b", "127.0.0.1:0"]).start();
    server.get("/pid").expect(200);
    server.stop();
}

#[test]
fn more_connections_than_the_system_has_are_as_many_as_it_has() {
    let most = format!("--worker-connections={}", u64::MAX);
    let server = Serve::app("probe:app").args([&most]).start();
    server.get("/pid").expect(200);
    server.stop();
}

#[test]
fn help_names_the_settings_and_exits_0() {
    let exited = Serve::command_line(["--help"]).run();
    assert_eq!(exited.status, 0, "{exited:#?}");
    let help = exited.stdout.join("\n");
    for flag in [
        "--bind",
        "--workers",
        "--timeout",
        "--graceful-timeout",
        "--keep-alive",
        "--backlog",
        "--chdir",
        "--pythonpath",
        "--pid",
        "--log-level",
        "--access-logfile",
        "--error-logfile",
        "--env",
        "--venv",
    ] {
        assert!(help.contains(flag), "no {flag} in {help}");
    }
}

// Gunicorn: S31, S43
#[test]
fn working_folder_comes_first_on_the_module_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let there = fs::canonicalize(folder.path()).expect("it is there");
    let here = there.to_str().expect("UTF-8");
    fs::copy(root().join("tests/apps/probe.py"), there.join("mine.py")).expect("a copy");
    // The current folder, and a relative folder to change to.
    for (from, chdir) in [
        (there.as_path(), "."),
        (there.parent().expect("/tmp"), here),
    ] {
        let server = Serve::command_line(["--chdir", chdir, "-b", "127.0.0.1:0", "mine:app"])
            .started_in(from)
            .env("PYTHONPATH", "/from/environment")
            .args(["--pythonpath", "/from/flag,/and/another"])
            .start();
        let facts = facts(&server);
        assert_eq!(facts.cwd, here);
        assert_eq!(facts.path[0], here, "{:?}", facts.path);
        for folder in ["/from/environment", "/from/flag", "/and/another"] {
            assert!(
                facts.path.iter().any(|p| p == folder),
                "{folder}: {:?}",
                facts.path
            );
        }
        server.stop();
    }
    let server = Serve::command_line(["-b", "127.0.0.1:0", "mine:app"])
        .started_in(&there)
        .start();
    assert_eq!(facts(&server).path[0], here);
    server.stop();
}

#[test]
fn python_variables_of_the_environment_are_honoured() {
    let server = Serve::app("probe:app")
        .env("PYTHONWARNINGS", "error")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .start();
    let environment = facts(&server).environment;
    assert_eq!(environment["PYTHONWARNINGS"], "error");
    server.stop();
}

#[test]
fn server_line_can_be_another_or_left_out_but_never_two() {
    for (flag, line) in [
        ("--server-header=shop/1 (b)", Some("shop/1 (b)")),
        ("--server-header=", None),
    ] {
        let server = Serve::app("probe:app").args([flag]).start();
        assert_eq!(server.get("/pid").expect(200).header("server"), line);
        let mut client = server.client();
        let refused = client.send("GET\r\n\r\n").response().expect(400);
        assert_eq!(refused.header("server"), line);
        server.stop();
    }
    let exited = Serve::app("probe:app")
        .args(["--server-header", "a\r\nX-Split: b"])
        .run();
    assert_eq!(exited.status, 2, "{exited:#?}");
}
