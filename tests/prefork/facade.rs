//! [`oxicorn::Server`] as a program has it: with hooks, with a handle and signals of the program's own, and
//! several of them one after the other.
//!
//! The roles first, then the tests that start them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use oxicorn::arbiter::{ArbiterEvent, Attachment, Handle};
use oxicorn::config::Settings;
use oxicorn::h1::Head;
use oxicorn::hooks::{RequestOutcome, ServerInfo, WorkerInfo};
use oxicorn::net::Listener;
use oxicorn::service::per_worker;
use oxicorn::time::MonoTime;
use oxicorn::worker::Shutdown;
use oxicorn::{Arbiter, Error, Hooks, Request, Responded, Responder, Result, WorkerContext};

use crate::roles::tell;
use crate::server::{Server, send};
use crate::support::{Address, Client, Exited, wait_until};
use crate::{Test, tests};

/// Plays a role of this file, if it is one.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    let argument = arguments.get(1).cloned().unwrap_or_default();
    match arguments.first()?.as_str() {
        "hooked" => Some(hooked(argument)),
        "threaded-arbiter" => Some(threaded_arbiter()),
        "keeps-a-clone" => Some(keeps_a_clone()),
        "hooked-threads" => Some(hooked_threads()),
        "moves" => Some(moves(&argument)),
        "listed" => Some(listed(&argument)),
        "stages" => Some(stages(argument)),
        "own-signals" => Some(own_signals()),
        "with-attachment" => Some(with_attachment()),
        "several" => Some(several()),
        _ => None,
    }
}

fn serve(_: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    reply.text(200, "served\n")
}

/// Prints every call, and fails or panics in the hook that it is named.
struct Printing(String);

impl Printing {
    fn print(&self, hook: &str, more: impl std::fmt::Display) -> Result<()> {
        println!("hook {} {hook}{more}", std::process::id());
        if let Some(hook) = self.0.strip_suffix('!').filter(|name| *name == hook) {
            panic!("{hook} was told to");
        }
        if self.0 == hook {
            return Err(Error::new("it was told to"));
        }
        Ok(())
    }

    fn tell(&self, hook: &str, more: impl std::fmt::Display) {
        let _ = self.print(hook, more);
    }
}

impl Hooks for Printing {
    fn on_starting(&self, _: &ServerInfo) -> Result<()> {
        self.print("on_starting", "")
    }

    fn on_reload(&self, _: &ServerInfo) {
        self.tell("on_reload", "");
    }

    fn when_ready(&self, _: &ServerInfo) -> Result<()> {
        self.print("when_ready", "")
    }

    fn pre_fork(&self, _: &ServerInfo, id: u64) -> Result<()> {
        self.print("pre_fork", format_args!(" {id}"))
    }

    fn post_fork(&self, worker: &WorkerInfo) -> Result<()> {
        self.print("post_fork", format_args!(" {}", worker.id))
    }

    fn post_worker_init(&self, worker: &WorkerInfo) -> Result<()> {
        self.print("post_worker_init", format_args!(" {}", worker.id))
    }

    fn worker_int(&self, worker: &WorkerInfo) {
        self.tell("worker_int", format_args!(" {}", worker.id));
    }

    fn worker_abort(&self, worker: &WorkerInfo) {
        self.tell("worker_abort", format_args!(" {}", worker.id));
    }

    fn pre_request(&self, _: &WorkerInfo, request: &Request<'_>) -> Result<()> {
        self.print("pre_request", format_args!(" {}", request.path()))
    }

    fn post_request(&self, _: &WorkerInfo, request: &Head, answer: &RequestOutcome<'_>) {
        let status = answer.status.unwrap_or_default();
        let line = format!(" {} {status} {}", request.path(), answer.sent);
        self.tell("post_request", line);
    }

    fn child_exit(&self, _: &ServerInfo, worker: &WorkerInfo, status: Option<ExitStatus>) {
        let status = status.and_then(|status| status.code());
        self.tell("child_exit", format_args!(" {} {status:?}", worker.id));
    }

