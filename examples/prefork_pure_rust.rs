//! A pre-fork server with no Python in it; builds with `--no-default-features`.
//!
//! Addresses come from the command line, or from systemd's socket activation; `127.0.0.1:8000` without.

use oxicorn::{Request, Responded, Responder, Result, Server, net::Listener};

fn hello(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    match (request.method(), request.path()) {
        ("GET", "/") => reply.text(200, format!("worker {}\n", std::process::id())),
        ("POST", "/echo") => {
            let mut body = reply.stream(200, &[("content-type", "text/plain")])?;
            std::io::copy(&mut request.into_body(), &mut body)?;
            body.finish()
        }
        _ => reply.text(404, "no such page\n"),
    }
}

fn main() -> Result<()> {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("127.0.0.1:8000".to_owned());
    }
    let listeners = Listener::inherited()?.or_bind(addresses)?;
    Server::builder()
        .listeners(listeners)
        .workers(4)
        .threads(8)
        .build()?
        .serve(hello)
}
