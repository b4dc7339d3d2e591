//! The part that this program plays when it runs itself: a server without Python, which boots in no time.
//!
//! It takes the flags of `serve` that the scenarios need, and answers as `tests/apps/load.py` does.

use std::io::Read;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use oxicorn::arbiter::{ArbiterEvent, Handle};
use oxicorn::{Request, Responded, Responder, Result, Server};

/// Serves as the command line says, and ends as a host's `main` would.
pub(crate) fn play(arguments: &[String]) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(arguments: &[String]) -> Result<()> {
    let text = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |flag: &str, default: u32| {
        let number = text(flag).and_then(|text| text.parse().ok());
        number.unwrap_or(default)
    };
    let server = Server::bind(text("--bind").unwrap_or("127.0.0.1:0"))?
        .workers(number("--workers", 1) as usize)
        .threads(number("--threads", 1) as usize)
        .reuse_port(arguments.iter().any(|argument| argument == "--reuse-port"))
        .backlog(number("--backlog", 2048))
        .max_requests(number("--max-requests", 0).into())
        .observe(tell);
    server.build()?.serve(answer)
}

/// The lines that scenarios wait for, in a build that may have no log.
fn tell(event: &ArbiterEvent, _: &Handle) {
    match event {
        ArbiterEvent::Started { listeners } => {
            let urls: Vec<String> = listeners.iter().map(ToString::to_string).collect();
            eprintln!("Listening at: {} ({})", urls.join(","), std::process::id());
        }
        ArbiterEvent::WorkerReady { pid, .. } => eprintln!("ready {pid}"),
        _ => {}
    }
}

fn answer(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    if let Some(millis) = request.query().parse().ok().filter(|millis| *millis > 0) {
        thread::sleep(Duration::from_millis(millis));
    }
    let mut body = Vec::new();
    if request.method() == "POST" {
        request.into_body().read_to_end(&mut body)?;
    } else {
        let path = request.path().to_owned();
        let mut words = path.split('/').skip(1);
        let token = words.next().unwrap_or_default();
        let size = words.next().and_then(|size| size.parse().ok());
        let size: usize = size.unwrap_or(0);
        body = token.repeat(size / token.len().max(1) + 1).into_bytes();
        body.truncate(size);
    }
    reply.send(200, &[], &body)
}
