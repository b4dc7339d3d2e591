//! Groups of workers side by side, what is attached to their arbiter, and commands that are answered.
//!
//! The role first: its control socket is an attachment, and takes one command a connection.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::arbiter::{Attachment, Completion, Handle};
use oxicorn::net::{BindAddress, DEFAULT_BACKLOG, Listeners};
use oxicorn::time::MonoTime;
use oxicorn::worker::Shutdown;
use oxicorn::{Arbiter, Error, Result, WorkerContext};

use crate::roles::tell;
use crate::server::{Server, exists, send};
use crate::support::{PATIENCE, wait_until};
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    groups_run_side_by_side_and_are_told_apart,
    a_group_that_cannot_boot_keeps_its_old_workers_alone,
    ttin_grows_the_first_group_and_a_handle_any,
    a_group_that_cannot_boot_ends_a_start,
    commands_are_answered_when_they_have_ended,
    a_stop_answers_what_has_not_ended_and_itself,
    an_attachment_has_a_deadline_and_is_closed_in_workers,
    an_upgrade_takes_an_attached_listener_along,
];

/// Plays the role of this file.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    match (arguments.first()?.as_str(), arguments.get(1)) {
        ("groups", Some(folder)) => Some(groups(Path::new(folder))),
        _ => None,
    }
}

fn groups(folder: &Path) -> Result<()> {
    let address: BindAddress = format!("unix:{}", folder.join("control").display()).parse()?;
    let listeners = Listeners::bind([&address], DEFAULT_BACKLOG)?;
    let flag = folder.join("fail");
    let source = {
        let flag = flag.clone();
        move || {
            let flag = flag.clone();
            let consume = move |context: &WorkerContext| {
                if flag.exists() {
                    return Err(Error::boot("no queue to consume"));
                }
                work(context)
            };
            Ok(Arbiter::builder(work)
                .workers(2)
                .slots(8)
                .group("consumer", 1, consume))
        }
    };
    let socket = listeners.iter().next().expect("it was bound");
    let accepting = UnixListener::from(socket.as_fd().try_clone_to_owned()?);
    let waiting = Arc::default();
    let control = Control {
        accepting,
        listeners,
        waiting: Arc::clone(&waiting),
        due: Some(MonoTime::now() + Duration::from_millis(100)),
        arbiter: process::id(),
    };
    let arbiter = source()?.reload(source).observe(tell);
    arbiter.attach(control).build()?.run()?;
    // What was asked for last is answered when the arbiter has ended.
    let waiting: Vec<_> = waiting.lock().expect("no panic").drain(..).collect();
    for thread in waiting {
        thread.join().expect("no panic")?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a worker gives a result")]
fn work(context: &WorkerContext) -> Result<()> {
    context.ready();
    let (group, pid) = (context.group(), process::id());
    println!("works {group} {pid} of {}", context.workers());
    while context.pause(Duration::from_secs(60)) == Shutdown::Running {}
    Ok(())
}

/// Takes a line a connection: `scale GROUP N`, `reload`, `upgrade`, `stop`, `own`. The answer comes when it is known.
struct Control {
    accepting: UnixListener,
    listeners: Listeners,
    /// The threads that wait for the end of a command.
    waiting: Arc<Mutex<Vec<JoinHandle<io::Result<()>>>>>,
    due: Option<MonoTime>,
    arbiter: u32,
}

impl Attachment for Control {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.accepting.as_fd())
    }

    fn deadline(&self) -> Option<MonoTime> {
        self.due
    }

    fn ready(&mut self, handle: &Handle) {
        if self.due.take_if(|due| *due <= MonoTime::now()).is_some() {
            println!("due");
        }
        let _ = self.accepting.set_nonblocking(true);
        let Ok((mut stream, _)) = self.accepting.accept() else {
            return;
        };
        let mut line = String::new();
        let _ = BufReader::new(&stream).read_line(&mut line);
        let words: Vec<&str> = line.split_whitespace().collect();
        let completion = match words[..] {
            ["scale", group, workers] => {
                handle.scale_group(group, workers.parse().expect("a number"))
            }
            ["reload"] => handle.reload(),
            ["upgrade"] => handle.upgrade(),
            ["stop"] => handle.stop(),
            // It would wait for itself.
            _ => {
                let _ = writeln!(stream, "{}", answer(&handle.scale(1)));
                return;
            }
        };
        let waits = thread::spawn(move || writeln!(stream, "{}", answer(&completion)));
        self.waiting.lock().expect("no panic").push(waits);
    }

    fn in_child(&mut self) {
        assert_ne!(self.arbiter, process::id());
    }

    fn handed_over(&self) -> Listeners {
        self.listeners.clone()
    }
}

fn answer(completion: &Completion) -> String {
    match completion.wait(PATIENCE) {
        Ok(()) => "done".into(),
        Err(error) => error.to_string(),
    }
}

/// A folder, and its server with three workers.
fn start() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::started(&["groups", &folder.path().display().to_string()], 3);
    (folder, server)
}

/// Gives a command, whose answer comes over this connection.
fn begin(folder: &Path, command: &str) -> UnixStream {
    let mut stream = UnixStream::connect(folder.join("control")).expect("a control socket");
    writeln!(stream, "{command}").expect("it is heard");
    stream
}