    fn worker_exit(&self, worker: &WorkerInfo) {
        self.tell("worker_exit", format_args!(" {}", worker.id));
    }

    fn nworkers_changed(&self, _: &ServerInfo, new: usize, old: Option<usize>) {
        self.tell("nworkers_changed", format_args!(" {old:?} {new}"));
    }

    fn pre_exec(&self, _: &ServerInfo) {
        self.tell("pre_exec", "");
    }

    fn on_exit(&self, _: &ServerInfo) {
        self.tell("on_exit", "");
    }
}

/// One worker, and hooks of which one fails.
fn hooked(fails: String) -> Result<()> {
    let server = oxicorn::Server::bind("127.0.0.1:0")?
        .hooks(Printing(fails))
        .observe(tell);
    server.serve(serve)
}

/// One worker with two threads and calls that do not return; two such workers after a reload.
fn hooked_threads() -> Result<()> {
    let mut settings = Settings::default();
    settings.bind = vec!["127.0.0.1:0".to_owned()];
    settings.threads = 2;
    settings.workers = 2;
    let never = |_: Request<'_>, _: Responder<'_>| -> Result<Responded> {
        loop {
            thread::park();
        }
    };
    let server = oxicorn::Server::bind(&settings.bind[0])?
        .threads(2)
        .hooks(Printing(String::new()))
        .reload_from(move || Ok(settings.clone()))
        .observe(tell);
    server.serve(never)
}

/// Starts a thread that answers each connection with the number of ready workers.
struct StatusThread;

impl Hooks for StatusThread {
    fn when_ready(&self, server: &ServerInfo) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("status at {}", listener.local_addr()?);
        let handle = server.handle.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = write!(stream, "{}", handle.status().ready);
            }
        });
        Ok(())
    }
}

fn threaded_arbiter() -> Result<()> {
    let server = oxicorn::Server::bind("127.0.0.1:0")?
        .workers(2)
        .hooks(StatusThread)
        .reload_from(|| {
            let mut settings = Settings::default();
            settings.workers = 3;
            settings.bind = vec!["127.0.0.1:0".to_owned()];
            Ok(settings)
        })
        .observe(tell);
    server.serve(serve)
}

/// Keeps a clone of its listeners, and tells what a client finds after the server, and after the clone.
fn keeps_a_clone() -> Result<()> {
    let server = oxicorn::Server::bind("127.0.0.1:0")?
        .observe(tell)
        .build()?;
    let kept = server.listeners().clone();
    let address = kept.get(0).and_then(Listener::socket_addr);
    let connects = || TcpStream::connect(address.expect("it is TCP")).is_ok();
    server.serve(serve)?;
    println!("kept connects: {}", connects());
    drop(kept);
    println!("dropped connects: {}", connects());
    Ok(())
}

/// Its settings have an address that nobody has, then another pid file and an address beside the first one,
/// then that alone.
fn moves(folder: &str) -> Result<()> {
    let socket = |name: &str| format!("unix:{folder}/{name}");
    let file = |name: &str| Some(format!("{folder}/{name}").into());
    let (first, second) = (socket("first"), socket("second"));
    let steps = [
        (vec![first.clone(), socket("missing/one")], file("pid")),
        (vec![first.clone(), second.clone()], file("other-pid")),
        (vec![second], file("other-pid")),
    ];
    let mut steps = steps.into_iter();
    let source = move || {
        let (bind, pidfile) = steps.next().ok_or_else(|| Error::new("no more settings"))?;
        let mut settings = Settings::default();
        settings.bind = bind;
        settings.pidfile = pidfile;
        Ok(settings)
    };
    let server = oxicorn::Server::bind(&first)?
        .pidfile(format!("{folder}/pid"))
        .reload_from(source)
        .observe(tell);
    server.serve(serve)
}

