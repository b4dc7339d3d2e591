//! A server with hooks: each worker counts the requests that it answers, and prints the count when it ends.
//!
//! `cargo run --example hooks`, then `curl 127.0.0.1:8000/` a few times, and `kill -HUP` its process.

use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};

use oxicorn::h1::Head;
use oxicorn::hooks::{RequestOutcome, ServerInfo, WorkerInfo};
use oxicorn::{Error, Hooks, Request, Responder, Result, Server};

/// Counts what a worker has answered: with the fork each worker got its own.
#[derive(Default)]
struct Counting {
    answered: AtomicU64,
    bytes: AtomicU64,
}

impl Hooks for Counting {
    fn when_ready(&self, server: &ServerInfo) -> Result<()> {
        for address in &server.listeners {
            println!("arbiter {} listens at {address}", server.pid);
        }
        Ok(())
    }

    fn post_fork(&self, worker: &WorkerInfo) -> Result<()> {
        println!("worker {} begins as process {}", worker.id, worker.pid);
        Ok(())
    }

    fn pre_request(&self, _: &WorkerInfo, request: &Request<'_>) -> Result<()> {
        match request.method() {
            "TRACE" => Err(Error::new("TRACE is not answered")),
            _ => Ok(()),
        }
    }

    fn post_request(&self, _: &WorkerInfo, request: &Head, answer: &RequestOutcome<'_>) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(answer.sent, Ordering::Relaxed);
        if let Some(error) = answer.error {
            println!("{} {} failed: {error}", request.method(), request.target());
        }
    }

    fn worker_exit(&self, worker: &WorkerInfo) {
        let answered = self.answered.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        println!(
            "worker {} has answered {answered} requests with {bytes} bytes",
            worker.id
        );
    }

    fn child_exit(&self, _: &ServerInfo, worker: &WorkerInfo, status: Option<ExitStatus>) {
        let status = status.map_or("unknown".to_owned(), |status| status.to_string());
        println!("worker {} has gone: {status}", worker.id);
    }
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8000");
    let hello = |request: Request<'_>, reply: Responder<'_>| {
        reply.text(200, format!("{} {}\n", request.method(), request.path()))
    };
    Server::bind(address)?
        .workers(2)
        .hooks(Counting::default())
        .serve(hello)
}
