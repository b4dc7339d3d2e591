//! The server as a daemon, and in the list of processes.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getsid};

use crate::support::{Address, Serve, eventually, send};

/// A daemon by its pid file, ended with the test.
struct Daemon {
    folder: tempfile::TempDir,
    pid: Option<Pid>,
}

impl Daemon {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, pid: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Started in the folder, with relative paths.
    fn serve(&self) -> Serve {
        Serve::app("probe:app")
            .bind([format!("unix:{}", self.path("sock").display())])
            .args(["-D", "--pid"])
            .args([self.path("pid")])
    }

    fn found(&mut self) -> Pid {
        let pid = eventually("no pid file", || self.read("pid").trim().parse().ok());
        *self.pid.insert(Pid::from_raw(pid))
    }

    fn stop(&mut self) {
        if let Some(pid) = self.pid.take() {
            send(pid, Signal::SIGTERM);
            eventually("the pid file stays", || {
                (!self.path("pid").exists()).then_some(())
            });
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            send(pid, Signal::SIGQUIT);
        }
    }
}

fn stream(pid: Pid, number: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("it lives")
}

// Gunicorn: G67, S32
#[test]
fn daemon_outlives_its_caller_and_stops_by_its_pid_file() {
    let mut daemon = Daemon::new();
    let log = daemon.path("log");
    let exited = daemon.serve().args(["--error-logfile"]).args([&log]).run();
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(exited.stderr.is_empty(), "{exited:#?}");
    let pid = daemon.found();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    assert_eq!(mask.map(str::trim), Some("0022"));
    let session = getsid(Some(pid)).expect("it lives");
    assert_ne!(Some(session), getsid(None).ok());
    assert_ne!(session, pid, "a session's leader could get a terminal");
    for number in 0..3 {
        assert_eq!(stream(pid, number), Path::new("/dev/null"));
    }
    eventually("nobody listens", || {
        daemon.path("sock").exists().then_some(())
    });
    Address::Unix(daemon.path("sock"))
        .client()
        .get("/pid")
        .expect(200);
    daemon.stop();
    assert!(daemon.read("log").contains("Shutting down: Master"));
}

// Gunicorn: G67, S65
#[test]
fn daemon_keeps_its_streams_where_it_is_told_to() {
    let mut daemon = Daemon::new();
    let (out, kept) = (daemon.path("out"), daemon.path("out").display().to_string());
    let exited = daemon
        .serve()
        .args(["-R"])
        .after(&format!("exec >'{kept}' 2>&1"))
        .run();
    assert_eq!(exited.status, 0, "{exited:#?}");
    let pid = daemon.found();
    assert_eq!([stream(pid, 1), stream(pid, 2)], [out.clone(), out]);
    assert_eq!(stream(pid, 0), Path::new("/dev/null"));
    eventually("no log", || {
        daemon.read("out").contains("Listening at: ").then_some(())
    });
    daemon.stop();
}

// Gunicorn: G31
#[test]
fn daemon_under_a_service_manager_is_warned_of() {
    let mut daemon = Daemon::new();
    let exited = daemon.serve().env("NOTIFY_SOCKET", "/nowhere").run();
    assert_eq!(exited.status, 0, "{exited:#?}");
    daemon.found();
    assert!(exited.last().contains("NOTIFY_SOCKET"), "{exited:#?}");
    daemon.stop();
}

// Gunicorn: G68, S76, S77
#[test]
fn processes_are_listed_under_the_applications_name_or_another() {
    // The short name: the whole of it is seen by kernels that have it (see the tests of the arbiter).
    let listed = |pid: Pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("it lives");
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it lives");
        (comm, line)
    };
    let long = Path::new("/proc/sys/kernel/ns_last_pid").exists();
    for (arguments, name) in [(&[][..], "probe:app"), (&["-n", "shop"], "shop")] {
        let server = Serve::app("probe:app").args(arguments).start();
        let worker = server
            .get("/pid")
            .expect(200)
            .text()
            .parse()
            .expect("a pid");
        for (pid, role) in [(server.pid(), "master"), (Pid::from_raw(worker), "worker")] {
            let (comm, line) = listed(pid);
            assert_eq!(comm, format!("oxicorn: {role}\n"));
            assert!(
                !long || line == format!("oxicorn: {role} [{name}]\0"),
                "{line}"
            );
        }
        server.stop();
    }
}