fn wait_for_answer(stream: UnixStream) -> String {
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    line.trim_end().to_owned()
}

fn command(folder: &Path, command: &str) -> String {
    wait_for_answer(begin(folder, command))
}

/// The process that works in this group as the `nth` one that ever did.
#[track_caller]
fn worker(server: &mut Server, group: &str, nth: usize) -> i32 {
    let line = server.wait_for_nth(&format!("works {group} "), nth);
    let pid = line.split(' ').nth(2).expect("a process id");
    pid.parse().expect("a number")
}

fn stop(mut server: Server) {
    server.wait_for_line("works");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

fn groups_run_side_by_side_and_are_told_apart() {
    let (_folder, mut server) = start();
    let line = server.wait_for_nth("works main ", 2);
    assert!(line.ends_with(" of 2"), "{line}");
    let consumer = worker(&mut server, "consumer", 1);
    send(consumer, Signal::SIGKILL);
    assert_ne!(worker(&mut server, "consumer", 2), consumer);
    server.wait_for_workers(3);
    server.signal(Signal::SIGHUP);
    // One of each kind for each.
    worker(&mut server, "main", 4);
    worker(&mut server, "consumer", 3);
    server.wait_for_nth("exited", 4);
    server.wait_for_workers(3);
    stop(server);
}

fn a_group_that_cannot_boot_keeps_its_old_workers_alone() {
    let (folder, mut server) = start();
    let consumer = worker(&mut server, "consumer", 1);
    fs::write(folder.path().join("fail"), "").expect("a file");
    let answer = command(folder.path(), "reload");
    assert!(answer.contains("no queue to consume"), "{answer}");
    let kept = server.wait_for_line("kept ");
    assert!(kept.contains("no queue to consume"), "{kept}");
    // Both of the first group are new ones.
    worker(&mut server, "main", 4);
    server.wait_for_nth("exited", 3);
    server.wait_for_workers(3);
    assert!(server.workers().contains(&consumer));
    stop(server);
}

fn ttin_grows_the_first_group_and_a_handle_any() {
    let (folder, mut server) = start();
    server.signal(Signal::SIGTTIN);
    worker(&mut server, "main", 3);
    assert_eq!(command(folder.path(), "scale consumer 2"), "done");
    worker(&mut server, "consumer", 2);
    server.wait_for_workers(5);
    let answer = command(folder.path(), "scale producer 2");
    assert_eq!(answer, "there is no group \"producer\" of workers");
    stop(server);
}

fn a_group_that_cannot_boot_ends_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("fail"), "").expect("a file");
    let server = Server::start(&["groups", &folder.path().display().to_string()]);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 3, "{ended:?}");
    assert!(ended.log().contains("no queue to consume"), "{ended:?}");
}

fn commands_are_answered_when_they_have_ended() {
    let (folder, mut server) = start();
    let before = server.workers();
    assert_eq!(command(folder.path(), "reload"), "done");
    server.wait_for_nth("exited", 3);
    server.wait_for_workers(3);
    assert!(server.workers().iter().all(|pid| !before.contains(pid)));
    assert_eq!(command(folder.path(), "scale main 1"), "done");
    server.wait_for_workers(2);
    let answer = command(folder.path(), "scale main 100");
    assert!(answer.starts_with("there is room for 5 "), "{answer}");
    assert_eq!(command(folder.path(), "scale main 1"), "done");
    let answer = command(folder.path(), "own");
    assert!(answer.contains("own thread cannot wait"), "{answer}");
    stop(server);
}

fn a_stop_answers_what_has_not_ended_and_itself() {
    let (folder, mut server) = start();
    server.wait_for_nth("works", 3);
    let stop = begin(folder.path(), "stop");
    assert_eq!(wait_for_answer(stop), "done");
    assert_eq!(server.wait_for_end().status, 0);
}

fn an_attachment_has_a_deadline_and_is_closed_in_workers() {
    let (folder, mut server) = start();
    server.wait_for_line("due");
    let path = folder.path().join("control").display().to_string();
    let sockets = fs::read_to_string("/proc/net/unix").expect("a table");
    let socket = sockets.lines().find(|line| line.ends_with(&path));
    let inode = socket.and_then(|line| line.split_whitespace().nth(6));
    let link = PathBuf::from(format!("socket:[{}]", inode.expect("an inode")));
    let holds = |pid: i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
        open.flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file == link))
    };
    assert!(holds(server.pid()));
    server.wait_for_nth("works", 3);
    for worker in server.workers() {
        assert!(!holds(worker));
    }
    stop(server);
}

fn an_upgrade_takes_an_attached_listener_along() {
    let (folder, mut server) = start();
    assert_eq!(command(folder.path(), "upgrade"), "done");
    let line = server.wait_for_line("upgraded ");
    let successor: i32 = line["upgraded ".len()..].parse().expect("a process id");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("promoted ");
    // The one that is left answers at the same address.
    let mut answers = Vec::new();
    wait_until("an answer of the new arbiter", || {
        answers.push(command(folder.path(), "scale consumer 2"));
        answers.last().is_some_and(|answer| answer == "done")
    });
    send(successor, Signal::SIGTERM);
    wait_until("the successor's end", || !exists(successor));
    drop(server);
}
