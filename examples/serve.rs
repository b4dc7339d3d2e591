//! A small gunicorn: `serve [OPTIONS] MODULE:APP`.
//!
//! What Gunicorn does between its command line and its arbiter, as a program of the library's parts.

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use oxicorn::arbiter::Exec;
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
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(settings: &Settings) -> Result<()> {
    // What an upgrade starts is what was started here, from this folder.
    let exec = Exec::current();
    if let Some(dir) = &settings.chdir {
        std::env::set_current_dir(dir).map_err(|e| {
            Error::with_source(
                format!("cannot change to the folder {}: {e}", dir.display()),
                e,
            )
        })?;
    }
    raise_descriptor_limit(settings);
    ErrorLog::open(&settings.errorlog)?
        .level(&settings.loglevel)?
        .install()?;
    let Some(spec) = &settings.wsgi_app else {
        return Err(Error::app(
            "no application was named: serve [OPTIONS] MODULE:APP",
        ));
    };
    let mut app = App::new(spec)
        .preload(settings.preload_app)
        .python_path(&settings.pythonpath);
    for (key, value) in &settings.raw_env {
        app = app.env(key, value);
    }
    if let Some(venv) = &settings.venv {
        app = app.venv(venv);
    }
    Server::from_settings(settings)?
        .systemd(true)
        .exec(exec)
        .reload(|| Cli::parse(std::env::args_os()).map_err(|stop| Error::new(stop.to_string())))
        .serve(app)
}

/// Makes room for the connections that a worker may have, each with a file perhaps, as far as the system lets us:
/// the usual soft limit of 1024 is for programs that use `select(2)`.
fn raise_descriptor_limit(settings: &Settings) {
    let wanted = 2 * settings.worker_connections as u64 + 256;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        if soft < wanted.min(hard) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
        }
    }
}
