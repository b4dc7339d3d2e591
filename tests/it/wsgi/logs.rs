//! What is logged, in which form, and where to.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};

use crate::support::{Address, Serve, eventually};

/// Whether a text has a shape: `0` stands for a digit, `+` for a sign, everything else for itself.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.chars().zip(shape.chars()).all(|(c, s)| match s {
            '0' => c.is_ascii_digit(),
            '+' => matches!(c, '+' | '-'),
            _ => c == s,
        })
}

// Gunicorn: G33
#[test]
fn error_log_has_gunicorns_lines() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1)[0];
    server.get("/pid").expect(200);
    let arbiter = server.pid();
    let exited = server.stop();
    for line in &exited.stderr {
        let stamp = line.get(..27).unwrap_or_default();
        assert!(has_shape(stamp, "[0000-00-00 00:00:00 +0000]"), "{line}");
    }
    for (pid, level, text) in [
        (arbiter, "INFO", "Starting oxicorn"),
        (arbiter, "INFO", "Listening at: http://127.0.0.1:"),
        (arbiter, "INFO", "Using worker: sync"),
        (worker, "INFO", "Booting worker with pid: "),
        (arbiter, "INFO", "Handling signal: term"),
        (worker, "INFO", "Worker exiting (pid: "),
        (arbiter, "INFO", "Shutting down: Master"),
    ] {
        let expected = format!("[{pid}] [{level}] {text}");
        assert!(
            exited.stderr.iter().any(|l| l.contains(&expected)),
            "{expected}: {exited:#?}"
        );
    }
}

#[test]
fn times_are_local_whether_the_zone_has_a_name_or_rules() {
    for zone in ["America/St_Johns", "NST3:30NDT,M3.2.0,M11.1.0"] {
        if !zone.contains(',')
            && !std::path::Path::new("/usr/share/zoneinfo")
                .join(zone)
                .exists()
        {
            println!("this machine knows no zones by name");
            continue;
        }
        let server = Serve::app("probe:app")
            .args(["--access-logfile", "-"])
            .env("TZ", zone)
            .start();
        server.get("/pid").expect(200);
        let exited = server.stop();
        for line in exited.stderr.iter().chain(&exited.stdout) {
            assert!(
                ["-0330]", "-0230]"]
                    .iter()
                    .any(|offset| line.contains(offset)),
                "{zone}: {line}"
            );
        }
        assert!(!exited.stdout.is_empty());
    }
}

// Gunicorn: S55
#[test]
fn log_level_silences_what_is_below_it() {
    let server = Serve::app("probe:app").start();
    server.stop();
    for (level, shown) in [
        ("error", false),
        ("warning", false),
        ("INFO", true),
        ("debug", true),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("sock");
        let process = Serve::app("probe:app")
            .bind([format!("unix:{}", socket.display())])
            .args(["--log-level", level])
            .spawn();
        // The log may say nothing, so the socket tells.
        let mut client = eventually("it listens", || {
            let stream = std::os::unix::net::UnixStream::connect(&socket).ok();
            stream.map(crate::support::Client::unix)
        });
        client.get("/boom").expect(500);
        process.stderr.wait_for("RuntimeError");
        process.signal(nix::sys::signal::Signal::SIGTERM);
        let exited = process.wait();
        let info = exited.stderr.iter().any(|l| l.contains("[INFO]"));
        assert_eq!(info, shown, "{level}: {exited:#?}");
    }
}

#[test]
fn access_log_is_off_by_default() {
    let server = Serve::app("probe:app").start();
    server.get("/pid").expect(200);
    let exited = server.stop();
    assert!(exited.stdout.is_empty(), "{exited:#?}");
    assert!(
        !exited.stderr.iter().any(|l| l.contains("/pid")),
        "{exited:#?}"
    );
}

