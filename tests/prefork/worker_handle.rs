//! A handle within a worker: it reads what it reads anywhere, and commands where that is allowed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oxicorn::arbiter::{ArbiterState, Completion, Handle, Progress};
use oxicorn::service::per_worker;
use oxicorn::time::MonoTime;
use oxicorn::worker::Shutdown;
use oxicorn::{Arbiter, Request, Responder, Result, WorkerContext};

use crate::facade::connect;
use crate::roles::tell;
use crate::server::Server;
use crate::support::wait_until;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_worker_reads_the_status_and_the_workers,
    a_worker_commands_only_where_that_is_allowed,
    a_service_reads_the_workers_and_the_totals,
];

/// Two groups of one worker; the first worker tells what it sees, and what becomes of its commands.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    let (role, more) = arguments.split_first()?;
    match role.as_str() {
        "worker-handle" => Some(run(more.first().map(String::as_str))),
        "service-handle" => Some(serve()),
        _ => None,
    }
}

/// Commands are allowed where one is named that a worker may give.
fn run(command: Option<&str>) -> Result<()> {
    let (allow, command) = (command.is_some(), command.unwrap_or_default().to_owned());
    let handle: Arc<OnceLock<Handle>> = Arc::default();
    let held = Arc::clone(&handle);
    let arbiter = Arbiter::builder(move |context: &WorkerContext| first(context, &held, &command))
        .workers(1)
        .group("consumer", 1, idle)
        .worker_commands(allow)
        .observe(tell)
        .build()?;
    let _ = handle.set(arbiter.handle());
    arbiter.run()
}

#[expect(clippy::unnecessary_wraps, reason = "it is a worker")]
fn idle(context: &WorkerContext) -> Result<()> {
    context.ready();
    while context.pause(Duration::from_secs(60)) == Shutdown::Running {}
    Ok(())
}

fn first(context: &WorkerContext, handle: &OnceLock<Handle>, command: &str) -> Result<()> {
    let handle = handle.get().expect("it was set before the run");
    context.ready();
    let place = context.slot().begin_request(MonoTime::now(), "GET", "/x");
    wait_until("both workers", || {
        handle.status().state == ArbiterState::Serving && handle.status().ready >= 2
    });
    let status = handle.status();
    println!("status {} {}", status.target, status.workers);
    for worker in handle.workers() {
        let current = worker.current.iter();
        let current: Vec<String> = current
            .map(|request| format!("{} {}", request.method, request.target))
            .collect();
        println!(
            "worker {} {} {} {:?} {:?} {}",
            worker.group,
            worker.pid == Pid::this().as_raw(),
            worker.age < Duration::from_secs(60),
            worker.state,
            current,
            worker.requests,
        );
    }
    context.slot().end_request(place, MonoTime::now());
    let told = |what: &str, completion: Completion| {
        // It is known at once, and a wait for more is an error.
        let error = completion.wait(Duration::from_secs(3600)).unwrap_err();
        match completion.progress() {
            Progress::HandedOver => println!("command {what} handed over: {error}"),
            _ => println!("command {what}: {error}"),
        }
    };
    told("upgrade", handle.upgrade());
    told("scale", handle.scale_group("consumer", 2));
    told("nowhere", handle.scale_group("nowhere", 2));
    match command {
        "reload" if context.id() == 1 => told("reload", handle.reload()),
        "stop" => told("stop", handle.stop()),
        _ => {}
    }
    idle(context)
}

/// Two workers, whose service answers with what it reads, and with what becomes of a command.
fn serve() -> Result<()> {
    let make = per_worker(|context| {
        let handle = context.handle().expect("an arbiter has forked it");
        Ok(move |request: Request<'_>, reply: Responder<'_>| {
            if request.path() == "/stop" {
                let refused = handle.stop().wait(Duration::ZERO).unwrap_err();
                return reply.text(200, refused.to_string());
            }
            let (target, listed) = (handle.status().target, handle.workers().len());
            let requests = handle.totals().expect("it has no predecessor").requests;
            reply.text(200, format!("{target} {listed} {requests}"))
        })
    });
    let server = oxicorn::Server::bind("127.0.0.1:0")?.workers(2);
    server.observe(tell).serve(make)
}

fn a_service_reads_the_workers_and_the_totals() {
    let mut server = Server::started(&["service-handle"], 2);
    let mut asked = 0;
    for _ in 0..2 {
        let mut client = connect(&mut server);
        // The other worker may not have counted its last request yet.
        wait_until("the totals", || {
            let page = client.get("/").expect(200);
            asked += 1;
            page.text() == format!("2 2 {}", asked - 1)
        });
    }
    let refused = connect(&mut server).get("/stop").expect(200);
    assert!(refused.text().contains("`worker_commands`"), "{refused:?}");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

fn a_worker_reads_the_status_and_the_workers() {
    let mut server = Server::started(&["worker-handle"], 2);
    server.wait_for_line("command nowhere");
    let seen: Vec<&str> = server.seen().collect();
    for line in [
        "status 2 2",
        "worker main true true Busy [\"GET /x\"] 0",
        "worker consumer false true Ready [] 0",
    ] {
        assert!(seen.contains(&line), "{line:?} is not in {seen:?}");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

fn a_worker_commands_only_where_that_is_allowed() {
    let mut server = Server::started(&["worker-handle"], 2);
    let upgrade = server.wait_for_line("command upgrade");
    assert!(upgrade.contains("a worker cannot have its arbiter do that"));
    let scale = server.wait_for_line("command scale");
    assert!(scale.contains("`worker_commands`"), "{scale}");
    let nowhere = server.wait_for_line("command nowhere");
    assert!(nowhere.contains("there is no group"), "{nowhere}");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);

    let mut server = Server::started(&["worker-handle", "reload"], 2);
    let upgrade = server.wait_for_line("command upgrade");
    assert!(upgrade.contains("a worker cannot have its arbiter do that"));
    let scale = server.wait_for_line("command scale handed over");
    assert!(scale.contains("is not told how it ends"), "{scale}");
    server.wait_for_line("command reload handed over");
    // One more, and then others in the place of all three, of which the third may never have been ready.
    server.wait_for_line("exited 1 ");
    server.wait_for_line("exited 2 ");
    // It waits for a state that is over once the server stops.
    server.wait_for_nth("command nowhere", 2);
    server.wait_for_workers(3);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);

    let mut server = Server::started(&["worker-handle", "stop"], 2);
    server.wait_for_line("stopping");
    assert_eq!(server.wait_for_end().status, 0);
}