/// Listens where the file `binds` of the folder says, a line for each address. A request for `/hold` and a worker's start
/// take as long as there is a file of the name `hold` or `boot`.
fn listed(folder: &str) -> Result<()> {
    let path = |name: &str| Path::new(folder).join(name);
    let (binds, hold, boot) = (path("binds"), path("hold"), path("boot"));
    let read = move || {
        let mut settings = Settings::default();
        settings.bind = std::fs::read_to_string(&binds)?
            .lines()
            .map(str::to_owned)
            .collect();
        Ok::<_, Error>(settings)
    };
    let service = per_worker(move |_| {
        wait_until("the start", || !boot.exists());
        let hold = hold.clone();
        Ok(move |request: Request<'_>, reply: Responder<'_>| {
            if request.path() == "/hold" {
                println!("begun");
                wait_until("the answer", || !hold.exists());
            }
            serve(request, reply)
        })
    });
    let server = oxicorn::Server::from_settings(&read()?)?;
    server.reload_from(read).observe(tell).serve(service)
}

/// A worker that is ready as soon as there is a file, and settings that never can be used. Prints what the handle says
/// when they could not.
fn stages(file: String) -> Result<()> {
    Arbiter::builder(move |context: &WorkerContext| {
        wait_until("the file", || Path::new(&file).exists());
        context.ready();
        while context.pause(Duration::from_secs(60)) == Shutdown::Running {}
        Ok(())
    })
    .reload(|| Err(Error::new("they are nowhere")))
    .observe(|event, handle| match event {
        ArbiterEvent::ReloadFailed { .. } => println!("kept {:?}", handle.status().state),
        _ => tell(event, handle),
    })
    .build()?
    .run()
}

/// Attached to an arbiter: it is called once at its start, and stops the server.
struct Alarm(Option<MonoTime>);

impl Attachment for Alarm {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn deadline(&self) -> Option<MonoTime> {
        self.0
    }

    fn ready(&mut self, handle: &Handle) {
        self.0 = None;
        println!("alarm");
        handle.stop();
    }
}

fn with_attachment() -> Result<()> {
    let server = oxicorn::Server::bind("127.0.0.1:0")?.attach(Alarm(Some(MonoTime::now())));
    server.observe(tell).serve(serve)
}

/// A host that waits for its signals itself, in a thread of its own, and tells the server what it likes.
fn own_signals() -> Result<()> {
    let mut own = SigSet::empty();
    own.extend([Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM]);
    own.thread_block().map_err(std::io::Error::from)?;
    let server = oxicorn::Server::bind("127.0.0.1:0")?
        .workers(2)
        .signals(false)
        .allow_threads(true)
        .observe(tell)
        .build()?;
    let handle = server.handle();
    thread::spawn(move || {
        while let Ok(signal) = own.wait() {
            println!("host {signal}");
            let _ = match signal {
                Signal::SIGUSR1 => handle.scale(3),
                Signal::SIGUSR2 => handle.reload(),
                _ => handle.stop(),
            };
        }
    });
    server.serve(serve)?;
    println!("returned");
    Ok(())
}

/// Ends with the host's frame, and only there.
struct Frame;

impl Drop for Frame {
    fn drop(&mut self) {
        println!("frame left in {}", std::process::id());
    }
}

extern "C" fn at_exit() {
    println!("exit handler in {}", std::process::id());
}

/// Two servers and an arbiter, each stopped when all is there; the last one's worker panics.
fn several() -> Result<()> {
    let _frame = Frame;
    // SAFETY: the function is there for as long as the program.
    #[expect(unsafe_code, reason = "the standard library has no atexit(3)")]
    let registered = unsafe { libc::atexit(at_exit) };
    assert_eq!(registered, 0);
    for _ in 0..2 {
        let builder = oxicorn::Server::bind("127.0.0.1:0")?.workers(2);
        let server = builder.observe(|event, handle| {
            tell(event, handle);
            if matches!(event, ArbiterEvent::Ready { .. }) {
                // An hour would be one of no supervision.
                let waited = handle.stop().wait(Duration::from_secs(3600));
                println!("waited {}", waited.unwrap_err());
            }
        });
        server.serve(serve)?;
        println!("returned");
    }
    Arbiter::builder(|context: &WorkerContext| {
        context.ready();
        assert!(context.id() > 1, "the first worker was told to");
        while context.pause(Duration::from_secs(60)) == Shutdown::Running {}
        Ok(())
    })
    .observe(|event, handle| {
        tell(event, handle);
        if matches!(event, ArbiterEvent::WorkerExited { .. }) {
            handle.stop();
        }
    })
    .build()?
    .run()?;
    println!("returned");
    Ok(())
}

