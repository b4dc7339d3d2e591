//! The totals: what workers have done, whatever became of them and of the arbiters that started them.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::arbiter::{ArbiterEvent, ReexecCommand, RestartCause};
use oxicorn::net::{BindAddress, DEFAULT_BACKLOG, Listeners};
use oxicorn::service::{per_worker, service_fn};
use oxicorn::{Arbiter, Request, Responded, Responder, Result, SyncWorker};

use crate::roles::tell;
use crate::server::{Server, send};
use crate::support::Client;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    totals_outlive_killed_workers_reloads_and_upgrades,
    totals_of_an_unknown_layout_start_at_zero,
];

/// How often the arbiter tells its totals.
const PULSE: Duration = Duration::from_millis(20);

fn hello(_: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    reply.text(200, "hello")
}

/// An arbiter that prints its totals again and again: `totals PID REQUESTS SENT SIGNALS`, or `totals PID none`. With
/// `other-layout` it tells its successor of counters in another one.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    let (role, rest) = arguments.split_first()?;
    let (bind, more) = rest.split_first()?;
    (role == "totals").then(|| run(bind, !more.is_empty()))
}

fn run(bind: &str, other_layout: bool) -> Result<()> {
    let address: BindAddress = bind.parse()?;
    let mut builder = Arbiter::builder(SyncWorker::new(per_worker(|_| Ok(service_fn(hello)))))
        .workers(2)
        .listeners(Listeners::bind([&address], DEFAULT_BACKLOG)?)
        .pulse(PULSE)
        .observe(|event, handle| {
            if !matches!(event, ArbiterEvent::Pulse) {
                return tell(event, handle);
            }
            match handle.totals() {
                Some(totals) => println!(
                    "totals {} {} {} {}",
                    process::id(),
                    totals.requests,
                    totals.sent,
                    totals.restarts[&RestartCause::Signal]
                ),
                None => println!("totals {} none", process::id()),
            }
        });
    if other_layout {
        let script = "OXICORN_TOTALS=\"999 ${OXICORN_TOTALS#* }\" exec \"$0\" --role totals \"$1\"";
        let exec = ReexecCommand::new("/bin/sh")
            .argument("-c")
            .argument(script);
        builder = builder.exec(exec.argument(std::env::current_exe()?).argument(bind));
    }
    builder.build()?.run()
}

struct Told {
    pid: i32,
    /// Requests, bytes, and workers that were killed.
    numbers: Option<[u64; 3]>,
}

/// All that was told, in the order in which it came.
fn told<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Told> {
    let told = lines.filter_map(|line| line.strip_prefix("totals "));
    told.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers = words[1..].iter().map(|word| word.parse().ok());
        let numbers: Option<Vec<u64>> = numbers.collect();
        Told {
            pid: words[0].parse().expect("a process id"),
            numbers: numbers.and_then(|numbers| numbers.try_into().ok()),
        }
    })
    .collect()
}

/// Waits until the arbiter with this process id tells such numbers.
#[track_caller]
fn wait_for(server: &mut Server, pid: i32, what: &str, fits: impl Fn([u64; 3]) -> bool) {
    server.wait_until(what, |server| {
        let told = told(server.seen());
        let last = told.iter().rev().find(|told| told.pid == pid);
        last.and_then(|told| told.numbers).is_some_and(&fits)
    });
}

/// A server that listens in a folder of its own.
struct Place {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    server: Server,
}

impl Place {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("sock");
        let bind = format!("unix:{}", socket.display());
        let server = Server::started(&[&["totals", &bind], more].concat(), 2);
        Self {
            _folder: folder,
            socket,
            server,
        }
    }

    /// Has ten requests answered.
    fn ask(&self) {
        for _ in 0..10 {
            let client = Client::unix(UnixStream::connect(&self.socket).expect("a server"));
            client.get_last("/").expect(200);
        }
    }

    /// Upgrades, and gives the new arbiter's process id when it is ready.
    fn upgrade(&mut self) -> i32 {
        self.server.signal(Signal::SIGUSR2);
        let line = self.server.wait_for_line("upgraded ");
        self.server.wait_for_workers(4);
        let pid = line.split(' ').next_back();
        pid.and_then(|pid| pid.parse().ok()).expect("a process id")
    }
}

fn totals_outlive_killed_workers_reloads_and_upgrades() {
    let mut place = Place::start(&[]);
    let old = place.server.pid();
    place.ask();
    let ten = |[requests, sent, _]: [u64; 3]| (requests, sent) == (10, 50);
    wait_for(&mut place.server, old, "the first ten", ten);
    let killed = place.server.workers()[0];
    send(killed, Signal::SIGKILL);
    wait_for(&mut place.server, old, "a killed worker", |[.., killed]| {
        killed == 1
    });
    place.server.wait_for_workers(2);
    place.ask();
    place.server.signal(Signal::SIGHUP);
    place.server.wait_for_nth("ready ", 5);
    place.server.wait_for_workers(2);
    place.ask();
    let thirty = |[requests, ..]: [u64; 3]| requests == 30;
    wait_for(&mut place.server, old, "ten more after a reload", thirty);
    // Of two arbiters the old one tells, for both.
    let new = place.upgrade();
    place.ask();
    let forty = |[requests, ..]: [u64; 3]| requests == 40;
    wait_for(&mut place.server, old, "those of both", forty);
    place.server.signal(Signal::SIGTERM);
    place.server.wait_for_line("promoted ");
    place.ask();
    let all = |numbers: [u64; 3]| numbers == [50, 250, 1];
    wait_for(&mut place.server, new, "those of the new one", all);
    send(new, Signal::SIGTERM);
    let ended = place.server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");

    let told = told(ended.stdout.iter().map(String::as_str));
    let numbers: Vec<_> = told.iter().filter_map(|told| told.numbers).collect();
    for pair in numbers.windows(2) {
        let grows = pair[0].iter().zip(pair[1]);
        assert!(grows.into_iter().all(|(a, b)| *a <= b), "{pair:?}");
    }
    let tells = |pid| move |told: &Told| told.pid == pid && told.numbers.is_some();
    assert!(told.iter().rposition(tells(old)) < told.iter().position(tells(new)));
    let waits = |told: &Told| told.pid == new && told.numbers.is_none();
    assert!(told.iter().any(waits), "{ended:?}");
}

fn totals_of_an_unknown_layout_start_at_zero() {
    let mut place = Place::start(&["other-layout"]);
    place.ask();
    let new = place.upgrade();
    place.server.signal(Signal::SIGTERM);
    place.server.wait_for_line("promoted ");
    place.ask();
    let ten = |[requests, ..]: [u64; 3]| requests == 10;
    wait_for(&mut place.server, new, "the new one's own", ten);
    send(new, Signal::SIGTERM);
    let ended = place.server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let told = told(ended.stdout.iter().map(String::as_str));
    let own = told.iter().filter(|told| told.pid == new);
    let most = own.filter_map(|told| told.numbers).max();
    assert_eq!(most.map(|[requests, ..]| requests), Some(10));
    if cfg!(feature = "tracing") {
        let line = "The totals start at zero";
        assert_eq!(ended.log().matches(line).count(), 1, "{ended:?}");
    }
}
