//! A server inside a program that has threads of its own and goes on with its work: nothing is forked.
//!
//! `cargo run --example in_process [ADDRESS]` counts until its standard input ends, and serves the count.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use oxicorn::{Request, Responder, Result, Server};

fn main() -> Result<()> {
    let count = Arc::new(AtomicU64::new(0));
    let work = Arc::clone(&count);
    thread::spawn(move || {
        loop {
            work.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(10));
        }
    });

    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8000");
    let page = move |_: Request<'_>, reply: Responder<'_>| {
        reply.text(200, format!("{}\n", count.load(Ordering::Relaxed)))
    };
    let running = Server::bind(address)?
        .threads(4)
        .graceful_timeout(Duration::from_secs(5))
        .build()?
        .in_process(page)?;
    println!("listening at {}", running.listeners()[0]);

    std::io::stdin().read_to_end(&mut Vec::new())?;
    let handle = running.handle();
    running.stop()?;
    println!("answered {} requests", handle.status().requests);
    Ok(())
}
