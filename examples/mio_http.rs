//! The HTTP layer alone: a [`Reactor`] in one thread of a plain program, with no worker, arbiter or Python.
//!
//! Give it an address; it serves until its standard input ends, then answers what is under way and leaves.
//! Builds with `--no-default-features`.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use oxicorn::access::Access;
use oxicorn::net::{Listener, Listeners, QueuePolicy};
use oxicorn::reactor::Host;
use oxicorn::reactor::{Config, Reactor};
use oxicorn::time::MonoTime;
use oxicorn::{Request, Responded, Responder, Result};

/// What the reactor asks of the program that it runs in; everything has a default.
struct Log;

impl Host for Log {
    fn finished(&self, access: &Access<'_>) {
        let request = access.head.map_or("-", |head| head.target());
        eprintln!("{} {request} {}", access.client(), access.status);
    }
}

fn hello(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    match (request.method(), request.path()) {
        ("GET", "/") => reply.text(200, "hello\n"),
        ("POST", "/echo") => {
            let mut body = reply.stream(200, &[("content-type", "text/plain")])?;
            std::io::copy(&mut request.into_body(), &mut body)?;
            body.finish()
        }
        _ => reply.text(404, "no such page\n"),
    }
}

fn serve(listeners: &Listeners, stopped: &UnixStream) -> Result<()> {
    let mut reactor = Reactor::new(listeners, Config::default())?;
    reactor.watch(stopped.as_fd())?;
    while !reactor.is_done(MonoTime::now()) {
        if reactor.poll(&Log, None)?.woken {
            reactor.drain(MonoTime::now(), QueuePolicy::DrainAndClose);
        }
        while let Some(mut ready) = reactor.next_request(&Log) {
            if let Err(error) = ready.answer(&Log, hello) {
                eprintln!("{error}");
            }
            reactor.give_back(ready, &Log);
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listeners = Listeners::from(Listener::bind(&address.parse()?, 1024)?);
    let (stop, stopped) = UnixStream::pair()?;
    let server = thread::spawn(move || serve(&listeners, &stopped));
    // The program's own business; here it waits for the end of its input.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    drop(stop);
    server.join().expect("the server's thread does not panic")
}