pub(crate) const TESTS: &[Test] = tests![
    an_attachment_is_called_by_a_servers_arbiter,
    hooks_are_called_in_gunicorns_order_and_processes,
    a_hook_that_fails_at_the_start_ends_it_before_any_worker,
    a_pre_fork_that_fails_ends_the_start_with_status_255,
    a_hook_that_fails_in_a_new_worker_is_a_boot_failure,
    a_hook_that_fails_around_a_request_costs_at_most_that_one,
    an_aborted_worker_runs_its_hook_and_exits_with_status_1,
    a_hook_that_panics_later_costs_nothing,
    hooks_are_told_before_the_program_is_executed_anew,
    hooks_survive_new_settings_and_see_a_worker_leave,
    wrong_settings_change_nothing_and_good_ones_move_the_server,
    a_reload_that_fails_leaves_the_stage_as_it_was,
    a_host_keeps_its_signals_and_has_a_handle,
    a_kept_listener_listens_on_only_after_a_quick_stop,
    a_thread_of_the_arbiters_lives_on_and_no_worker_has_it,
    servers_follow_each_other_and_leave_the_hosts_frames_alone,
];

pub(crate) fn connect(server: &mut Server) -> Client {
    let line = server.wait_for_line("started http://");
    let address = line.trim_start_matches("started http://");
    Client::connect(address.parse().expect("an address"))
}

fn get(server: &mut Server, path: &str) -> String {
    let response = connect(server).send_last(path).read_all();
    response.lines().next().unwrap_or_default().to_owned()
}

/// The hooks that were called, with the process as a word: the arbiter, or a worker.
fn called(ended: &Exited, arbiter: i32) -> Vec<String> {
    let lines = ended.stdout.iter();
    let calls = lines.filter_map(|line| line.strip_prefix("hook ")?.split_once(' '));
    let named = calls.map(|(pid, call)| {
        let who = if pid == arbiter.to_string() {
            "arbiter"
        } else {
            "worker"
        };
        format!("{who}: {call}")
    });
    named.collect()
}

// Gunicorn: HUP6, H1, H2, H3, H4, H5, H6, H7, H10, H11, H12, H13, H14, H15, B6
fn hooks_are_called_in_gunicorns_order_and_processes() {
    let mut server = Server::started(&["hooked"], 1);
    let arbiter = server.pid();
    assert_eq!(get(&mut server, "/a"), "HTTP/1.1 200 OK");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("hook ");
    server.wait_for_line(&format!("hook {arbiter} child_exit 1"));
    server.wait_for_workers(1);
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(2);
    server.signal(Signal::SIGTTOU);
    server.wait_for_line(&format!("hook {arbiter} child_exit 2"));
    server.signal(Signal::SIGINT);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let expected = [
        "arbiter: nworkers_changed None 1",
        "arbiter: on_starting",
        "arbiter: when_ready",
        "arbiter: pre_fork 1",
        "worker: post_fork 1",
        "worker: post_worker_init 1",
        "worker: pre_request /a",
        "worker: post_request /a 200 7",
        // HUP: the old worker leaves when the new one is ready.
        "arbiter: on_reload",
        "arbiter: pre_fork 2",
        "worker: post_fork 2",
        "worker: post_worker_init 2",
        "worker: worker_exit 1",
        "arbiter: child_exit 1 Some(0)",
        "arbiter: nworkers_changed Some(1) 2",
        "arbiter: pre_fork 3",
        "worker: post_fork 3",
        "worker: post_worker_init 3",
        "arbiter: nworkers_changed Some(2) 1",
        "worker: worker_exit 2",
        "arbiter: child_exit 2 Some(0)",
        "worker: worker_int 3",
        "worker: worker_exit 3",
        "arbiter: child_exit 3 Some(0)",
        "arbiter: on_exit",
    ];
    assert_eq!(called(&ended, arbiter), expected);
}