#[test]
fn access_log_has_gunicorns_default_line() {
    let server = Serve::app("probe:app")
        .args(["--access-logfile", "-"])
        .start();
    let mut client = server.client();
    client.send(
        "GET /unread?a=%0a HTTP/1.1\r\nHost: a\r\nReferer: http://here/\r\n\
         User-Agent: a \"quoted\" one\r\nAuthorization: Basic QWRhOnNlY3JldA==\r\n\r\n",
    );
    client.response().expect(200);
    let line = server.stdout().wait_for("/unread");
    let (before, rest) = line.split_once('[').expect("the time is in brackets");
    let (time, after) = rest.split_once(']').expect("the time is in brackets");
    assert_eq!(before, "127.0.0.1 - Ada ");
    let month = time.get(3..6).unwrap_or_default();
    assert!(
        "JanFebMarAprMayJunJulAugSepOctNovDec".contains(month),
        "{line}"
    );
    assert!(
        has_shape(
            &time.replacen(month, "Mon", 1),
            "00/Mon/0000:00:00:00 +0000"
        ),
        "{line}"
    );
    assert_eq!(
        after,
        r#" "GET /unread?a=%0a HTTP/1.1" 200 8 "http://here/" "a \"quoted\" one""#
    );
    server.get("/nope").expect(404);
    let line = server.stdout().wait_for("/nope");
    assert!(
        line.ends_with(r#""GET /nope HTTP/1.1" 404 12 "-" "-""#),
        "{line}"
    );
    // Refused requests are logged too.
    server
        .client()
        .send("nonsense\r\n\r\n")
        .response()
        .expect(400);
    server.stdout().wait_for(" 400 ");
    server.stop();
}

#[test]
fn access_log_of_a_unix_client_has_a_dash_for_its_host() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("probe:app")
        .bind([format!("unix:{}", folder.path().join("sock").display())])
        .args(["--access-logfile", "-"])
        .start();
    server.get("/pid").expect(200);
    let line = server.stdout().wait_for("/pid");
    assert!(line.starts_with("- - - ["), "{line}");
    server.stop();
}

// Gunicorn: E5, S54
#[test]
fn logs_go_to_files_where_files_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (access, error) = (folder.path().join("access"), folder.path().join("error"));
    let socket = folder.path().join("sock");
    fs::write(&access, "earlier\n").expect("the folder is writable");
    let process = Serve::app("probe:app")
        .bind([format!("unix:{}", socket.display())])
        .workers(2)
        .args(["--access-logfile".as_ref(), access.as_os_str()])
        .args(["--error-logfile".as_ref(), error.as_os_str()])
        .spawn();
    let connect = || {
        eventually("it listens", || {
            let stream = std::os::unix::net::UnixStream::connect(&socket).ok();
            stream.map(crate::support::Client::unix)
        })
    };
    connect().get("/pid").expect(200);
    connect().get("/boom").expect(500);
    connect().get("/complain").expect(200);
    process.signal(nix::sys::signal::Signal::SIGTERM);
    let exited = process.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
    let access = fs::read_to_string(&access).expect("it is there");
    assert!(access.starts_with("earlier\n"), "it is appended to");
    assert_eq!(access.lines().count(), 4, "{access}");
    let error = fs::read_to_string(&error).expect("it is there");
    for text in ["Booting worker", "RuntimeError", "a line for the error log"] {
        assert!(error.contains(text), "no {text} in {error}");
    }
    assert!(exited.stderr.is_empty(), "{exited:#?}");
}

// Gunicorn: E5
#[test]
fn wsgi_errors_goes_to_the_error_log_and_print_to_stdout() {
    let server = Serve::app("probe:app").start();
    server.get("/complain").expect(200);
    server.stderr().wait_for("a line for the error log");
    server.get("/speak").expect(200);
    let exited = server.stop();
    assert_eq!(exited.stdout, ["a line for standard output"]);
}

// Gunicorn: G7, G15, HUP3
#[test]
fn usr1_opens_the_logs_again_in_the_arbiter_and_in_every_worker() {
    for threads in ["1", "2"] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (access, error) = (path("access"), path("error"));
        let server = Serve::app("probe:app")
            .args(["--threads", threads, "--access-logfile"])
            .args([&access])
            .args(["--error-logfile"])
            .args([&error])
            .bind(["unix:".to_owned() + path("socket").to_str().unwrap()])
            .spawn();
        let read = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_default();
        eventually("a socket that listens", || {
            Address::Unix(path("socket")).try_client().map(drop)
        });
        let request = || {
            let mut client = Address::Unix(path("socket")).client();
            client.get("/pid").expect(200);
        };
        request();
        eventually("a line", || (!read(&access).is_empty()).then_some(()));
        fs::rename(&access, path("access.1")).unwrap();
        fs::rename(&error, path("error.1")).unwrap();
        server.signal(nix::sys::signal::Signal::SIGUSR1);
        eventually("the new files", || {
            (access.exists() && error.exists()).then_some(())
        });
        // The arbiter opens them first: a worker may still write to the old one for a moment.
        let mut asked = 1;
        eventually("a new line", || {
            request();
            asked += 1;
            (!read(&access).is_empty()).then_some(())
        });
        let lines = |path: &std::path::Path| read(path).lines().count();
        eventually("every line", || {
            (lines(&access) + lines(&path("access.1")) == asked).then_some(())
        });
        server.signal(nix::sys::signal::Signal::SIGTERM);
        server.wait();
        assert!(read(&error).contains("Shutting down: Master"));
        assert!(read(&path("error.1")).contains("Handling signal: usr1"));
    }
}

