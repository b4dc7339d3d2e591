//! A reload that changes the application itself: what new workers take from the new settings, and what stays.
//!
//! The role first, then the tests that start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use oxicorn::config::{Origin, Setting, Settings, SettingsSource};
use oxicorn::service::ServiceContext;
use oxicorn::wsgi::App;
use oxicorn::{Error, Result};

use crate::roles::tell;
use crate::server::Server;
use crate::support::Address;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    new_workers_serve_the_application_of_the_new_settings,
    settings_without_an_application_leave_the_old_one,
    a_preloaded_application_stays_until_an_upgrade,
    a_preloaded_application_loses_variables_of_old_settings,
    python_in_the_arbiter_keeps_its_venv_and_takes_the_rest,
    an_application_can_be_preloaded_from_a_reload_on,
];

/// Says its name, Python's prefix and a variable. Imported from two folders, `one` and `two`, under two names each.
const APP: &str = "
import os, sys
NAME = os.path.basename(os.path.dirname(__file__))
def saying(name):
    def app(environ, start_response):
        start_response('200 OK', [])
        words = NAME, name, sys.prefix, os.environ.get('GREETING')
        return [' '.join(map(str, words)).encode()]
    return app
app, other = saying('app'), saying('other')
";

/// Plays the role of this file: a server whose settings are a file, with a line for each value.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    let role = arguments.first()?;
    let file = PathBuf::from(arguments.get(1)?).join("settings");
    match role.as_str() {
        "renewed" => Some(serve(file)),
        "renewed-beside-python" => {
            let app = App::new("wsgiref.simple_server:demo_app");
            let loaded = app.load(&ServiceContext::new(&[]));
            Some(loaded.and_then(|_| serve(file)))
        }
        _ => None,
    }
}

fn serve(file: PathBuf) -> Result<()> {
    let read = move || -> Result<Settings> {
        let mut source = SettingsSource::new();
        for (number, line) in (1..).zip(fs::read_to_string(&file)?.lines()) {
            let (name, value) = line.split_once(' ').ok_or(Error::new("one name"))?;
            let setting = Setting::named(name).ok_or(Error::new("no setting"))?;
            let origin = Origin::File {
                path: file.clone(),
                line: Some(number),
            };
            source = source.text(setting, [value], origin);
        }
        Ok(Settings::load([&source])?)
    };
    oxicorn::Server::from_settings(&read()?)?
        .reload_from(read)
        .observe(tell)
        .serve_from(App::from_settings)
}

/// A folder with two applications and a virtual environment, and a server.
struct Place {
    folder: tempfile::TempDir,
    server: Option<Server>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["one", "two"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
            fs::write(folder.path().join(name).join("shop.py"), APP).expect("a file");
        }
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--without-pip"]);
        let made = venv.arg(folder.path().join("venv")).status();
        assert!(made.expect("Python runs").success());
        Self {
            folder,
            server: None,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, settings: &str) {
        let here = self.path().display();
        let settings = settings.replace("HERE", &here.to_string());
        let text = format!("bind unix:{here}/socket\n{settings}");
        fs::write(self.path().join("settings"), text).expect("a file");
    }

    fn start(&mut self, role: &str, settings: &str) {
        self.write(settings);
        let path = self.path().display().to_string();
        self.server = Some(Server::started(&[role, &path], 1));
    }

    /// Reloads, and waits until the first worker has been replaced `reloads` times.
    fn reload(&mut self, settings: &str, reloads: usize) {
        self.write(settings);
        let server = self.server.as_mut().expect("it runs");
        server.signal(Signal::SIGHUP);
        server.wait_for_nth("exited ", reloads);
    }

    /// What the application says: its folder, its name, its prefix and its variable.
    fn ask(&self) -> String {
        let response = Address::Unix(self.path().join("socket"))
            .client()
            .send_last("/")
            .read_all();
        let body = response.rsplit("\r\n").find(|line| line.contains(' '));
        body.expect("it says something").to_owned()
    }