// Gunicorn: H9
fn hooks_are_told_before_the_program_is_executed_anew() {
    let mut server = Server::started(&["hooked", "none"], 1);
    server.signal(Signal::SIGUSR2);
    server.wait_for_workers(2);
    server.signal(Signal::SIGTERM);
    let new = server.wait_for_line("promoted ");
    let new: i32 = new["promoted ".len()..].parse().expect("a process id");
    send(new, Signal::SIGTERM);
    let ended = server.wait_for_end();
    let prefix = format!("hook {new} ");
    let mut calls = ended
        .stdout
        .iter()
        .filter_map(|line| line.strip_prefix(&prefix));
    assert_eq!(calls.next(), Some("pre_exec"), "{ended:?}");
    assert_eq!(calls.next(), Some("nworkers_changed None 1"), "{ended:?}");
}

// Gunicorn: H1, H3
fn a_hook_that_fails_at_the_start_ends_it_before_any_worker() {
    for (fails, why) in [
        ("on_starting", "on_starting failed: it was told to"),
        (
            "on_starting!",
            "on_starting panicked: on_starting was told to",
        ),
        ("when_ready", "when_ready failed: it was told to"),
    ] {
        let ended = Server::start(&["hooked", fails]).wait_for_end();
        assert_eq!(ended.status, 1, "{ended:?}");
        let sentence = format!("Error: the hook {why}");
        assert_eq!(ended.last(), sentence);
        assert!(!ended.stdout.iter().any(|line| line.starts_with("spawned")));
    }
}

// Gunicorn: H4, G45
fn a_pre_fork_that_fails_ends_the_start_with_status_255() {
    for fails in ["pre_fork", "pre_fork!"] {
        let ended = Server::start(&["hooked", fails]).wait_for_end();
        assert_eq!(ended.status, 255, "{ended:?}");
        let last = ended.last();
        assert!(last.starts_with("Error: the hook pre_fork "), "{last}");
    }
}

// Gunicorn: H5, H6, H12, H13
fn a_hook_that_fails_in_a_new_worker_is_a_boot_failure() {
    for fails in ["post_fork", "post_fork!", "post_worker_init"] {
        let server = Server::start(&["hooked", fails]);
        let arbiter = server.pid();
        let ended = server.wait_for_end();
        assert_eq!(ended.status, 3, "{ended:?}");
        let last = ended.last();
        let hook = fails.trim_end_matches('!');
        assert!(last.contains(&format!("the hook {hook} ")), "{last}");
        let calls = called(&ended, arbiter);
        let left = ["worker: worker_exit 1", "arbiter: child_exit 1 Some(3)"];
        assert!(calls.windows(2).any(|pair| pair == left), "{calls:?}");
    }
}

// Gunicorn: H10, H11
fn a_hook_that_fails_around_a_request_costs_at_most_that_one() {
    for (fails, status, call) in [
        (
            "pre_request",
            "HTTP/1.1 500 Internal Server Error",
            "post_request / 0 0",
        ),
        (
            "pre_request!",
            "HTTP/1.1 500 Internal Server Error",
            "post_request / 0 0",
        ),
        ("post_request!", "HTTP/1.1 200 OK", "post_request / 200 7"),
    ] {
        let mut server = Server::started(&["hooked", fails], 1);
        let arbiter = server.pid();
        assert_eq!(get(&mut server, "/"), status);
        assert_eq!(get(&mut server, "/"), status);
        server.signal(Signal::SIGTERM);
        let ended = server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
        let calls = called(&ended, arbiter);
        let call = format!("worker: {call}");
        assert_eq!(calls.iter().filter(|made| **made == call).count(), 2);
        let spawned = |line: &&String| line.starts_with("spawned");
        assert_eq!(ended.stdout.iter().filter(spawned).count(), 1, "{ended:?}");
    }
}

