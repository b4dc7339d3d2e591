//! [`App::from_settings`]: a WSGI application as the settings describe it.

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::wsgi::App;

impl App {
    /// The application that `wsgi_app` names, with `venv`, `pythonpath`, `raw_env` and `preload_app`. Given to
    /// [`Server::serve_from`](crate::Server::serve_from), it is made anew on each reload.
    ///
    /// # Errors
    ///
    /// `wsgi_app` is not set: [`exit_code`](Error::exit_code) 4. Nothing is loaded yet.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let Some(spec) = &settings.wsgi_app else {
            return Err(Error::app("no application was named, as in MODULE:APP"));
        };
        let mut app = Self::new(spec)
            .preload_app(settings.preload_app)
            .python_path(&settings.pythonpath);
        for (name, value) in &settings.raw_env {
            app = app.env(name, value);
        }
        if let Some(venv) = &settings.venv {
            app = app.venv(venv);
        }
        Ok(app)
    }
}
