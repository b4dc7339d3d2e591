//! [`App::from_settings`]: a WSGI application as the settings describe it.

use super::logs;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::gunicorn;
use crate::watch;
use crate::wsgi::App;

impl App {
    /// The application that `wsgi_app` names, with `venv`, `pythonpath`, `raw_env` and `preload_app`, and the hooks of a
    /// [configuration file](crate::gunicorn::ConfigFile) around its requests. Given to
    /// [`Server::serve_from`](crate::Server::serve_from), it is made anew on each reload.
    ///
    /// # Errors
    ///
    /// - `wsgi_app` is not set: [`exit_code`](Error::exit_code) 4. Nothing is loaded yet.
    /// - A file that is to configure Python's `logging` is not there.
    /// - The loggers of Python's `logging` cannot be set up, in a process that has run a configuration file.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let Some(spec) = &settings.wsgi_app else {
            return Err(Error::app("no application was named, as in MODULE:APP"));
        };
        logs::has_logconfig(settings)?;
        let loggers = logs::loggers(settings);
        let mut app = Self::new(spec)
            .hooks(gunicorn::of_settings(settings, &loggers)?)
            .preload_app(settings.preload_app && !settings.reload)
            .loggers(loggers)
            .record_environ(logs::recorded_variables(settings))
            .python_path(&settings.pythonpath);
        for (name, value) in &settings.raw_env {
            app = app.env(name, value);
        }
        if let Some(venv) = &settings.venv {
            app = app.venv(venv);
        }
        if let Some(report) = watch::reporter() {
            app = app.report_imports(report);
        }
        Ok(app)
    }
}
