//! What applications and configuration files look for of Gunicorn: its package, its loggers, and its name.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Serve, Server, eventually, python_env};

const APP: &str = "\
import json, logging, os, gunicorn
from gunicorn.glogging import Logger

class Mine(Logger):
    def access(self, resp, req, environ, request_time):
        super().access(resp, req, environ, request_time)

def app(environ, start_response):
    loggers = [logging.getLogger('gunicorn.' + name) for name in ('error', 'access')]
    loggers[0].warning('from %s', 'python')
    loggers[0].debug('not this')
    loggers[1].info('an access line')
    facts = {
        'version': gunicorn.__version__,
        'info': list(gunicorn.version_info),
        'software': environ['SERVER_SOFTWARE'],
        'variable': os.environ['SERVER_SOFTWARE'],
        'handlers': [len(logger.handlers) for logger in loggers],
        'propagate': [logger.propagate for logger in loggers],
        'level': loggers[0].level,
        'file': str(gunicorn.__spec__.origin),
    }
    body = json.dumps(facts).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

fn site(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.py"), APP).unwrap();
    if !config.is_empty() {
        fs::write(folder.path().join("gunicorn.conf.py"), config).unwrap();
    }
    folder
}

fn serve(folder: &Path, args: &[&str]) -> Serve {
    let usual = ["-b", "127.0.0.1:0", "mine:app"];
    Serve::command_line(usual.iter().chain(args)).started_in(folder)
}

/// What the application finds, and the field `Server`.
fn facts(server: &Server) -> (serde_json::Value, Option<String>) {
    let response = server.get("/").expect(200);
    let facts = serde_json::from_str(response.text()).unwrap();
    (facts, response.header("server").map(str::to_owned))
}

// Each costs every worker memory and its start time.
#[test]
fn an_application_that_imports_nothing_has_few_modules() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("mine.py"),
        "
import sys
def app(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(sys.modules).encode()]
",
    )
    .unwrap();
    let venv = python_env().to_str().unwrap();
    let server = serve(folder.path(), &["--venv", venv]).start();
    let response = server.get("/").expect(200);
    let modules: Vec<_> = response.text().split(' ').collect();
    assert!(modules.contains(&"mine"), "{modules:?}");
    for dear in [
        "importlib.resources",
        "logging.handlers",
        "pathlib",
        "pickle",
    ] {
        assert!(!modules.contains(&dear), "{dear} is imported");
    }
    server.stop();
}

#[test]
fn gunicorns_package_is_there_whether_it_is_installed_or_not() {
    let folder = site("import gunicorn.glogging\nworkers = len(gunicorn.version_info) - 2\n");
    let venv = python_env().to_str().unwrap();
    for (args, installed) in [(&[][..], false), (&["--venv", venv], true)] {
        let server = serve(folder.path(), args).start();
        let (facts, _) = facts(&server);
        assert_eq!(facts["version"], "27.0.1");
        assert_eq!(facts["info"], serde_json::json!([27, 0, 1]));
        let file = facts["file"].as_str().unwrap();
        assert_eq!(file.ends_with("gunicorn/__init__.py"), installed, "{file}");
        server.stop();
    }
}

// Gunicorn: L1
#[test]
fn gunicorns_loggers_write_to_the_logs_of_the_server() {
    let folder = site("");
    let server = serve(folder.path(), &["--access-logfile", "-"]).start();
    let (seen, _) = facts(&server);
    assert_eq!(seen["handlers"], serde_json::json!([1, 1]));
    assert_eq!(seen["propagate"], serde_json::json!([false, false]));
    assert_eq!(seen["level"], 20);
    let worker = server.workers(1)[0];
    let line = server.stderr().wait_for("from python");
    assert!(
        line.ends_with(&format!("[{worker}] [WARNING] from python")),
        "{line}"
    );
    server.stdout().wait_for("an access line");
    assert!(!server.stop().log().contains("not this"));
}

// Gunicorn: E11
#[test]
fn the_servers_name_is_what_a_file_puts_in_its_place() {
    let own = concat!("oxicorn/", env!("CARGO_PKG_VERSION"));
    let with_file = format!("{own} (gunicorn)");
    for (config, software, field) in [
        ("", own, "oxicorn"),
        ("workers = 1\n", &with_file, "oxicorn"),
        (
            "import gunicorn\ngunicorn.SERVER = 'shop'\n",
            &with_file,
            "shop",
        ),
        (
            "import gunicorn\ngunicorn.SERVER_SOFTWARE = 'shop/2'\n",
            "shop/2",
            "oxicorn",
        ),
    ] {
        let folder = site(config);
        let server = serve(folder.path(), &[]).start();
        let (facts, server_field) = facts(&server);
        assert_eq!(facts["software"], software, "{config}");
        assert_eq!(facts["variable"], software, "{config}");
        assert_eq!(server_field.as_deref(), Some(field), "{config}");
        server.stop();
    }
}

