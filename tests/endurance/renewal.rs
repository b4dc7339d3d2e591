//! Workers that are replaced by others, one generation after the other, while clients are served.
//!
//! A new one is there before an old one goes: nobody is refused, nobody waits for a boot.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::Size;
use crate::site::{CLIENTS, House, PYTHON, REQUESTS, SITES, Site};
use crate::support::load::Load;
use crate::support::{Serve, Server, eventually};
use crate::watch::{wait_for_workers, workers};

/// HUP, over and over, each as soon as the one before it is done.
// Gunicorn: HUP7
pub(crate) fn reload(size: Size) {
    let requests = size.of(REQUESTS, 1000);
    let reloads = size.of(50, 3);
    for site in SITES {
        let house = site.serve(2, &[]);
        let load = Load::start(house.server.address(), CLIENTS, CLIENTS);
        for turn in 1..=reloads {
            renew(&house.server, 2);
            load.wait_for(requests * turn / reloads);
        }
        let report = load.stop();
        println!("reload, {site}, {reloads} times: {report}");
        report.assert_flawless("reload");
        assert_untroubled(&house.server);
        house.server.stop();
    }
}

/// Workers that leave after a number of requests.
// Gunicorn: W7, W20, S9
pub(crate) fn recycle(size: Size) {
    const WORKERS: usize = 4;
    let requests = size.of(REQUESTS, 2000);
    for site in SITES {
        let house = site.serve(WORKERS, &["--max-requests", "200"]);
        let arbiter = house.server.pid();
        let mut seen = BTreeSet::new();
        let load = Load::start(house.server.address(), CLIENTS, CLIENTS);
        // Where answers come fast, no worker may have been replaced by then.
        let enough = |seen: &BTreeSet<_>| seen.len() > WORKERS || load.answered() > 20 * requests;
        while load.answered() < requests || !enough(&seen) {
            seen.extend(workers(arbiter));
            load.wait_for(load.answered() + 100);
        }
        let report = load.stop();
        println!("recycle, {site}, {} workers: {report}", seen.len());
        report.assert_flawless("recycle");
        assert!(seen.len() > WORKERS, "only {seen:?} were there");
        assert_untroubled(&house.server);
        wait_for_workers(arbiter, WORKERS);
        house.server.stop();
    }
}

/// An application that takes long to import: the old workers serve meanwhile.
// Gunicorn: HUP7
pub(crate) fn slow_import(size: Size) {
    if !PYTHON {
        println!("slow_import: this build loads no application");
        return;
    }
    let millis = size.of(5000, 1500);
    let import = Duration::from_millis(millis);
    for site in [Site::new(1, false), Site::new(4, false)] {
        let app =
            Serve::app("load:app").env("LOAD_IMPORT_SECONDS", import.as_secs_f32().to_string());
        let house = site.serve_app(app, 2, &[]);
        let load = Load::start(house.server.address(), 4, 4);
        load.wait_for(100);
        load.forget_gap();
        renew(&house.server, 2);
        let report = load.stop();
        println!("slow_import, {site}, {import:?}: {report}");
        report.assert_flawless("slow_import");
        assert!(
            report.gap < import / 3,
            "nobody was served for {:?}",
            report.gap
        );
        house.server.stop();
    }
}

/// HUP with an application and with a configuration that are wrong: one error each, and nothing else.
// Gunicorn: HUP2, HUP3, HUP10
pub(crate) fn bad_reload(size: Size) {
    if !PYTHON {
        println!("bad_reload: this build loads no application");
        return;
    }
    let rounds = size.of(20, 1);
    let requests = size.of(REQUESTS / 40, 100);
    for site in [Site::new(1, false), Site::new(4, true)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shop = Shop::open(folder.path(), site);
        let load = Load::start(shop.house.server.address(), CLIENTS, CLIENTS);
        // Now all workers are ready: one that boots would try the bad application, too.
        renew(&shop.house.server, 2);
        for _ in 0..rounds {
            shop.fails("a syntax error", || shop.write("app = (\n"));
            load.wait_for(load.answered() + requests);
            shop.write(GOOD);
            shop.fails("a log that cannot be written", || {
                shop.rename("logs", "away");
            });
            load.wait_for(load.answered() + requests);
            shop.rename("away", "logs");
            renew(&shop.house.server, 2);
            load.wait_for(load.answered() + requests);
        }
        let report = load.stop();
        println!("bad_reload, {site}: {report}");
        report.assert_flawless("bad_reload");
        shop.house.server.stop();
    }
}

/// HUP, and its end: all workers are others.
#[track_caller]
fn renew(server: &Server, count: usize) {
    let before = wait_for_workers(server.pid(), count);
    server.signal(Signal::SIGHUP);
    eventually("the workers are not replaced", || {
        let now = workers(server.pid());
        (now.len() == count && now.is_disjoint(&before)).then_some(())
    });
}

/// The log has nothing worse than information, but for what a busy machine makes late.
#[track_caller]
fn assert_untroubled(server: &Server) {
    const LATE: &str = "did not come to the end of its last step in time";
    let is_bad = |line: &str| line.contains("[WARNING]") || line.contains("[ERROR]");
    let mut log = server.stderr().all();
    log.retain(|line| is_bad(line) && !line.contains(LATE));
    assert!(log.is_empty(), "{log:#?}");
}

/// A good application. It is longer than a bad one: Python knows a module again by its time in seconds and by
/// its size.
const GOOD: &str = "from load import app  # noqa: F401\n";

/// A server whose application and whose log can be spoiled.
struct Shop<'a> {
    folder: &'a Path,
    house: House,
}

impl<'a> Shop<'a> {
    #[track_caller]
    fn open(folder: &'a Path, site: Site) -> Self {
        fs::create_dir(folder.join("logs")).expect("a folder");
        fs::write(folder.join("shop.py"), GOOD).expect("an application");
        let (path, log) = (folder.to_string_lossy(), folder.join("logs/access.log"));
        let log = log.to_string_lossy();
        let flags = ["--pythonpath", &path, "--access-logfile", &log];
        let house = site.serve_app(Serve::app("shop:app"), 2, &flags);
        Self { folder, house }
    }

    fn write(&self, code: &str) {
        fs::write(self.folder.join("shop.py"), code).expect("a file");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.folder.join(from), self.folder.join(to)).expect("a folder");
    }

    fn errors(&self) -> Vec<String> {
        let mut log = self.house.server.stderr().all();
        log.retain(|line| line.contains("Reload failed"));
        log
    }

    /// Spoils something, and reloads: the workers stay, and the log says once why.
    #[track_caller]
    fn fails(&self, what: &str, spoil: impl FnOnce()) {
        let arbiter = self.house.server.pid();
        let (workers, errors) = (wait_for_workers(arbiter, 2), self.errors());
        spoil();
        self.house.server.signal(Signal::SIGHUP);
        eventually(&format!("no error in spite of {what}"), || {
            (self.errors().len() > errors.len()).then_some(())
        });
        assert_eq!(wait_for_workers(arbiter, 2), workers, "after {what}");
        assert_eq!(self.errors().len(), errors.len() + 1, "after {what}");
    }
}