// Gunicorn: G14, H8
fn an_aborted_worker_runs_its_hook_and_exits_with_status_1() {
    let mut server = Server::started(&["hooked", "none"], 1);
    let arbiter = server.pid();
    send(server.workers()[0], Signal::SIGABRT);
    server.wait_for_line("exited 1");
    server.wait_for_workers(1);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    let calls = called(&ended, arbiter);
    let at = |call: &str| calls.iter().position(|made| made == call);
    let aborted = at("worker: worker_abort 1").expect("the hook was called");
    assert_eq!(calls[aborted + 1], "worker: worker_exit 1", "{calls:?}");
    assert!(at("arbiter: child_exit 1 Some(1)").is_some(), "{calls:?}");
    assert!(at("worker: worker_int 1").is_none(), "{calls:?}");
}

// Gunicorn: H7
fn a_hook_that_panics_later_costs_nothing() {
    for fails in [
        "worker_int!",
        "worker_exit!",
        "child_exit!",
        "nworkers_changed!",
        "on_exit!",
    ] {
        let mut server = Server::started(&["hooked", fails], 1);
        assert_eq!(get(&mut server, "/"), "HTTP/1.1 200 OK");
        server.signal(Signal::SIGINT);
        let ended = server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
    }
}

// Gunicorn: HUP4, B7
fn hooks_survive_new_settings_and_see_a_worker_leave() {
    let mut server = Server::started(&["hooked-threads"], 1);
    let arbiter = server.pid();
    server.signal(Signal::SIGHUP);
    server.wait_for_line(&format!("hook {arbiter} child_exit 1"));
    server.wait_for_workers(2);
    let mut client = connect(&mut server);
    client.send_get("/");
    server.wait_until("a request is begun", |server| {
        server.seen().any(|line| line.contains(" pre_request /"))
    });
    server.signal(Signal::SIGINT);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let calls = called(&ended, arbiter);
    let place = |call: &str| calls.iter().position(|made| made == call);
    let reload = place("arbiter: on_reload").expect("it was reloaded");
    assert_eq!(calls[reload + 1], "arbiter: nworkers_changed Some(1) 2");
    for id in [2, 3] {
        for call in ["post_fork", "post_worker_init", "worker_int", "worker_exit"] {
            let call = format!("worker: {call} {id}");
            let made = calls.iter().filter(|made| **made == call).count();
            assert_eq!(made, 1, "{call}: {calls:?}");
        }
    }
    assert!(!calls.iter().any(|made| made.contains("post_request")));
}

// Gunicorn: HUP2, HUP5
fn wrong_settings_change_nothing_and_good_ones_move_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let answers = |name: &str| {
        let mut client = Address::Unix(path(name)).try_client()?;
        let response = client.send_last("/").read_all();
        response.ends_with("served\n").then_some(())
    };
    let argument = folder.path().display().to_string();
    let mut server = Server::started(&["moves", &argument], 1);
    let before = server.workers();
    server.signal(Signal::SIGHUP);
    let kept = server.wait_for_line("kept ");
    assert!(kept.contains("missing/one"), "{kept}");
    assert_eq!(server.workers(), before);
    assert!(answers("first").is_some() && path("pid").exists());

    server.signal(Signal::SIGHUP);
    server.wait_for_line("exited 1");
    assert!(answers("first").is_some() && answers("second").is_some());
    assert!(!path("pid").exists() && path("other-pid").exists());

    server.signal(Signal::SIGHUP);
    server.wait_for_line("exited 2");
    assert!(answers("first").is_none() && answers("second").is_some());
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let left = std::fs::read_dir(folder.path()).expect("the folder");
    assert_eq!(left.count(), 0);
}

