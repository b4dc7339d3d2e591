//! What a request costs through everything: client, kernel, reactor, worker, service, and back.
//!
//! The server is this program again, in a process of its own with one forked worker: forking a program that
//! has threads, as a benchmark has, would be refused.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use criterion::{Criterion, Throughput};
use oxicorn::arbiter::ArbiterEvent;
use oxicorn::{MakeService, Request, Responder, Server};

/// Names the service that this process is to serve.
const ROLE: &str = "OXICORN_BENCH_SERVE";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BODY: &[u8] = b"Hello, World!";
/// Requests in one write.
const PIPELINE: usize = 16;

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("rust") => serve(|_: Request<'_>, reply: Responder<'_>| {
            reply.send(200, &[("content-type", "text/plain")], BODY)
        }),
        #[cfg(feature = "wsgi")]
        Ok("wsgi") => serve(oxicorn::wsgi::App::new("hello:plain").python_path(["examples/apps"])),
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            measure(&mut criterion, "rust");
            #[cfg(feature = "wsgi")]
            measure(&mut criterion, "wsgi");
            criterion.final_summary();
        }
    }
}

/// The server's part: tells its address when the worker is ready, and serves until it is killed.
fn serve(make: impl MakeService<Service: Sync> + 'static) {
    let mut address = String::new();
    let outcome = Server::bind("127.0.0.1:0").map(|builder| {
        builder.observe(move |event, _| match event {
            ArbiterEvent::Started { listeners } => {
                let listener = listeners
                    .iter()
                    .next()
                    .and_then(|listener| listener.socket_addr());
                address = listener.map(|at| at.to_string()).unwrap_or_default();
            }
            ArbiterEvent::WorkerReady { .. } => println!("{address}"),
            _ => {}
        })
    });
    if let Err(error) = outcome.and_then(|builder| builder.serve(make)) {
        eprintln!("Error: {error}");
    }
}

/// A server in another process.
struct Serving {
    process: Child,
    address: String,
}

impl Serving {
    fn start(role: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut process = Command::new(program)
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be run again");
        let mut address = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut address)
            .expect("the server tells its address");
        assert!(!address.is_empty(), "the server did not start");
        Self {
            process,
            address: address.trim().to_owned(),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The worker sees the end of its arbiter, and leaves.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn measure(criterion: &mut Criterion, role: &str) {
    let serving = Serving::start(role);
    let mut stream = TcpStream::connect(&serving.address).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP stream");
    stream.write_all(REQUEST).expect("the server reads");
    let mut first = vec![0; 1024];
    let len = stream.read(&mut first).expect("the server answers");
    assert!(
        first[..len].ends_with(BODY),
        "{}",
        String::from_utf8_lossy(&first[..len])
    );

    let mut group = criterion.benchmark_group(format!("end_to_end/{role}"));
    for requests in [1, PIPELINE] {
        let name = if requests == 1 {
            "keep_alive"
        } else {
            "pipelined"
        };
        let input = REQUEST.repeat(requests);
        let mut output = vec![0; len * requests];
        group.throughput(Throughput::Elements(requests as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                stream.write_all(&input).expect("the server reads");
                stream.read_exact(&mut output).expect("the server answers");
            });
        });
    }
    group.finish();
}
