//! A reload while the one before it is still being tried: what is given up for it, and what stays.
//!
//! The role first, then the tests that start it.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use oxicorn::config::Settings;
use oxicorn::service::per_worker;
use oxicorn::{Error, Request, Responder, Result};

use crate::roles::tell;
use crate::server::{Server, exists, send};
use crate::support::{Address, wait_until};
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    unusable_settings_leave_those_on_trial_in_place,
    newer_settings_take_the_place_of_those_on_trial,
    newer_settings_that_fail_give_way_to_what_served_last,
    what_a_program_says_of_its_retirement_outlives_a_reload,
];

/// Plays the role of this file.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    match (arguments.first()?.as_str(), arguments.get(1)) {
        ("tried", Some(folder)) => Some(tried(folder, false)),
        ("retires", Some(folder)) => Some(tried(folder, true)),
        _ => None,
    }
}

/// Has the socket and the pid file whose names are in the file `settings`. Worker N starts when there is a file
/// `starts-N`, and fails when there is `fails-N`. `retires` is what the program, and no settings, say of the time when
/// it is followed.
fn tried(folder: &str, retires: bool) -> Result<()> {
    let path = |name: &str| Path::new(folder).join(name);
    let (own, settings) = (path(""), path("settings"));
    let run = path("run").display().to_string();
    let read = move || {
        let text = fs::read_to_string(&settings)?;
        let (socket, pidfile) = text.split_once(' ').ok_or(Error::new("one name"))?;
        let mut settings = Settings::default();
        settings.bind = vec![format!("unix:{run}/{socket}")];
        settings.pidfile = Some(format!("{run}/{pidfile}").into());
        Ok::<_, Error>(settings)
    };
    let service = per_worker(move |site| {
        let told = |what: &str| own.join(format!("{what}-{}", site.worker)).exists();
        wait_until("a word", || told("starts") || told("fails"));
        if told("fails") {
            return Err(Error::boot("it was told to"));
        }
        Ok(|_: Request<'_>, reply: Responder<'_>| reply.text(200, "served\n"))
    });
    let server = oxicorn::Server::from_settings(&read()?)?;
    let server = if retires {
        server.upgrade_retire(true)
    } else {
        server
    };
    server.reload_from(read).observe(tell).serve(service)
}

/// A folder, and a server that has the socket `first` and the pid file `pid` there.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
}

impl Place {
    /// With settings on trial, whose worker 2 waits: they name `second` and `other`.
    fn trying() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("run")).expect("a folder");
        let path = folder.path().display().to_string();
        write(folder.path(), "starts-1", "");
        write(folder.path(), "settings", "first pid");
        let server = Server::started(&["tried", &path], 1);
        let mut place = Self { folder, server };
        place.reload("second other");
        place.server.wait_for_line("spawned 2 ");
        place.assert_there_is(&["first", "other", "pid", "second"]);
        place
    }

    fn reload(&mut self, settings: &str) {
        write(self.folder.path(), "settings", settings);
        self.server.signal(Signal::SIGHUP);
    }

    /// Has a worker go on that waits.
    fn tell(&self, what: &str) {
        write(self.folder.path(), what, "");
    }

    /// Whether these are the sockets and pid files that there are.
    #[track_caller]
    fn assert_there_is(&self, names: &[&str]) {
        let there = fs::read_dir(self.folder.path().join("run")).expect("the folder");
        let mut there: Vec<_> = there.flatten().map(|entry| entry.file_name()).collect();
        there.sort();
        // A pid file comes and goes with its lock.
        let (locks, there): (Vec<_>, Vec<_>) = there
            .into_iter()
            .map(|name| name.to_string_lossy().into_owned())
            .partition(|name| name.strip_suffix(".lock").is_some());
        let files = ["new", "other", "pid"].into_iter();
        let files = files.filter(|name| names.contains(name));
        let wanted: Vec<_> = files.map(|name| format!("{name}.lock")).collect();
        assert_eq!(locks, wanted);
        assert_eq!(there, names);
    }

    #[track_caller]
    fn assert_nobody_has_left_but(&self, workers: &[&str]) {
        let exits = self.server.seen().filter(|line| line.starts_with("exited"));
        let left: Vec<_> = exits.filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(left, workers);
    }

    #[track_caller]
    fn assert_serves_at(&self, socket: &str) {
        let path = self.folder.path().join("run").join(socket);
        let response = Address::Unix(path).client().send_last("/").read_all();
        assert!(response.ends_with("served\n"), "{response}");
    }

    #[track_caller]
    fn end(self) {
        self.server.signal(Signal::SIGTERM);
        let ended = self.server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
        let left = fs::read_dir(self.folder.path().join("run")).expect("the folder");
        assert_eq!(left.count(), 0, "{ended:?}");
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("it is written");
}

