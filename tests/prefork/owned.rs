//! Python that the program owns, and servers that come and go in it: they end only what they have started.
//!
//! The roles first, then the tests that start them. A role prints what it finds; one that hangs is killed with its
//! test.

use std::ffi::CString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use oxicorn::wsgi::App;
use oxicorn::{InProcessServer, Result, Server as Http};
use pyo3::prelude::*;

use crate::roles::tell;
use crate::server::Server;
use crate::support::Client;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_server_stops_in_a_python_whose_main_thread_is_another,
    executors_and_finalizers_work_when_a_server_has_stopped,
    exit_functions_of_a_program_are_not_a_servers_to_call,
    exit_functions_of_an_application_wait_for_the_last_server,
    a_thread_attached_to_python_starts_and_stops_a_server,
    a_thread_that_is_attached_to_python_serves_and_stops_in_time,
    workers_of_an_older_python_run_its_fork_functions,
    workers_leave_what_their_program_has_begun_in_python,
    a_programs_path_and_environment_stay_as_they_are,
    variables_for_an_application_are_not_the_programs,
];

/// An application for all roles. Imported from the folder `apps`, which every role makes.
const APP: &str = "
import atexit, os, random, sys
def note(*words):
    os.write(1, (' '.join(map(str, words)) + '\\n').encode())
atexit.register(note, 'application exit', os.getpid())
note('chance', random.random())
note('forked', getattr(sys, 'forked', 0))
note('variable', os.environ.get('T_VARIABLE'), 'software', 'SERVER_SOFTWARE' in os.environ)
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

/// Plays a role of this file.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    let role = arguments.first()?.strip_prefix("owned-")?;
    let folder = PathBuf::from(arguments.get(1)?);
    std::fs::write(folder.join("owned.py"), APP).expect("a file");
    let app = App::new("owned:app").python_path([&folder]);
    Some(match role {
        "stop" => stop(app),
        "after" => after(&app),
        "functions" => functions(app),
        "last" => last(app),
        "attached" => attached(app),
        "serve-attached" => attached_to_python(|| serve(app, 2, 2)),
        "serve" => {
            python("import random, os, sys; random.seed(1)");
            python("os.register_at_fork(after_in_child=lambda: setattr(sys, 'forked', 1))");
            serve(app, 2, 1)
        }
        "leave" => {
            python(
                "import atexit, os, tempfile\n\
                 atexit.register(lambda: os.write(1, b'the program\\'s exit\\n'))\n\
                 folder, file = tempfile.TemporaryDirectory(), tempfile.NamedTemporaryFile()\n\
                 written = open(file.name + '.log', 'w')\n\
                 print('once', file=written)\n\
                 print('name', file.name, folder.name, flush=True)",
            );
            let served = serve(app, 1, 1);
            python(
                "print('left', os.path.exists(file.name), os.path.exists(folder.name), flush=True)\n\
                 written.close()\n\
                 print('lines', open(written.name).read().split(), flush=True)\n\
                 os.unlink(written.name)",
            );
            served
        }
        "traces" => traces(&folder),
        "variables" => variables(app),
        _ => return None,
    })
}

/// Starts the program's own interpreter, and works while attached to it.
fn attached_to_python<T>(work: impl FnOnce() -> T) -> T {
    Python::initialize();
    Python::attach(|_| work())
}

/// Runs code in the program's own interpreter, which it starts, in one namespace.
fn python(code: &str) {
    Python::initialize();
    let code = CString::new(code).expect("no NUL");
    Python::attach(|py| {
        let main = py
            .import("__main__")
            .and_then(|main| main.getattr("__dict__"));
        let main = main.expect("the main module");
        let main = main.cast::<pyo3::types::PyDict>().expect("a dict");
        if let Err(error) = py.run(&code, Some(main), None) {
            error.print(py);
            println!("failed");
        }
    });
}

fn start(app: App) -> Result<InProcessServer> {
    Http::bind("127.0.0.1:0")?
        .threads(2)
        .build()?
        .in_process(app)
}

fn get(address: SocketAddr) {
    let answer = Client::connect(address).send_last("/").read_all();
    println!("answer {}", answer.ends_with("ok"));
}

fn serve(app: App, workers: usize, threads: usize) -> Result<()> {
    let builder = Http::bind("127.0.0.1:0")?.workers(workers).threads(threads);
    builder.observe(tell).allow_threads(true).serve(app)
}

fn stop(app: App) -> Result<()> {
    python("import threading");
    let running = start(app)?;
    get(running.listeners()[0].ip().expect("an address"));
    running.stop()?;
    println!("stopped");
    Ok(())
}

const AFTER: &str = "
import os, tempfile, weakref, logging
from concurrent.futures import ThreadPoolExecutor
print('executor', ThreadPoolExecutor().submit(lambda: 6 * 7).result(), flush=True)
folder = tempfile.TemporaryDirectory()
name = folder.name
del folder
print('folder', os.path.exists(name), flush=True)
";

fn after(app: &App) -> Result<()> {
    for round in 0..2 {
        let running = start(app.clone())?;
        Python::attach(|py| py.run(c"import threading", None, None)).expect("Python runs");
        if round == 0 {
            // What exit functions there are when it stops.
            python("import logging, tempfile, concurrent.futures.thread, multiprocessing.util");
        }
        running.stop()?;
        python(AFTER);
    }
    Ok(())
}

fn functions(app: App) -> Result<()> {
    python("import atexit, os; atexit.register(lambda: os.write(1, b'the program\\'s exit\\n'))");
    start(app)?.stop()?;
    println!("stopped");
    Ok(())
}

