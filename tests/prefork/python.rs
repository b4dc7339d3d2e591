//! An application in a process that no arbiter looks after: its stacks go to standard output, which this
//! program reads.

use std::io::stdout;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::Uid;
use oxicorn::h1::{Head, Version};
use oxicorn::service::{Address, ConnectionInfo, ServiceContext, Stacks};
use oxicorn::testing::Recorder;
use oxicorn::wsgi::App;
use oxicorn::{Body, Error, MakeService, Request, Responder, Result, Service};

use crate::server::{Server, send};
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_hang_shows_its_python_stack_when_it_is_asked_for,
    a_hang_in_an_import_shows_its_stack_too,
    a_crash_in_c_shows_its_python_stack,
    privileges_of_a_preloaded_application_are_warned_of,
    an_application_that_comes_too_late_to_be_preloaded_says_so,
];

/// Calls an application at `path`, on the main thread as a worker would.
pub(crate) fn play(app: &str, path: &str) -> Result<()> {
    let local = Address::Ip(([127, 0, 0, 1], 8000).into());
    let listeners = [local.clone()];
    let output = stdout();
    let mut context = ServiceContext::new(&listeners);
    context.stacks = Some(Stacks {
        to: output.as_fd(),
        on: Signal::SIGUSR1 as i32,
    });
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps");
    let application = App::new(app).python_path([apps]).make(&context)?;
    let head = Head::new("GET", path, Version::HTTP_11, [(&b"host"[..], &b"a"[..])])
        .map_err(|error| Error::new(error.to_string()))?;
    let connection = ConnectionInfo::new(local.clone(), 0, local);
    let request = Request::new(&head, &connection, Body::empty());
    let recorder = Recorder::new();
    application
        .call(request, Responder::new(&recorder))
        .map(drop)
}

/// Loads an application by itself that was to be loaded beforehand.
pub(crate) fn play_late() -> Result<()> {
    let app = App::new("wsgiref.simple_server:demo_app").preload_app(true);
    app.load(&ServiceContext::new(&[])).map(drop)
}

/// Loads an application, and gives the privileges up before it makes a service of it.
pub(crate) fn play_nobody() -> Result<()> {
    let mut app = App::new("wsgiref.simple_server:demo_app").preload_app(true);
    MakeService::preload(&mut app)?;
    nix::unistd::setuid(Uid::from_raw(65534)).map_err(std::io::Error::from)?;
    app.make(&ServiceContext::new(&[])).map(drop)
}

#[track_caller]
fn hanging(app: &str, path: &str) -> Server {
    let mut server = Server::start(&["python", "--app", app, "--flag", path]);
    server.wait_for_line("about to hang");
    server
}

#[track_caller]
fn assert_stack(server: &mut Server, function: &str) {
    // faulthandler's own form: the innermost line first.
    server.wait_for_line("Current thread 0x");
    let innermost = server.wait_for_line("  File ");
    assert!(
        innermost.ends_with(&format!("in {function}")),
        "{innermost}"
    );
}

fn a_hang_shows_its_python_stack_when_it_is_asked_for() {
    for hang in ["busy", "sleeping", "in_c"] {
        let mut server = hanging("hangs:app", &format!("/{hang}"));
        send(server.pid(), Signal::SIGUSR1);
        assert_stack(&mut server, hang);
    }
    let mut server = hanging("hangs:app", "/deadlocked");
    send(server.pid(), Signal::SIGUSR1);
    // All threads are there, this one's first line before the main thread's.
    server.wait_for_line("Thread 0x");
    server.wait_for_line("Current thread 0x");
    assert!(server.wait_for_line("  File ").ends_with("in waiting"));
}

fn a_hang_in_an_import_shows_its_stack_too() {
    let mut server = hanging("hangs_in_import:app", "/");
    send(server.pid(), Signal::SIGUSR1);
    assert_stack(&mut server, "sleeping");
}

// Gunicorn: G14
fn a_crash_in_c_shows_its_python_stack() {
    let mut server = hanging("hangs:app", "/crashing");
    server.wait_for_line("Fatal Python error: Aborted");
    assert_stack(&mut server, "crashing");
}

// Gunicorn: S28
fn privileges_of_a_preloaded_application_are_warned_of() {
    if !Uid::effective().is_root() {
        println!("(has no privileges to give up)");
        return;
    }
    let ended = Server::start(&["python-as-nobody"]).wait_for_end();
    assert!(ended.status == 0, "{ended:?}");
    #[cfg(feature = "tracing")]
    assert!(
        ended.log().contains("with the privileges of user 0"),
        "{ended:?}"
    );
}

fn an_application_that_comes_too_late_to_be_preloaded_says_so() {
    let ended = Server::start(&["python-late"]).wait_for_end();
    assert!(ended.status == 0, "{ended:?}");
    #[cfg(feature = "tracing")]
    assert!(
        ended
            .log()
            .contains("demo_app is loaded in this worker by itself"),
        "{ended:?}"
    );
}