fn a_reload_that_fails_leaves_the_stage_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    let mut server = Server::start(&["stages", &file.display().to_string()]);
    server.wait_for_line("spawned 1");
    server.signal(Signal::SIGHUP);
    assert_eq!(server.wait_for_nth("kept ", 1), "kept Starting");
    std::fs::write(&file, "").expect("a file");
    server.wait_for_workers(1);
    server.signal(Signal::SIGHUP);
    assert_eq!(server.wait_for_nth("kept ", 2), "kept Serving");
    server.signal(Signal::SIGWINCH);
    server.wait_for_workers(0);
    server.signal(Signal::SIGHUP);
    assert_eq!(server.wait_for_nth("kept ", 3), "kept Quiesced");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

// Gunicorn: B3
fn a_host_keeps_its_signals_and_has_a_handle() {
    let mut server = Server::started(&["own-signals"], 2);
    let first = server.workers();
    server.signal(Signal::SIGUSR1);
    server.wait_for_line("host SIGUSR1");
    server.wait_for_workers(3);
    // Nobody takes CHLD: the end of the worker's line tells.
    send(first[0], Signal::SIGKILL);
    server.wait_for_line(&format!("exited 1 {}", first[0]));
    server.wait_for_workers(3);
    server.signal(Signal::SIGUSR2);
    // The number is the settings' again.
    server.wait_for_line("exited 4 ");
    server.wait_for_workers(2);
    assert!(!server.workers().contains(&first[1]));
    assert_eq!(get(&mut server, "/"), "HTTP/1.1 200 OK");
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.stdout.contains(&"host SIGTERM".to_owned()));
    assert!(ended.stdout.contains(&"returned".to_owned()));
}

fn a_thread_of_the_arbiters_lives_on_and_no_worker_has_it() {
    let mut server = Server::started(&["threaded-arbiter"], 2);
    let address = server.wait_for_line("status at ");
    let address = address.trim_start_matches("status at ");
    let ready = || {
        let mut stream = TcpStream::connect(address).expect("the thread listens");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    };
    let threads = |pid: i32| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        tasks.expect("a process").count()
    };
    assert_eq!(ready(), "2");
    let first = server.workers();
    send(first[0], Signal::SIGKILL);
    server.wait_for_line("exited 1 ");
    server.wait_for_workers(2);
    assert_eq!(ready(), "2");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("exited 2 ");
    server.wait_for_line("exited 3 ");
    server.wait_for_workers(3);
    assert_eq!(ready(), "3");
    assert_eq!(threads(server.pid()), 2);
    for worker in server.workers() {
        assert_eq!(threads(worker), 1);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

fn a_kept_listener_listens_on_only_after_a_quick_stop() {
    for (signal, listens) in [(Signal::SIGTERM, false), (Signal::SIGINT, true)] {
        let server = Server::started(&["keeps-a-clone"], 1);
        server.signal(signal);
        let ended = server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
        let seen = [
            format!("kept connects: {listens}"),
            "dropped connects: false".to_owned(),
        ];
        for line in &seen {
            assert!(ended.stdout.contains(line), "{line:?} is not in {ended:?}");
        }
    }
}

// Gunicorn: B3, B14
fn servers_follow_each_other_and_leave_the_hosts_frames_alone() {
    let server = Server::start(&["several"]);
    let host = server.pid();
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let count = |text: &str| {
        ended
            .stdout
            .iter()
            .filter(|line| line.starts_with(text))
            .count()
    };
    assert_eq!(count("returned"), 3, "{ended:?}");
    let waited = "waited the arbiter's own thread cannot wait for what the arbiter is to do";
    assert_eq!(count(waited), 2, "{ended:?}");
    for what in ["frame left in", "exit handler in"] {
        assert_eq!(count(what), 1, "{ended:?}");
        assert_eq!(count(&format!("{what} {host}")), 1, "{ended:?}");
    }
}

fn an_attachment_is_called_by_a_servers_arbiter() {
    let ended = Server::start(&["with-attachment"]).wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(
        ended.stdout.iter().filter(|line| *line == "alarm").count(),
        1
    );
}