// Gunicorn: HUP8
fn unusable_settings_leave_those_on_trial_in_place() {
    let mut place = Place::trying();
    // A socket that cannot be opened, and one that is closed again since there can be no pid file.
    for (reload, bad) in [(1, "missing/one pid"), (2, "third missing/pid")] {
        place.reload(bad);
        let kept = place.server.wait_for_nth("kept ", reload);
        assert!(kept.contains("missing/"), "{kept}");
        place.assert_there_is(&["first", "other", "pid", "second"]);
        place.assert_nobody_has_left_but(&[]);
        place.assert_serves_at("first");
    }
    place.tell("starts-2");
    place.server.wait_for_line("exited 1 ");
    place.assert_there_is(&["other", "second"]);
    place.assert_serves_at("second");
    place.assert_nobody_has_left_but(&["1"]);
    place.end();
}

/// What the newest settings name, and what there is while they are tried: something new, or what served before.
const NEWEST: [(&str, &str, &[&str]); 2] = [
    ("third", "new", &["first", "new", "pid", "third"]),
    ("first", "pid", &["first", "pid"]),
];

/// The worker of what is given up leaves as soon as it hears of it; the first one serves on.
fn replace(socket: &str, pidfile: &str, meanwhile: &[&str]) -> Place {
    let mut place = Place::trying();
    place.reload(&format!("{socket} {pidfile}"));
    place.server.wait_for_line("spawned 3 ");
    place.assert_there_is(meanwhile);
    place.assert_serves_at("first");
    place.tell("starts-2");
    place.server.wait_for_line("exited 2 ");
    place.assert_there_is(meanwhile);
    place.assert_serves_at("first");
    place.assert_nobody_has_left_but(&["2"]);
    place
}

// Gunicorn: HUP8
fn newer_settings_take_the_place_of_those_on_trial() {
    for (socket, pidfile, meanwhile) in NEWEST {
        let mut place = replace(socket, pidfile, meanwhile);
        place.tell("starts-3");
        place.server.wait_for_line("exited 1 ");
        place.assert_there_is(if socket == "first" {
            &["first", "pid"]
        } else {
            &["new", "third"]
        });
        place.assert_serves_at(socket);
        place.assert_nobody_has_left_but(&["2", "1"]);
        place.end();
    }
}

// Gunicorn: HUP8
fn newer_settings_that_fail_give_way_to_what_served_last() {
    for (socket, pidfile, meanwhile) in NEWEST {
        let mut place = replace(socket, pidfile, meanwhile);
        place.tell("fails-3");
        place.server.wait_for_line("kept it was told to");
        place.assert_there_is(&["first", "pid"]);
        place.assert_serves_at("first");
        place.assert_nobody_has_left_but(&["2", "3"]);
        place.end();
    }
}

fn what_a_program_says_of_its_retirement_outlives_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("run")).expect("a folder");
    write(folder.path(), "starts-1", "");
    write(folder.path(), "starts-2", "");
    write(folder.path(), "settings", "first pid");
    let mut server = Server::started(&["retires", &folder.path().display().to_string()], 1);
    let old = server.pid();
    server.signal(Signal::SIGHUP);
    server.wait_for_line("ready 2 ");
    server.wait_for_line("exited 1 ");
    server.signal(Signal::SIGUSR2);
    let promoted = server.wait_for_line("promoted ");
    let new = promoted.trim_start_matches("promoted ").parse();
    wait_until("the old arbiter's end", || !exists(old));
    send(new.expect("a process id"), Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
}
