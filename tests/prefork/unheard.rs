//! What is left of a failure where nobody listens: no subscriber is set, or there is no feature `tracing`.
//!
//! The role first, which sets no subscriber, then the tests that start it.

use oxicorn::{Error, Request, Responded, Responder, Result, Server as Http};

use crate::server::Server;
use crate::support::Client;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    failures_of_a_service_go_to_the_standard_error,
    panics_of_a_service_go_to_the_standard_error,
    #[cfg(feature = "wsgi")]
    tracebacks_and_what_an_application_writes_go_to_stderr,
];

/// Plays the role of this file.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    let what = arguments.first()?.strip_prefix("unheard-")?;
    let server = Http::bind("127.0.0.1:0").and_then(oxicorn::ServerBuilder::build);
    let server = server.expect("a server");
    let running = match what {
        #[cfg(feature = "wsgi")]
        "python" => {
            let folder = arguments.get(1)?;
            let app = oxicorn::wsgi::App::new("unheard:app").python_path([folder]);
            server.in_process(app)
        }
        "error" => server.in_process(fails),
        _ => server.in_process(panics),
    };
    let running = running.expect("a running server");
    let address = running.listeners()[0].ip()?;
    let answer = Client::connect(address).send_last("/here").read_all();
    println!("{}", answer.lines().next().unwrap_or_default());
    Some(running.stop())
}

fn fails(_: Request<'_>, _: Responder<'_>) -> Result<Responded> {
    Err(Error::new("no such shelf"))
}

fn panics(_: Request<'_>, _: Responder<'_>) -> Result<Responded> {
    panic!("at the disco")
}

#[track_caller]
fn assert_said(arguments: &[&str], words: &[&str]) {
    let ended = Server::start(arguments).wait_for_end();
    assert!(ended.status == 0, "{ended:#?}");
    assert_eq!(ended.stdout, ["HTTP/1.1 500 Internal Server Error"]);
    for words in words {
        assert!(
            ended.log().contains(words),
            "no {words:?} in {}",
            ended.log()
        );
    }
    // Only what is grave is said unasked.
    assert!(!ended.log().contains("INFO"), "{}", ended.log());
}

fn failures_of_a_service_go_to_the_standard_error() {
    let said = ["] [ERROR] Error handling request GET /here: no such shelf\n"];
    assert_said(&["unheard-error"], &said);
}

fn panics_of_a_service_go_to_the_standard_error() {
    let said = [
        "] [ERROR] Error handling request GET /here: ",
        "at the disco",
    ];
    assert_said(&["unheard-panic"], &said);
}

#[cfg(feature = "wsgi")]
fn tracebacks_and_what_an_application_writes_go_to_stderr() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "\
def app(environ, start_response):
    print('first words', file=environ['wsgi.errors'])
    raise ValueError('last words')
";
    std::fs::write(folder.path().join("unheard.py"), source).expect("a file");
    let said = [
        "] [ERROR] first words\n",
        "ValueError: last words\n",
        "Traceback (most recent call last):\n",
        "in app\n",
    ];
    let folder = folder.path().display().to_string();
    assert_said(&["unheard-python", &folder], &said);
}