    /// Stops the server, and gives its log.
    fn end(self) -> String {
        let server = self.server.expect("it runs");
        server.signal(Signal::SIGTERM);
        let ended = server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
        ended.log()
    }
}

#[track_caller]
fn assert_refused(log: &str, settings: &[&str]) {
    let lines = log.lines().filter(|line| line.contains("stays as it is"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), settings.len(), "{log}");
    for (line, setting) in lines.iter().zip(settings) {
        assert!(line.contains(&format!(" {setting} stays")), "{line}");
        assert!(line.contains("USR2"), "{line}");
    }
}

// Gunicorn: HUP4, S2
fn new_workers_serve_the_application_of_the_new_settings() {
    let mut place = Place::new();
    place.start("renewed", "wsgi_app shop:app\npythonpath HERE/one");
    let said = place.ask();
    assert!(
        said.starts_with("one app ") && said.ends_with(" None"),
        "{said}"
    );
    place.reload(
        "wsgi_app shop:other\npythonpath HERE/two\nvenv HERE/venv\nraw_env GREETING=hello",
        1,
    );
    let venv = place.path().join("venv");
    let wanted = format!("two other {} hello", venv.display());
    assert_eq!(place.ask(), wanted);
    assert_refused(&place.end(), &[]);
}

fn settings_without_an_application_leave_the_old_one() {
    let mut place = Place::new();
    place.start("renewed", "wsgi_app shop:app\npythonpath HERE/one");
    place.write("pythonpath HERE/two");
    let server = place.server.as_mut().expect("it runs");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("kept no application was named");
    assert!(place.ask().starts_with("one app "));
    place.end();
}

// Gunicorn: HUP4
fn a_preloaded_application_stays_until_an_upgrade() {
    let mut place = Place::new();
    let settings = "wsgi_app shop:app\npythonpath HERE/one\npreload_app true";
    place.start("renewed", settings);
    let before = place.ask();
    assert!(before.starts_with("one app "), "{before}");
    place.reload(
        "wsgi_app shop:other\npythonpath HERE/one\npreload_app true\nvenv HERE/venv\nraw_env GREETING=hello",
        1,
    );
    assert_eq!(place.ask(), before.replace(" None", " hello"));
    assert_refused(&place.end(), &["venv", "wsgi_app"]);
}

fn a_preloaded_application_loses_variables_of_old_settings() {
    let mut place = Place::new();
    let settings = "wsgi_app shop:app\npythonpath HERE/one\npreload_app true";
    place.start("renewed", &format!("{settings}\nraw_env GREETING=early"));
    assert!(place.ask().ends_with(" early"));
    place.reload(settings, 1);
    assert!(place.ask().ends_with(" None"));
    assert_refused(&place.end(), &[]);
}

// Gunicorn: HUP4
fn python_in_the_arbiter_keeps_its_venv_and_takes_the_rest() {
    let mut place = Place::new();
    place.start(
        "renewed-beside-python",
        "wsgi_app shop:app\npythonpath HERE/one",
    );
    let before = place.ask();
    place.reload(
        "wsgi_app shop:other\npythonpath HERE/two\nvenv HERE/venv\nraw_env GREETING=hello",
        1,
    );
    let after = before.replace("one app", "two other");
    assert_eq!(place.ask(), after.replace(" None", " hello"));
    assert_refused(&place.end(), &["venv"]);
}

fn an_application_can_be_preloaded_from_a_reload_on() {
    let mut place = Place::new();
    place.start("renewed", "wsgi_app shop:app\npythonpath HERE/one");
    place.reload(
        "wsgi_app shop:app\npythonpath HERE/two\npreload_app true",
        1,
    );
    assert!(place.ask().starts_with("two app "));
    // From here on Python runs in the arbiter.
    place.reload(
        "wsgi_app shop:other\npythonpath HERE/two\npreload_app true",
        2,
    );
    assert!(place.ask().starts_with("two app "));
    assert_refused(&place.end(), &["wsgi_app"]);
}
