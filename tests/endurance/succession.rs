//! A new program in the place of the old one (USR2): listeners are handed on, and no client notices.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oxicorn::time::MonoTime;

use crate::Size;
use crate::site::{CLIENTS, House, PYTHON, REQUESTS, SITES, Site};
use crate::support::load::Load;
use crate::support::{eventually, is_there, send};
use crate::watch::wait_for_workers;

const WORKERS: usize = 2;
/// How soon a new arbiter has the pid file's name to itself; ten times what it is to be, on a busy machine.
const PROMOTION: Duration = Duration::from_secs(5);

/// USR2, and TERM to the old arbiter once the new one serves, over and over.
pub(crate) fn upgrade(size: Size) {
    if !PYTHON {
        println!("upgrade: this build has no program to start anew");
        return;
    }
    let requests = size.of(REQUESTS, 1000);
    let upgrades = size.of(20, 2);
    for site in SITES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = Files::new(folder.path());
        let house = site.serve(WORKERS, &["--pid", &files.pid.to_string_lossy()]);
        let mut arbiter = house.server.pid();
        let mut longest = Duration::ZERO;
        let load = Load::start(house.server.address(), CLIENTS, CLIENTS);
        for turn in 1..=upgrades {
            send(arbiter, Signal::SIGUSR2);
            let new = eventually("there is no new arbiter", || read(&files.next));
            wait_for_workers(new, WORKERS);
            wait_for_loaded(&house, WORKERS * (turn as usize + 1));
            load.wait_for(requests * turn / upgrades);
            send(arbiter, Signal::SIGTERM);
            eventually("the old arbiter stays", || {
                (!is_there(arbiter)).then_some(())
            });
            let gone = MonoTime::now();
            eventually("the new one is not promoted", || {
                (read(&files.pid) == Some(new) && !files.next.exists()).then_some(())
            });
            longest = longest.max(MonoTime::now().since(gone));
            arbiter = new;
        }
        let report = load.stop();
        println!("upgrade, {site}, {upgrades} times, promoted within {longest:?}: {report}");
        report.assert_flawless("upgrade");
        assert!(longest < PROMOTION, "promoted after {longest:?}");
        send(arbiter, Signal::SIGTERM);
        eventually("the last arbiter stays", || {
            (!is_there(arbiter)).then_some(())
        });
        assert!(!files.pid.exists(), "a pid file is left");
    }
}

/// USR2 where the application is broken: the new arbiter is backed out, and the old one serves on.
pub(crate) fn broken_upgrade(size: Size) {
    if !PYTHON {
        println!("broken_upgrade: this build has no program to start anew");
        return;
    }
    let requests = size.of(REQUESTS / 10, 500);
    for site in [Site::new(1, false), Site::new(4, true)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = Files::new(folder.path());
        let broken = folder.path().join("broken");
        let app = crate::support::Serve::app("load:app").env("LOAD_BROKEN_BY", &broken);
        let house = site.serve_app(app, WORKERS, &["--pid", &files.pid.to_string_lossy()]);
        let arbiter = house.server.pid();
        let load = Load::start(house.server.address(), CLIENTS, CLIENTS);
        load.wait_for(requests);
        fs::write(&broken, "").expect("a file");
        send(arbiter, Signal::SIGUSR2);
        house.server.stderr().wait_for("broken on purpose");
        house.server.stderr().wait_for("Upgrade failed");
        eventually("the new arbiter's pid file stays", || {
            (!files.next.exists()).then_some(())
        });
        load.wait_for(load.answered() + requests);
        let report = load.stop();
        println!("broken_upgrade, {site}: {report}");
        report.assert_flawless("broken_upgrade");
        assert_eq!(read(&files.pid), Some(arbiter));
        wait_for_workers(arbiter, WORKERS);
        house.server.stop();
    }
}

#[track_caller]
fn wait_for_loaded(house: &House, count: usize) {
    house.server.stderr().wait_until("loaded", |lines| {
        let loaded = lines.iter().filter(|line| line.starts_with("loaded "));
        (loaded.count() >= count).then_some(())
    });
}

/// The pid file, and that of an arbiter that another one has started.
struct Files {
    pid: PathBuf,
    next: PathBuf,
}

impl Files {
    fn new(folder: &Path) -> Self {
        Self {
            pid: folder.join("pid"),
            next: folder.join("pid.2"),
        }
    }
}

fn read(path: &Path) -> Option<Pid> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().map(Pid::from_raw)
}