// Gunicorn: S57
#[test]
fn a_logger_class_of_the_file_writes_the_access_log() {
    let folder = site(
        "from gunicorn.glogging import Logger\n\
         class Mine(Logger):\n    \
             def access(self, resp, req, environ, request_time):\n        \
                 if req.path != '/health':\n            \
                     super().access(resp, req, environ, request_time)\n\
         logger_class = Mine\n\
         accesslog = '-'\n\
         access_log_format = '%(h)s %(m)s %(U)s %(q)s %(s)s %({x-one}i)s %({Content-Length}o)s %(a)s'\n",
    );
    let venv = python_env().to_str().unwrap();
    for args in [&[][..], &["--venv", venv]] {
        let server = serve(folder.path(), args).start();
        server.get("/health").expect(200);
        let request = "GET /a%20b?c HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n";
        let response = server.client().send(request).response().expect(200);
        let line = format!("127.0.0.1 GET /a b c 200 1 {} -", response.body.len());
        server.stdout().wait_for(&line);
        let lines = server.stop().stdout;
        assert!(lines.contains(&line), "{lines:#?}");
        assert!(
            !lines.iter().any(|line| line.contains("/health")),
            "{lines:#?}"
        );
    }
}

// Gunicorn: S58, S59, S60, L7
#[test]
fn pythons_logging_is_configured_in_gunicorns_three_ways() {
    let dict = r#"{
        "version": 1,
        "formatters": {"shop": {"format": "{\"shop\": \"%(message)s\"}"}},
        "handlers": {"shop": {"class": "logging.StreamHandler", "formatter": "shop", "stream": "ext://sys.stdout"}},
        "root": {"level": "INFO", "handlers": []},
        "loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["shop"], "propagate": false}}
    }"#;
    let ini = "[loggers]\nkeys=root,access\n[handlers]\nkeys=shop\n[formatters]\nkeys=shop\n\
               [logger_root]\nlevel=INFO\nhandlers=\n\
               [logger_access]\nlevel=INFO\nhandlers=shop\npropagate=0\nqualname=gunicorn.access\n\
               [handler_shop]\nclass=StreamHandler\nformatter=shop\nargs=(sys.stdout,)\n\
               [formatter_shop]\nformat={\"shop\": \"%(message)s\"}\n";
    let format = ["--access-logformat", "%(m)s %(s)s"];
    let config = format!("logconfig_dict = {}\n", dict.replace("false", "False"));
    for (file, text, args) in [
        ("gunicorn.conf.py", config.as_str(), &[][..]),
        ("log.json", dict, &["--log-config-json", "log.json"]),
        ("log.ini", ini, &["--log-config", "log.ini"]),
    ] {
        let folder = site("");
        fs::write(folder.path().join(file), text).unwrap();
        let server = serve(folder.path(), args).args(format).start();
        server.get("/").expect(200);
        server.stdout().wait_for(r#"{"shop": "GET 200"}"#);
        server.stop();
    }
}

// Gunicorn: L1, S57, S59
#[test]
fn the_servers_own_messages_go_through_a_logger_of_the_file() {
    let class = "\
from gunicorn.glogging import Logger
class Mine(Logger):
    error_fmt = '<%(process)d> %(levelname)s %(message)s'
    def info(self, msg, *args, **kwargs):
        super().info('mine: ' + msg, *args, **kwargs)
logger_class = Mine
";
    // What a handler keeps until its end is written then.
    let dict = "\
logconfig_dict = {
    'version': 1,
    'formatters': {'shop': {'format': '<%(process)d> %(levelname)s %(message)s'}},
    'handlers': {
        'stream': {'class': 'logging.StreamHandler', 'formatter': 'shop', 'stream': 'ext://sys.stderr'},
        'kept': {'class': 'logging.handlers.MemoryHandler', 'capacity': 1, 'target': 'stream'},
    },
    'root': {'handlers': []},
    'loggers': {'gunicorn.error': {'level': 'DEBUG', 'handlers': ['kept'], 'propagate': False}},
}
";
    let hooks = "\
def when_ready(server):
    assert isinstance(server.log, Logger) and server.log.error_log.name == 'gunicorn.error'
    server.log.info('from %s', 'a hook')
def post_fork(server, worker): worker.log.warning('forked')
";
    for (config, mark) in [(class, "INFO mine: "), (dict, "INFO ")] {
        let folder = site(&format!(
            "from gunicorn.glogging import Logger\n{config}{hooks}"
        ));
        let server = serve(folder.path(), &[]).start();
        server.get("/").expect(200);
        let worker = server.workers(1)[0];
        server.signal(Signal::SIGHUP);
        server.stderr().wait_for("exited with code 0");
        let arbiter = server.pid();
        let exited = server.stop();
        for wanted in [
            format!("<{arbiter}> {mark}Listening at"),
            format!("<{arbiter}> {mark}from a hook"),
            format!("<{worker}> {mark}Booting worker with pid: {worker}"),
            format!("<{worker}> WARNING forked"),
            format!("<{worker}> {mark}Worker exiting (pid: {worker})"),
            format!("<{arbiter}> {mark}Shutting down: Master"),
        ] {
            let found = exited.stderr.iter().filter(|line| line.contains(&wanted));
            assert_eq!(found.count(), 1, "{wanted}: {exited:#?}");
        }
        let unshaped = exited.stderr.iter().find(|line| !line.starts_with('<'));
        assert_eq!(unshaped, None, "{exited:#?}");
        let debug = exited.stderr.iter().any(|line| line.contains("> DEBUG "));
        assert_eq!(debug, config == dict, "{exited:#?}");
    }
}

