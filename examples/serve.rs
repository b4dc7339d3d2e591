//! A small gunicorn: `serve [OPTIONS] MODULE:APP`.
//!
//! The steps of Gunicorn between its command line and its arbiter, as a program of the library's parts.

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use oxicorn::arbiter::{ReexecCommand, is_successor};
use oxicorn::cli::Cli;
use oxicorn::config::Settings;
use oxicorn::log::ErrorLog;
use oxicorn::wsgi::App;
use oxicorn::{Error, Result, Server};

fn main() -> ExitCode {
    let settings = match Cli::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(stop) => return stop.report(),
    };
    match serve(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            if settings.daemon {
                // A daemon's standard error may lead nowhere.
                tracing::error!("{error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(settings: &Settings) -> Result<()> {
    // An upgrade starts the program again as it was started here, from this folder.
    let exec = ReexecCommand::current();
    if let Some(dir) = &settings.chdir {
        std::env::set_current_dir(dir).map_err(|e| {
            Error::with_source(
                format!("cannot change to the folder {}: {e}", dir.display()),
                e,
            )
        })?;
    }
    if settings.daemon && !is_successor() {
        daemonize(settings)?;
    }
    if let Some(mask) = settings.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    raise_descriptor_limit(settings);
    ErrorLog::open(&settings.errorlog)?
        .level(&settings.loglevel)?
        .install()?;
    Server::from_settings(settings)?
        .systemd(true)
        .exec(exec)
        .reload(|| Cli::parse(std::env::args_os()).map_err(|stop| Error::new(stop.to_string())))
        .serve_from(App::from_settings)
}

/// Continues as a daemon. Mistakes of the command line were reported before.
fn daemonize(settings: &Settings) -> Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        eprintln!(
            "Warning: a service manager waits for this process (NOTIFY_SOCKET), which now goes into the background: \
             leave --daemon out"
        );
    }
    oxicorn::process::daemonize(settings.enable_stdio_inheritance)
}

/// Raises the soft limit of descriptors to what a worker's connections and their files may need, as far as the hard limit
/// allows. The usual soft limit of 1024 is for programs that use `select(2)`.
fn raise_descriptor_limit(settings: &Settings) {
    let wanted = (settings.worker_connections as u64)
        .saturating_mul(2)
        .saturating_add(256);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        if soft < wanted.min(hard) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
        }
    }
}