fn last(app: App) -> Result<()> {
    let (first, second) = (start(app.clone())?, start(app)?);
    first.stop()?;
    println!("first stopped");
    second.stop()?;
    println!("second stopped");
    Ok(())
}

fn attached(app: App) -> Result<()> {
    attached_to_python(|| {
        let running = start(app.clone())?;
        println!("running");
        running.stop()?;
        println!("stopped");
        let running = start(app)?;
        running.handle().stop();
        running.join()?;
        println!("joined");
        Ok(())
    })
}

fn traces(folder: &Path) -> Result<()> {
    let append = format!("import os, sys\nsys.path.append('{}')", folder.display());
    python(&append);
    python("path, environ = list(sys.path), dict(os.environ)");
    start(App::new("owned:app"))?.stop()?;
    python("print('path', sys.path == path, 'environ', os.environ == environ, flush=True)");
    println!("process {}", std::env::var_os("SERVER_SOFTWARE").is_none());
    Ok(())
}

fn variables(app: App) -> Result<()> {
    start(app.env("T_VARIABLE", "yes"))?.stop()?;
    let found = ["T_VARIABLE", "SERVER_SOFTWARE"].map(std::env::var_os);
    println!("process {}", found.iter().all(Option::is_none));
    Ok(())
}

struct Role {
    server: Server,
    _folder: tempfile::TempDir,
}

fn role(name: &str) -> Role {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&[name, &folder.path().display().to_string()]);
    Role {
        server,
        _folder: folder,
    }
}

/// Plays a role to its end, and gives what it has printed.
#[track_caller]
fn played(name: &str) -> Vec<String> {
    let ended = role(name).server.wait_for_end();
    assert!(ended.status == 0, "{ended:#?}");
    ended.stdout
}

#[track_caller]
fn assert_has(seen: &[String], lines: &[&str]) {
    for line in lines {
        assert!(
            seen.iter().any(|seen| seen == line),
            "no {line:?} in {seen:#?}"
        );
    }
}

fn a_server_stops_in_a_python_whose_main_thread_is_another() {
    assert_has(&played("owned-stop"), &["answer true", "stopped"]);
}

fn executors_and_finalizers_work_when_a_server_has_stopped() {
    let seen = played("owned-after");
    for line in ["executor 42", "folder False"] {
        assert_eq!(
            seen.iter().filter(|seen| *seen == line).count(),
            2,
            "{seen:#?}"
        );
    }
}

fn exit_functions_of_a_program_are_not_a_servers_to_call() {
    let seen = played("owned-functions");
    assert_has(&seen, &["stopped"]);
    assert!(!seen.iter().any(|line| line.contains("exit")), "{seen:#?}");
}

fn exit_functions_of_an_application_wait_for_the_last_server() {
    let seen = played("owned-last");
    let at = |start: &str| seen.iter().position(|line| line.starts_with(start));
    let (first, exit, second) = (at("first"), at("application exit"), at("second"));
    assert!(
        first.is_some() && first < exit && exit < second,
        "{seen:#?}"
    );
}

fn a_thread_attached_to_python_starts_and_stops_a_server() {
    assert_has(&played("owned-attached"), &["running", "stopped", "joined"]);
}

fn a_thread_that_is_attached_to_python_serves_and_stops_in_time() {
    let mut role = role("owned-serve-attached");
    role.server.wait_for_workers(2);
    role.server.signal(Signal::SIGTERM);
    let ended = role.server.wait_for_end();
    assert!(ended.status == 0, "{ended:#?}");
    let exited: Vec<_> = ended
        .stdout
        .iter()
        .filter(|line| line.starts_with("exited"))
        .collect();
    assert_eq!(exited.len(), 2, "{ended:#?}");
    assert!(
        exited.iter().all(|line| line.ends_with("status: 0")),
        "{ended:#?}"
    );
}

fn workers_of_an_older_python_run_its_fork_functions() {
    let mut role = role("owned-serve");
    role.server.wait_for_workers(2);
    let chances: std::collections::BTreeSet<_> = role
        .server
        .seen()
        .filter(|line| line.starts_with("chance"))
        .map(str::to_owned)
        .collect();
    assert_eq!(chances.len(), 2, "{chances:?}");
    let forked = role
        .server
        .seen()
        .filter(|line| *line == "forked 1")
        .count();
    assert_eq!(forked, 2);
    role.server.signal(Signal::SIGTERM);
    assert!(role.server.wait_for_end().status == 0);
}

fn workers_leave_what_their_program_has_begun_in_python() {
    let mut role = role("owned-leave");
    role.server.wait_for_workers(1);
    role.server.signal(Signal::SIGTERM);
    let ended = role.server.wait_for_end();
    assert!(ended.status == 0, "{ended:#?}");
    assert_has(&ended.stdout, &["left True True", "lines ['once']"]);
    let exits = |text: &str| {
        ended
            .stdout
            .iter()
            .filter(|line| line.contains(text))
            .count()
    };
    assert_eq!(
        (exits("application exit"), exits("program's exit")),
        (1, 0),
        "{ended:#?}"
    );
}

fn a_programs_path_and_environment_stay_as_they_are() {
    let seen = played("owned-traces");
    assert_has(&seen, &["path True environ True", "process true"]);
}

fn variables_for_an_application_are_not_the_programs() {
    let seen = played("owned-variables");
    assert_has(&seen, &["variable yes software True", "process true"]);
}
