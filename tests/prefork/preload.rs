//! What a worker loads in the arbiter before it is forked, and the arbiter's signals meanwhile.
//!
//! The role first, then the tests that start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{self, SigHandler, Signal};
use oxicorn::worker::Shutdown;
use oxicorn::worker::WorkerTemplate;
use oxicorn::{Arbiter, Error, Result, Worker, WorkerContext, arbiter};

use crate::roles::tell;
use crate::server::Server;
use crate::support::wait_until;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    signals_that_preloading_takes_are_the_arbiters_again,
    a_stop_while_something_is_preloaded_is_what_follows,
];

/// Plays the role of this file.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    match (arguments.first()?.as_str(), arguments.get(1)) {
        ("preloading", Some(folder)) => {
            let folder = PathBuf::from(folder);
            Some(preloading(&folder))
        }
        _ => None,
    }
}

fn preloading(folder: &Path) -> Result<()> {
    let builder = {
        let folder = folder.to_owned();
        move || -> Result<arbiter::ArbiterBuilder> {
            let folder = folder.clone();
            Ok(Arbiter::builder(Greedy { folder }))
        }
    };
    let first = builder()?.pidfile(folder.join("pid")).observe(tell);
    first.reload(builder).build()?.run()
}

/// Ignores all that asks it to leave, and has loaded when there is no file `wait`.
struct Greedy {
    folder: PathBuf,
}

impl Worker for Greedy {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        context.ready();
        while context.pause(Duration::from_secs(1)) == Shutdown::Running {}
        Ok(())
    }
}

impl WorkerTemplate for Greedy {
    fn worker(&mut self) -> &mut dyn Worker {
        self
    }

    #[expect(unsafe_code, reason = "the test plays a library that takes signals")]
    fn preload(&mut self) -> Result<()> {
        println!("preloading");
        wait_until("the end of loading", || !self.folder.join("wait").exists());
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            // SAFETY: no code runs for a signal that is ignored.
            unsafe { signal::signal(signal, SigHandler::SigIgn) }.expect("a signal");
        }
        if self.folder.join("fail").exists() {
            return Err(Error::boot("it cannot be loaded"));
        }
        Ok(())
    }
}

fn start(folder: &Path) -> Server {
    Server::start(&["preloading", &folder.display().to_string()])
}

// Gunicorn: S28
fn signals_that_preloading_takes_are_the_arbiters_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path());
    server.wait_for_line("ready 1");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("ready 2");
    fs::write(folder.path().join("fail"), "").expect("a file");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("kept it cannot be loaded");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: S28
fn a_stop_while_something_is_preloaded_is_what_follows() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().expect("a folder");
        let wait = folder.path().join("wait");
        fs::write(&wait, "").expect("a file");
        let mut server = start(folder.path());
        server.wait_for_line("preloading");
        assert!(folder.path().join("pid").exists());
        server.signal(signal);
        fs::remove_file(&wait).expect("the file");
        let ended = server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(!folder.path().join("pid").exists());
        let spawned = ended.stdout.iter().any(|line| line.starts_with("spawned"));
        assert!(!spawned, "{ended:?}");
    }
}
