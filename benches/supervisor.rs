//! The cost of supervision: an answer of the arbiter, a worker more and less, a reload of all workers.
//!
//! The arbiter is this program again, in a process of its own, and is told by lines what to do: a benchmark's own
//! process has threads, and forks none.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use criterion::Criterion;
use oxicorn::arbiter::{ArbiterEvent, Handle};
use oxicorn::worker::Shutdown;
use oxicorn::{Arbiter, Result, WorkerContext};

/// Set in the arbiter's process.
const ROLE: &str = "OXICORN_BENCH_ARBITER";
const WORKERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

// The arbiter asks for a result.
#[allow(clippy::unnecessary_wraps)]
fn work(context: &WorkerContext) -> Result<()> {
    context.ready();
    while context.pause(Duration::from_secs(60)) == Shutdown::Running {}
    Ok(())
}

/// Obeys each line, and writes one when it is done. At the end of the input the arbiter stops.
fn obey(handle: &Handle) {
    for line in std::io::stdin().lines() {
        let done = match line.expect("standard input is a pipe").as_str() {
            "workers" => handle.workers().len() == WORKERS,
            "scale" => [WORKERS + 1, WORKERS]
                .iter()
                .all(|workers| handle.scale(*workers).wait(PATIENCE).is_ok()),
            _ => handle.reload().wait(PATIENCE).is_ok(),
        };
        println!("{done}");
    }
    let _ = handle.stop().wait(PATIENCE);
}

fn supervise() -> Result<()> {
    let mut ready = 0;
    let arbiter = Arbiter::builder(work)
        .workers(WORKERS)
        // The thread below holds no lock that a worker takes.
        .allow_threads(true)
        .observe(move |event, handle| {
            ready += usize::from(matches!(event, ArbiterEvent::WorkerReady { .. }));
            if ready == WORKERS {
                ready = usize::MAX / 2;
                let handle = handle.clone();
                std::thread::spawn(move || obey(&handle));
                println!("true");
            }
        })
        .build()?;
    arbiter.run()
}

/// An arbiter in another process.
struct Supervised {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervised {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut process = Command::new(program)
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be run again");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut supervised = Self {
            process,
            orders,
            answers,
        };
        supervised.await_answer();
        supervised
    }

    fn order(&mut self, line: &str) {
        let orders = self.orders.as_mut().expect("it runs");
        writeln!(orders, "{line}").expect("the arbiter reads");
        self.await_answer();
    }

    fn await_answer(&mut self) {
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the arbiter answers");
        assert_eq!(answer, "true\n");
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

fn main() {
    if std::env::var_os(ROLE).is_some() {
        supervise().expect("the arbiter runs");
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut supervised = Supervised::start();
    let mut group = criterion.benchmark_group("supervisor");
    group.bench_function("state of 4 workers", |timer| {
        timer.iter(|| supervised.order("workers"));
    });
    group.sample_size(20);
    group.bench_function("one worker more and less", |timer| {
        timer.iter(|| supervised.order("scale"));
    });
    group.bench_function("reload of 4 workers", |timer| {
        timer.iter(|| supervised.order("reload"));
    });
    group.finish();
    criterion.final_summary();
}