// Gunicorn: S58
#[test]
fn without_a_file_the_logger_begins_with_the_interpreter() {
    let ini = "[loggers]\nkeys=root,error\n[handlers]\nkeys=shop,out\n[formatters]\nkeys=shop\n\
               [logger_root]\nlevel=INFO\nhandlers=\n\
               [logger_error]\nlevel=INFO\nhandlers=shop,out\npropagate=0\nqualname=gunicorn.error\n\
               [handler_out]\nclass=StreamHandler\nargs=()\n\
               [handler_shop]\nclass=FileHandler\nargs=('shop.log',)\nformatter=shop\n\
               [formatter_shop]\nformat=<%(process)d> %(message)s\n";
    for (args, is_loaded) in [(&[][..], false), (&["--preload"], true)] {
        let folder = site("");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("log.ini"), ini).unwrap();
        let server = serve(folder.path(), &["--log-config", "log.ini"]);
        let server = server.args(args).start();
        let (arbiter, worker) = (server.pid(), server.workers(1)[0]);
        server.get("/").expect(200);
        fs::rename(at("shop.log"), at("shop.log.1")).unwrap();
        server.signal(Signal::SIGUSR1);
        eventually("no new file", || at("shop.log").exists().then_some(()));
        let exited = server.stop();
        let read = |name: &str| fs::read_to_string(at(name)).unwrap_or_default();
        let line = format!("<{worker}> Worker exiting (pid: {worker})\n");
        assert!(read("shop.log").contains(&line), "{exited:#?}");
        let line = format!("<{arbiter}> Shutting down: Master\n");
        assert_eq!(read("shop.log").contains(&line), is_loaded, "{exited:#?}");
        let early = exited.log().contains("Starting oxicorn");
        assert!(early, "{exited:#?}");
    }
}

#[test]
fn a_logger_that_raises_loses_no_message() {
    let folder = site(
        "from gunicorn.glogging import Logger\n\
         class Mine(Logger):\n    \
             def info(self, msg, *args, **kwargs): raise ValueError('mine')\n\
         logger_class = Mine\n",
    );
    let server = serve(folder.path(), &[]).start();
    server.get("/").expect(200);
    let exited = server.stop();
    for wanted in [
        "Listening at",
        "Booting worker",
        "Error in the logger_class",
        "ValueError: mine",
    ] {
        assert!(exited.log().contains(wanted), "{exited:#?}");
    }
}

#[test]
fn a_reload_changes_the_logger_and_one_that_fails_keeps_it() {
    let config = |mark: &str| {
        format!(
            "from gunicorn.glogging import Logger\n\
             class Mine(Logger):\n    error_fmt = '<{mark}> %(message)s'\n\
             logger_class = Mine\n"
        )
    };
    let folder = site(&config("one"));
    let write = |text: &str| fs::write(folder.path().join("gunicorn.conf.py"), text).unwrap();
    let server = serve(folder.path(), &[]).start();
    server.stderr().wait_for("<one> Listening at");
    // A worker that still boots would end by the signal, without a word of its own.
    server.get("/").expect(200);
    write(&config("two"));
    server.signal(Signal::SIGHUP);
    server.stderr().wait_for("<two> Booting worker");
    server.stderr().wait_for("exited with code 0");
    write("logconfig_dict = {'version': 1, 'handlers': {'a': {'class': 'no.such'}}}\n");
    server.signal(Signal::SIGHUP);
    let line = server.stderr().wait_for("the loggers stay as they were");
    let wanted = "gunicorn.conf.py:1): the loggers cannot be set up: ValueError: Unable to configure handler 'a' \
                  (ModuleNotFoundError: No module named 'no'";
    assert!(line.contains(wanted), "{line}");
    let line = server.stderr().wait_for("eload failed");
    assert!(line.starts_with("<two> "), "{line}");
    server.get("/").expect(200);
    server.stop();
}

#[test]
fn a_logger_class_that_is_none_ends_the_start_with_its_cause() {
    let flags = ["--logger-class", "json.JSONDecoder"];
    for (file, args, status) in [
        ("logger_class = 'json.JSONDecoder'\n", &[][..], 1),
        ("", &flags, 3),
    ] {
        let folder = site(file);
        let exited = serve(folder.path(), args).run();
        assert_eq!(exited.status, status, "{exited:#?}");
        assert!(exited.last().contains("has no method setup"), "{exited:#?}");
    }
}
