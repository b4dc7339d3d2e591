//! The parts that this program plays when it runs itself: hosts of an arbiter, with workers that behave
//! well or badly.
//!
//! What happens is printed as a line of standard output, the log goes to standard error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::wait_until;
use crate::{
    contained, facade, groups, preload, refused, titles, totals, trial, unheard, user,
    worker_handle,
};
use oxicorn::arbiter::{ArbiterEvent, Handle, ReexecCommand};
use oxicorn::net::{BindAddress, DEFAULT_BACKLOG, Listener, Listeners};
use oxicorn::time::MonoTime;
use oxicorn::worker::Shutdown;
use oxicorn::{Arbiter, Error, Result, WorkerContext};

/// Plays what the command line says, and ends as a host's `main` would.
pub(crate) fn play(arguments: &[String]) -> ExitCode {
    if let Some(played) = unheard::play(arguments) {
        return played.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    #[cfg(feature = "tracing")]
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let played = facade::play(arguments)
        .or_else(|| user::play(arguments))
        .or_else(|| contained::play(arguments))
        .or_else(|| titles::play(arguments))
        .or_else(|| totals::play(arguments))
        .or_else(|| worker_handle::play(arguments))
        .or_else(|| groups::play(arguments))
        .or_else(|| trial::play(arguments))
        .or_else(|| preload::play(arguments));
    #[cfg(feature = "wsgi")]
    let played = played
        .or_else(|| crate::owned::play(arguments))
        .or_else(|| crate::renewed::play(arguments));
    match played.unwrap_or_else(|| host(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// `ROLE [--option VALUE].. [--twice]`
fn host(arguments: &[String]) -> Result<()> {
    let role = arguments.first().cloned().unwrap_or_default();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let seconds = |name: &str, default: u64| {
        let millis = option(name).and_then(|text| text.parse().ok());
        millis.map_or(Duration::from_secs(default), Duration::from_millis)
    };
    let flag = option("--flag").unwrap_or_default();
    #[cfg(feature = "wsgi")]
    if role == "python-as-nobody" {
        return crate::python::play_nobody();
    }
    #[cfg(feature = "wsgi")]
    if role == "python-late" {
        return crate::python::play_late();
    }
    #[cfg(feature = "wsgi")]
    if role == "python" {
        return crate::python::play(&option("--app").unwrap_or_default(), &flag);
    }
    if role == "filtered" {
        refused::install_filter();
    }
    let runs = if role == "twice" { 2 } else { 1 };

    print!("once ");
    let mut own_child = Command::new("true").spawn()?;
    if role == "threaded" {
        thread::spawn(thread::park);
    }
    for _ in 0..runs {
        let listeners = match option("--bind") {
            None if option("--activated").is_some() => Listener::inherited()?.into(),
            Some(address) => {
                let address: BindAddress = address.parse()?;
                Listeners::bind([&address], DEFAULT_BACKLOG)?
            }
            None => Vec::new().into(),
        };
        let (played, flag) = (role.clone(), flag.clone());
        let seen = PathBuf::from(&flag);
        let mut builder = Arbiter::builder(move |context: &WorkerContext| {
            work(&played, Path::new(&flag), context)
        })
        .workers(
            option("--workers")
                .and_then(|text| text.parse().ok())
                .unwrap_or(2),
        )
        .listeners(listeners)
        .timeout(seconds("--timeout", 30))
        .graceful_timeout(seconds("--graceful-timeout", 30))
        .boot_timeout(seconds("--boot-timeout", 120))
        .upgrade_retire(option("--upgrade-retire").is_some())
        .observe(tell);
        if role == "lingers" {
            // Its observer has things to do at the end.
            let arbiter = std::process::id();
            builder = builder.observe(move |event, _| {
                let first = !oxicorn::arbiter::is_successor() && std::process::id() == arbiter;
                if matches!(event, ArbiterEvent::Ended) && first {
                    println!("lingers");
                    wait_until("the flag", || seen.exists());
                }
            });
        } else if role == "stopped-while-it-starts" {
            builder = builder.observe(|event, _| {
                if matches!(event, ArbiterEvent::Starting) {
                    crate::server::send(nix::unistd::getpid().as_raw(), Signal::SIGTERM);
                }
            });
        } else if role == "worn-at-once" {
            // The arbiter looks only when the first worker has said everything.
            builder = builder.max_requests(1, 0).observe(move |event, _| {
                if matches!(event, ArbiterEvent::WorkerSpawned { id: 1, .. }) {
                    wait_until("the worker's words", || seen.exists());
                }
            });
        } else if role == "shrinks-at-once" {
            // The command is given when the second worker has said that it is ready, before the arbiter looks.
            builder = builder.observe(move |event, handle| {
                if matches!(event, ArbiterEvent::WorkerSpawned { id: 2, .. }) {
                    wait_until("the worker's words", || seen.exists());
                    drop(handle.scale(1));
                }
            });
        }
        if let Some(path) = option("--pid") {
            builder = builder.pidfile(path);
        }
        if let Some(program) = option("--exec") {
            builder = builder.exec(ReexecCommand::new(program).argument("1000"));
        }
        builder.build()?.run()?;
        println!("returned");
    }
    println!("own child {}", own_child.wait()?);
    Ok(())
}

pub(crate) fn tell(event: &ArbiterEvent, _: &Handle) {
    match event {
        ArbiterEvent::Started { listeners } => {
            let urls: Vec<String> = listeners.iter().map(ToString::to_string).collect();
            println!("started {}", urls.join(","));
        }
        ArbiterEvent::WorkerSpawned { id, pid } => println!("spawned {id} {pid}"),
        ArbiterEvent::WorkerReady { id, pid } => println!("ready {id} {pid}"),
        ArbiterEvent::WorkerExited { id, pid, status } => {
            let status = status.map(|status| status.to_string()).unwrap_or_default();
            println!("exited {id} {pid} {status}");
        }
        ArbiterEvent::Upgraded { pid } => println!("upgraded {pid}"),
        ArbiterEvent::UpgradeFailed { reason } => println!("upgrade-failed {reason}"),
        ArbiterEvent::ReloadFailed { reason } => println!("kept {reason}"),
        ArbiterEvent::Promoted => println!("promoted {}", std::process::id()),
        ArbiterEvent::Stopping => println!("stopping"),
        _ => {}
    }
}

fn work(role: &str, flag: &Path, context: &WorkerContext) -> Result<()> {
    match role {
        "boot-failure" => return Err(Error::boot("no module named 'shop' (shop.py, line 1)")),
        "app-failure" => return Err(Error::app("module 'shop' has no attribute 'app'")),
        "panic" => panic!("at the disco"),
        "returns-unready" => return Ok(()),
        "hangs-in-boot" => hang(),
        "hangs-with-flag" if flag.exists() => hang(),
        "fails-with-flag" if flag.exists() => return Err(Error::boot("the flag is up")),
        "leaves-with-flag" if flag.exists() => return Ok(()),
        _ => {}
    }
    context.ready();
    match role {
        "silent" if context.id() == 1 => {
            let _ = context
                .slot()
                .begin_request(MonoTime::now(), "POST", "/slow?x=1");
            hang();
        }
        "fails-late" if context.id() == 1 => return Err(Error::app("it broke later")),
        "worn-at-once" if context.id() == 1 => {
            let place = context.slot().begin_request(MonoTime::now(), "GET", "/");
            context.slot().end_request(place, MonoTime::now());
            context.beat(MonoTime::now());
            std::fs::write(flag, "")?;
        }
        "shrinks-at-once" if context.id() == 2 => std::fs::write(flag, "")?,
        // Never leaves by itself, but makes progress.
        "stubborn" => loop {
            context.pause(Duration::from_millis(20));
            context.beat(MonoTime::now());
        },
        "twice" if context.id() == 2 => {
            // Both workers are there: the second one ends its own server.
            terminate_parent();
        }
        _ => {}
    }
    let asked = loop {
        let asked = context.pause(Duration::from_secs(60));
        if asked != Shutdown::Running {
            break asked;
        }
    };
    if role == "slow" && asked == Shutdown::Graceful {
        // A request that takes a while, but gives way to a quick stop.
        context.pause(Duration::from_millis(500));
        println!("finished {}", context.id());
    }
    if role == "holds-on" && asked == Shutdown::Graceful {
        println!("held {}", context.id());
        std::io::stdout().flush()?;
        while context.pause(Duration::from_secs(60)) != Shutdown::Quick {}
    }
    Ok(())
}

/// No progress, for ever.
fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

#[expect(clippy::disallowed_methods, reason = "the test plays the operator")]
fn terminate_parent() {
    let parent = nix::unistd::getppid();
    let _ = nix::sys::signal::kill(parent, nix::sys::signal::SIGTERM);
}
