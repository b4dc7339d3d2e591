//! What goes to syslog, to statsd, and into the error log's file beside its own lines.

use std::ffi::OsStr;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::support::{PATIENCE, Serve, eventually};

/// Receives until `all` of these are in what came.
#[track_caller]
fn receive(mut next: impl FnMut(&mut [u8]) -> std::io::Result<usize>, all: &[String]) {
    let mut came = String::new();
    while !all.iter().all(|text| came.contains(text.as_str())) {
        let mut text = [0; 1000];
        let length = next(&mut text);
        let length = length.unwrap_or_else(|error| panic!("{error}: {all:?} in\n{came}"));
        came.push_str(&String::from_utf8_lossy(&text[..length]));
        came.push('\n');
    }
}

// Gunicorn: S52, S61, S62, S63, S64, L4, L6
#[test]
fn both_logs_go_to_syslog_or_the_error_log_alone() {
    for access in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        syslog.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = format!("unix://{}#dgram", path.display());
        let mut args = vec!["--log-syslog", "--log-syslog-to", &address];
        args.extend(["--log-syslog-facility", "local1"]);
        if !access {
            args.extend([
                "--log-syslog-prefix",
                "shop",
                "--disable-redirect-access-to-syslog",
            ]);
        }
        let server = Serve::app("probe:app").args(args).start();
        let (arbiter, worker) = (server.pid(), server.workers(1)[0]);
        server.get("/pid?x=1").expect(200);
        let name = if access { "probe.app" } else { "shop" };
        // 17 is local1, and 6 is info.
        let mut wanted = vec![
            format!("<142>gunicorn.{name}.error: [{arbiter}] Listening at: "),
            format!("<142>gunicorn.{name}.error: [{worker}] Booting worker with pid: "),
        ];
        if access {
            wanted.push(format!(
                "<142>gunicorn.{name}.access: [{worker}] 127.0.0.1 - - ["
            ));
        }
        receive(|text| syslog.recv(text), &wanted);
        assert!(server.stop().stdout.is_empty());
        if !access {
            syslog.set_nonblocking(true).unwrap();
            let mut text = [0; 1000];
            while let Ok(length) = syslog.recv(&mut text) {
                let text = String::from_utf8_lossy(&text[..length]);
                assert!(!text.contains(".access:"), "{text}");
            }
        }
    }
}

// Gunicorn: S72, S73, S74, L23, L24, L25, L26, L27
#[test]
fn gunicorns_metrics_go_to_statsd() {
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    statsd.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = statsd.local_addr().unwrap().to_string();
    let server = Serve::app("probe:app")
        .args(["--statsd-host", &address, "--statsd-prefix", "shop"])
        .args(["--dogstatsd-tags", "a:b"])
        .start();
    server.get("/nothing").expect(404);
    // A request that the server refuses is a warning.
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\n\r\n").response().expect(400);
    server.signal(Signal::SIGTTIN);
    let line = |text: &str| format!("shop.gunicorn.{text}|#a:b");
    let wanted = [
        line("requests:1|c|@1.0"),
        line("request.status.404:1|c|@1.0"),
        line("request.status.400:1|c|@1.0"),
        line("log.warning:1|c|@1.0"),
        line("workers:1|g"),
        line("workers:2|g"),
        "shop.gunicorn.request.duration:".to_owned(),
        "|ms|#a:b".to_owned(),
    ];
    receive(|text| statsd.recv(text), &wanted);
    server.stop();
}

// Gunicorn: S56
#[test]
fn output_is_captured_in_the_error_logs_file_also_after_usr1() {
    let dir = tempfile::tempdir().unwrap();
    let (log, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let server = Serve::app("probe:app")
        .args([
            OsStr::new("--capture-output"),
            OsStr::new("--log-file"),
            log.as_os_str(),
        ])
        .spawn();
    let address = eventually("no server listens", || {
        let text = fs::read_to_string(&log).ok()?;
        let (_, url) = text.split_once("Listening at: http://")?;
        let (address, _) = url.split_once(" (")?;
        address.parse().ok()
    });
    let get = |target: &str| crate::support::Client::connect(address).get(target);
    get("/prints?first").expect(200);
    eventually("no output", || {
        let text = fs::read_to_string(&log).ok()?;
        text.lines().any(|line| line == "first").then_some(())
    });
    fs::rename(&log, &old).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually("the log is not opened again", || log.exists().then_some(()));
    let mut count = 0;
    eventually("no output in the new file", || {
        count += 1;
        get(&format!("/prints?again-{count}")).expect(200);
        let text = fs::read_to_string(&log).ok()?;
        text.lines()
            .any(|line| line.starts_with("again-"))
            .then_some(())
    });
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:?}");
    assert!(
        exited.stdout.is_empty() && exited.stderr.is_empty(),
        "{exited:?}"
    );
}