// Gunicorn: U27
#[test]
fn logs_belong_to_the_workers_user_who_can_reopen_them() {
    if !nix::unistd::geteuid().is_root() {
        println!("only root can become somebody else");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| folder.path().join(name);
    // Preloaded, since the Python of this machine may be nothing that everybody can read.
    let server = Serve::app("probe:app")
        .args(["--preload", "--user", "65534", "--access-logfile"])
        .args([path("access")])
        .args(["--error-logfile"])
        .args([path("error")])
        .bind(["unix:".to_owned() + path("socket").to_str().unwrap()])
        .spawn();
    let owner = |name: &str| fs::metadata(path(name)).map(|facts| facts.uid()).ok();
    eventually("the logs of nobody", || {
        (owner("access") == Some(65534) && owner("error") == Some(65534)).then_some(())
    });
    eventually("a socket that listens", || {
        Address::Unix(path("socket")).try_client().map(drop)
    });
    Address::Unix(path("socket"))
        .client()
        .get("/pid")
        .expect(200);
    fs::rename(path("access"), path("access.1")).unwrap();
    server.signal(nix::sys::signal::Signal::SIGUSR1);
    eventually("a line in the new file", || {
        let mut client = Address::Unix(path("socket")).client();
        client.get("/pid").expect(200);
        let text = fs::read_to_string(path("access")).ok()?;
        (!text.is_empty()).then_some(())
    });
    assert_eq!(owner("access"), Some(65534));
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait();
    let error = fs::read_to_string(path("error")).unwrap();
    assert!(!error.contains("cannot open"), "{error}");
}

/// A log in a folder of somebody who has put a link, or another's file, in its place.
#[test]
fn root_opens_no_log_through_another_users_link() {
    if !nix::unistd::geteuid().is_root() {
        println!("only root can give files away");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (theirs, precious) = (path("theirs"), path("precious"));
    fs::create_dir(&theirs).unwrap();
    fs::write(&precious, "precious\n").unwrap();
    lchown(&theirs, Some(65534), None).unwrap();
    let link = |name: &str| {
        let _ = fs::remove_file(theirs.join(name));
        symlink(&precious, theirs.join(name)).unwrap();
        lchown(theirs.join(name), Some(65534), None).unwrap();
    };
    let untouched = || {
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious\n");
        assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
    };
    let serve = || {
        Serve::app("probe:app")
            .args([
                "--preload",
                "--user",
                "65534",
                "--group",
                "65534",
                "--access-logfile",
            ])
            .args([theirs.join("access")])
            .args(["--error-logfile"])
            .args([theirs.join("error")])
            .bind([format!("unix:{}", path("socket").display())])
    };
    for name in ["access", "error"] {
        link(name);
        let exited = serve().run();
        assert_eq!(exited.status, 1, "{exited:#?}");
        let last = exited.last();
        assert!(
            last.contains("root follows no links but root's own"),
            "{last}"
        );
        untouched();
        fs::remove_file(theirs.join(name)).unwrap();
    }
    // A file of root's that somebody could have moved here, and one that is made now.
    let _ = fs::remove_file(theirs.join("access"));
    fs::write(theirs.join("access"), "").unwrap();
    let server = serve().spawn();
    eventually("a socket that listens", || {
        Address::Unix(path("socket")).try_client().map(drop)
    });
    // A socket listens before its server handles signals.
    Address::Unix(path("socket"))
        .client()
        .get("/pid")
        .expect(200);
    let owner = |name: &str| fs::metadata(theirs.join(name)).unwrap().uid();
    assert_eq!((owner("access"), owner("error")), (0, 65534));
    link("access");
    server.signal(nix::sys::signal::Signal::SIGUSR1);
    let log = || fs::read_to_string(theirs.join("error")).unwrap();
    eventually("no word of the link", || {
        log()
            .contains("the file that was open stays in use")
            .then_some(())
    });
    untouched();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.wait().status, 0);
    untouched();
    assert!(
        log().contains("access stays with its owner, user 0"),
        "{}",
        log()
    );
}

#[test]
fn log_may_be_a_link_of_roots_or_a_stream_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    symlink("real", path("log")).unwrap();
    let server = Serve::app("probe:app")
        .args(["--error-logfile", "/dev/stderr", "--access-logfile"])
        .args([path("log")])
        .start();
    server.get("/pid").expect(200);
    server.stop();
    let text = fs::read_to_string(path("real")).unwrap();
    assert!(text.contains("GET /pid"), "{text}");
    let server = Serve::app("probe:app")
        .args(["--access-logfile", "/dev/stdout"])
        .start();
    server.get("/pid").expect(200);
    let exited = server.stop();
    assert!(exited.stdout.iter().any(|line| line.contains("GET /pid")));
}
