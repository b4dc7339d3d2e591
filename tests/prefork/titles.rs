//! What lists of processes show of an arbiter and its workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::worker::Shutdown;
use oxicorn::{Arbiter, Error, Result, WorkerContext, arbiter};

use crate::roles::tell;
use crate::server::{Server, exists, send};
use crate::support::wait_until;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    an_arbiter_and_its_workers_show_their_name_until_it_returns,
    an_arbiter_without_a_name_shows_what_it_was_called_with,
    a_reload_changes_the_name_and_gives_it_back_where_it_fails,
    a_new_arbiter_has_the_name_with_a_2_until_it_is_promoted,
];

/// Plays a role of this file, if it is one.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    match (arguments.first()?.as_str(), arguments.get(1)) {
        ("named", Some(file)) => Some(named(PathBuf::from(file))),
        _ => None,
    }
}

/// One worker, and the name in a file: none where it is empty. Workers of the name `broken` cannot boot.
fn named(file: PathBuf) -> Result<()> {
    let before = shown(std::process::id());
    describe(&file)?
        .observe(tell)
        .reload(move || describe(&file))
        .build()?
        .run()?;
    let same = before == shown(std::process::id());
    println!("the same as before: {same}");
    Ok(())
}

fn describe(file: &Path) -> Result<arbiter::ArbiterBuilder> {
    let name = fs::read_to_string(file)?;
    let broken = name == "broken";
    let builder = Arbiter::builder(move |context: &WorkerContext| {
        if broken {
            return Err(Error::boot("it is broken"));
        }
        context.ready();
        while context.pause(Duration::from_secs(1)) == Shutdown::Running {}
        Ok(())
    });
    Ok(if name.is_empty() {
        builder
    } else {
        builder.name(name)
    })
}

/// The short name of a process, and its command line.
fn shown(pid: impl std::fmt::Display) -> [String; 2] {
    let read = |what: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    [read("comm").trim_end().to_owned(), read("cmdline")]
}

/// Waits until a process shows `role` and `name`; in its short name alone where the kernel has no more
/// (`CONFIG_CHECKPOINT_RESTORE`, for which it has this file).
#[track_caller]
fn wait_for_title(pid: i32, role: &str, name: &str) {
    let long = fs::exists("/proc/sys/kernel/ns_last_pid").is_ok_and(|there| there);
    wait_until(&format!("{role} [{name}]"), || {
        let [short, line] = shown(pid);
        let is_long = line == format!("oxicorn: {role} [{name}]\0");
        short == format!("oxicorn: {role}") && (is_long || !long)
    });
}

/// A file with a name, in a folder that goes with it.
fn file_with(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("name");
    fs::write(&file, name).expect("it is written");
    (folder, file)
}

fn start(file: &Path) -> Server {
    Server::started(&["named", &file.display().to_string()], 1)
}

// Gunicorn: G68
fn an_arbiter_and_its_workers_show_their_name_until_it_returns() {
    // Longer than the arguments are.
    let name = "shop ".repeat(200);
    let (_folder, file) = file_with(&name);
    let server = start(&file);
    wait_for_title(server.pid(), "master", &name);
    wait_for_title(server.workers()[0], "worker", &name);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let last = ended.stdout.last().map(String::as_str);
    assert_eq!(last, Some("the same as before: true"), "{ended:?}");
}

fn an_arbiter_without_a_name_shows_what_it_was_called_with() {
    let (_folder, file) = file_with("");
    let server = start(&file);
    let call = format!("\0--role\0named\0{}\0", file.display());
    for pid in [server.pid(), server.workers()[0]] {
        let [_, line] = shown(pid);
        assert!(line.ends_with(&call), "{line}");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: G68
fn a_reload_changes_the_name_and_gives_it_back_where_it_fails() {
    let (_folder, file) = file_with("shop");
    let mut server = start(&file);
    let old = server.workers()[0];
    fs::write(&file, "market").expect("it is written");
    server.signal(Signal::SIGHUP);
    server.wait_until("the old worker's end", |server| {
        !server.workers().contains(&old) && server.workers().len() == 1
    });
    let worker = server.workers()[0];
    wait_for_title(server.pid(), "master", "market");
    wait_for_title(worker, "worker", "market");
    fs::write(&file, "broken").expect("it is written");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("kept ");
    wait_for_title(server.pid(), "master", "market");
    wait_for_title(worker, "worker", "market");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: G22
fn a_new_arbiter_has_the_name_with_a_2_until_it_is_promoted() {
    let (_folder, file) = file_with("shop");
    let mut server = start(&file);
    let old = server.pid();
    server.signal(Signal::SIGUSR2);
    let line = server.wait_for_line("upgraded ");
    let new: i32 = line["upgraded ".len()..].parse().expect("a process id");
    server.wait_for_workers(2);
    wait_for_title(old, "master", "shop");
    wait_for_title(new, "master", "shop.2");
    for worker in server.workers() {
        wait_for_title(worker, "worker", "shop");
    }
    server.signal(Signal::SIGTERM);
    wait_until("the old arbiter's end", || !exists(old));
    wait_for_title(new, "master", "shop");
    send(new, Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}
