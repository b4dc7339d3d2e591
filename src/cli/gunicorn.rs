//! [`main`]: Gunicorn's program.

use std::env;
use std::process::ExitCode;

use super::Command;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::gunicorn::{FileSignals, ServerHooks};
use crate::server;
use crate::service::MakeService;
use crate::wsgi::App;

/// Gunicorn's program: serves the WSGI application that the command line, the environment or a configuration file names.
///
/// It reads `gunicorn.conf.py` of the current folder, unless the command line names another file. It is what a `main`
/// consists of; [`Command`] has the parts of it for a program of your own.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     oxicorn::cli::main()
/// }
/// ```
#[must_use = "main returns the status"]
pub fn main() -> ExitCode {
    let serve = || {
        let start = env::current_dir();
        let start = start.map_err(|error| Error::io("cannot find the current folder", error))?;
        Command::new("oxicorn")
            .about("Serves a WSGI application")
            .example(
                "shop.wsgi",
                "`application` of the module `shop.wsgi`, at http://127.0.0.1:8000",
            )
            .example(
                "-w 4 --threads 8 -b :8080 'shop:create_app()'",
                "4 processes of 8 threads, a factory, all interfaces",
            )
            .example(
                "-b unix:/run/shop.sock --access-logfile - shop:app",
                "Behind nginx, with each request on the standard output",
            )
            .example(
                "-c gunicorn.conf.py --print-config",
                "What a configuration file says",
            )
            .python_files(start)
            .flags_from("GUNICORN_CMD_ARGS")
            .checked_by(load_application)
            .server(env::args_os())?
            // A file may start threads, which stay in the arbiter.
            .allow_threads(true)
            .attach(FileSignals::new()?)
            .hooks(ServerHooks::default())
            .serve_from(App::from_settings)
    };
    crate::exit(serve())
}

/// Checks the settings and loads the application, in the folder that the settings name. What fails has status 1, as in Gunicorn.
fn load_application(settings: &Settings) -> Result<()> {
    if let Some(folder) = &settings.chdir {
        let entered = env::set_current_dir(folder);
        entered.map_err(|error| Error::io("cannot change the folder", error))?;
    }
    server::check(settings)?;
    App::from_settings(settings)
        .and_then(|app| app.preload_app(true).preload())
        .map_err(|error| Error::config(error.to_string()).because(error))
}
