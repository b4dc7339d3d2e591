//! Code of the program's own that panics in the arbiter: it costs what it was to do, and nothing else.
//!
//! The role first, then the tests that start it.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use oxicorn::worker::Shutdown;
use oxicorn::worker::WorkerTemplate;
use oxicorn::{Arbiter, Result, Worker, WorkerContext};

use crate::roles::tell;
use crate::server::Server;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    an_observer_that_panics_ends_nothing_and_hears_of_the_rest,
    a_source_of_settings_that_panics_leaves_all_as_it_was,
    a_preloading_that_panics_leaves_all_as_it_was,
];

/// Plays the role of this file.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    match (arguments.first()?.as_str(), arguments.get(1)) {
        ("panics", Some(folder)) => Some(panics(folder)),
        _ => None,
    }
}

/// A worker that does nothing, and may panic before it was forked.
struct Idle {
    loads: bool,
}

impl Worker for Idle {
    fn run(&mut self, context: &WorkerContext) -> Result<()> {
        context.ready();
        while context.pause(std::time::Duration::from_secs(60)) == Shutdown::Running {}
        Ok(())
    }
}

impl WorkerTemplate for Idle {
    fn worker(&mut self) -> &mut dyn Worker {
        self
    }

    fn preload(&mut self) -> Result<()> {
        assert!(self.loads, "nothing to load");
        Ok(())
    }
}

/// Panics where there is a file of that name in the folder: `observer`, `source`, `preload`.
fn panics(folder: &str) -> Result<()> {
    let folder = Path::new(folder).to_owned();
    let there = move |name: &str| folder.join(name).exists();
    let observed = there.clone();
    let source = move || {
        assert!(!there("source"), "no settings");
        let loads = !there("preload");
        Ok(Arbiter::builder(Idle { loads }))
    };
    let arbiter = Arbiter::builder(Idle { loads: true })
        .reload(source)
        .observe(move |event, handle| {
            tell(event, handle);
            assert!(!observed("observer"), "it saw {event:?}");
        });
    arbiter.build()?.run()
}

/// A server with such a role, and what happened to its only worker at a reload that fails.
#[track_caller]
fn assert_a_reload_changes_nothing(panics: &str, words: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::started(&["panics", &folder.path().display().to_string()], 1);
    let before = server.workers();
    fs::write(folder.path().join(panics), "").expect("a file");
    server.signal(Signal::SIGHUP);
    let kept = server.wait_for_line("kept ");
    assert!(kept.contains(words), "{kept}");
    assert_eq!(server.workers(), before);
    fs::remove_file(folder.path().join(panics)).expect("the file");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("ready 2 ");
    server.wait_for_line("exited 1 ");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

fn a_source_of_settings_that_panics_leaves_all_as_it_was() {
    assert_a_reload_changes_nothing("source", "the source of the settings panicked: no settings");
}

fn a_preloading_that_panics_leaves_all_as_it_was() {
    let words = "the worker's preloading panicked: nothing to load";
    assert_a_reload_changes_nothing("preload", words);
}

fn an_observer_that_panics_ends_nothing_and_hears_of_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("observer"), "").expect("a file");
    let mut server = Server::started(&["panics", &folder.path().display().to_string()], 1);
    server.signal(Signal::SIGHUP);
    server.wait_for_line("ready 2 ");
    server.wait_for_line("exited 1 ");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("stopping");
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    if cfg!(feature = "tracing") {
        assert!(
            ended.log().contains("the observer panicked: it saw"),
            "{}",
            ended.log()
        );
    }
}
