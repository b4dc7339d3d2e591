//! Workers that answer several requests at once.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oxicorn::time::MonoTime;

use crate::support::{Client, Gate, Serve, Server};

fn serve(app: &str, threads: usize) -> Server {
    Serve::app(app)
        .args(["--threads", &threads.to_string()])
        .start()
}

fn ask(server: &Server, target: &str) -> Client {
    let mut client = server.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

#[track_caller]
fn soon<T>(limit: Duration, act: impl FnOnce() -> T) -> T {
    let start = MonoTime::now();
    let outcome = act();
    let took = MonoTime::now().since(start);
    assert!(took < limit, "took {took:?}");
    outcome
}

// Gunicorn: S6, S7
#[test]
fn threads_make_sync_gthread_and_the_application_is_told() {
    let server = serve("threads:app", 2);
    server.stderr().wait_for("Using worker: gthread");
    assert_eq!(server.get("/multithread").expect(200).text(), "True");
    server.stop();
    let server = Serve::app("threads:app").args(["-k", "gthread"]).start();
    server.stderr().wait_for("Using worker: gthread");
    assert_eq!(server.get("/multithread").expect(200).text(), "False");
    server.stop();
}

#[test]
fn calls_that_wait_in_some_threads_do_not_delay_the_others() {
    let server = serve("probe:app", 8);
    let gates: Vec<_> = (0..4).map(|_| Gate::new()).collect();
    let mut held: Vec<_> = gates
        .iter()
        .map(|gate| ask(&server, &gate.at("/hold")))
        .collect();
    let arrived: Vec<_> = gates.iter().map(Gate::arrival).collect();
    soon(Duration::from_secs(2), || {
        for _ in 0..50 {
            server.get("/pid").expect(200);
        }
    });
    drop(arrived);
    for client in &mut held {
        client.response().expect(200);
    }
    server.stop();
}

// Gunicorn: W12
#[test]
fn no_more_calls_run_than_there_are_threads() {
    let server = serve("threads:app", 3);
    let mut clients: Vec<_> = (0..12).map(|_| ask(&server, "/sleep?50")).collect();
    for client in &mut clients {
        client.response().expect(200);
    }
    let most = server.get("/most").expect(200);
    assert_eq!(most.text(), "3");
    server.stop();
}

// Gunicorn: W12
#[test]
fn connection_is_left_to_a_worker_that_has_a_free_thread() {
    let server = Serve::app("probe:app")
        .args(["-k", "gthread"])
        .workers(2)
        .start();
    server.workers(2);
    for _ in 0..8 {
        let gates = [Gate::new(), Gate::new()];
        let mut clients: Vec<_> = gates
            .iter()
            .map(|gate| ask(&server, &gate.at("/hold")))
            .collect();
        // Both are in their calls at the same time.
        let arrived: Vec<_> = gates.iter().map(Gate::arrival).collect();
        drop(arrived);
        let workers: Vec<_> = clients
            .iter_mut()
            .map(|client| client.response().expect(200).body)
            .collect();
        assert_ne!(workers[0], workers[1]);
    }
    server.stop();
}

#[test]
fn requests_of_eight_clients_run_side_by_side() {
    let server = serve("threads:app", 8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..25 {
                    // Each call waits until there are eight of them.
                    assert_eq!(client.get("/meet").expect(200).text(), "met");
                }
            });
        }
    });
    server.stop();
}

// Gunicorn: W16
#[test]
fn pipelined_requests_are_answered_in_order_beside_others() {
    let server = serve("threads:app", 4);
    thread::scope(|scope| {
        for number in 0..6 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                for round in 0..10 {
                    let target = |n| format!("/{number}/{round}/{n}");
                    let request =
                        |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
                    let mut pipeline = vec![request("/sleep?2")];
                    pipeline.extend((0..5).map(|n| request(&target(n))));
                    client.send(pipeline.concat());
                    assert_eq!(client.response().expect(200).text(), "/sleep");
                    for n in 0..5 {
                        assert_eq!(client.response().expect(200).text(), target(n));
                    }
                }
            });
        }
    });
    server.stop();
}

// Gunicorn: W17
#[test]
fn next_request_that_comes_during_the_first_is_not_lost() {
    let server = serve("probe:app", 2);
    for _ in 0..5 {
        let gate = Gate::new();
        let mut client = server.client();
        client.get("/pid").expect(200);
        client.send(format!(
            "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
            gate.at("/hold")
        ));
        let arrived = gate.arrival();
        client.send("GET /unread HTTP/1.1\r\nHost: a\r\n\r\n");
        // The reactor is told of it while the connection is lent.
        server.get("/pid").expect(200);
        drop(arrived);
        client.response().expect(200);
        assert_eq!(client.response().expect(200).text(), "not read");
    }
    server.stop();
}

// Gunicorn: W13, W14, W23
#[test]
fn silent_and_slow_clients_hold_no_thread() {
    let server = serve("probe:app", 2);
    let mut silent = Vec::new();
    for beginning in [
        "",
        "GET / HTTP/1.1\r\nHost: te",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nnot all",
        "GET /big?16 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for _ in 0..4 {
            let mut client = server.client();
            client.send(beginning);
            silent.push(client);
        }
    }
    for _ in 0..20 {
        soon(Duration::from_secs(2), || server.get("/pid").expect(200));
    }
    drop(silent);
    server.stop();
}

// Gunicorn: G13, W22
#[test]
fn quit_leaves_at_once_with_calls_running() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let server = serve("probe:app", 4);
        let gate = Gate::new();
        let held = [ask(&server, &gate.at("/hold")), ask(&server, "/sleep")];
        let _arrived = gate.arrival();
        server.signal(signal);
        let exited = soon(Duration::from_secs(3), || server.wait());
        assert_eq!(exited.status, 0, "{exited:#?}");
        assert!(
            !exited.stderr.iter().any(|line| line.contains("SIGKILL")),
            "{exited:#?}"
        );
        drop(held);
    }
}

// Gunicorn: W21
#[test]
fn term_finishes_the_requests_of_all_threads() {
    let server = serve("probe:app", 4);
    let gates = [Gate::new(), Gate::new()];
    let mut clients = [
        ask(&server, &gates[0].at("/hold")),
        ask(&server, &gates[1].at("/stream")),
    ];
    let arrived = [gates[0].arrival(), gates[1].arrival()];
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("Handling signal: term");
    drop(arrived);
    clients[0].response().expect(200);
    clients[0].expect_end();
    assert_eq!(clients[1].response().expect(200).text(), "first\nsecond\n");
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
}

// Gunicorn: G40, W24
#[test]
fn leaving_python_in_a_thread_is_a_500_and_not_the_servers_end() {
    let server = serve("probe:app", 2);
    let worker = server.get("/pid").expect(200).text().to_owned();
    for status in [0, 3, 4] {
        server.get(&format!("/leave?{status}")).expect(500);
        assert_eq!(server.get("/pid").expect(200).text(), worker);
    }
    server.stop();
}

// Gunicorn: G40
#[test]
fn ending_the_process_in_a_thread_costs_one_worker() {
    let server = Serve::app("probe:app")
        .args(["--threads", "2"])
        .workers(2)
        .start();
    server.workers(2);
    server.get("/pid").expect(200);
    for status in [1, 3, 4] {
        ask(&server, &format!("/die?{status}")).expect_end();
        server
            .stderr()
            .wait_for(&format!("exited with code {status}"));
        server.get("/pid").expect(200);
    }
    server.stop();
}

// Gunicorn: G51, S11
#[test]
fn calls_longer_than_the_timeout_do_not_end_the_worker() {
    let server = Serve::app("threads:app")
        .args(["--threads", "2", "--timeout", "1"])
        .start();
    let mut clients = [ask(&server, "/sleep?2500"), ask(&server, "/sleep?2500")];
    for client in &mut clients {
        client.response().expect(200);
    }
    assert!(!server.stderr().contain("WORKER TIMEOUT"));
    server.stop();
}

// Gunicorn: G51, S11
#[test]
fn interpreter_held_too_long_ends_the_worker_naming_its_call() {
    let server = Serve::app("threads:app")
        .args(["--threads", "2", "--timeout", "1"])
        .start();
    let mut client = ask(&server, "/stuck");
    server.stderr().wait_for("GET /stuck for ");
    client.expect_end();
    server.get("/").expect(200);
    server.stop();
}

/// What a process has used of the processors, in hundredths of a second: `utime` and `stime` of
/// `proc_pid_stat(5)`.
fn spent(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields = stat.rsplit(") ").next().expect("the name is in brackets");
    let fields: Vec<&str> = fields.split(' ').collect();
    [fields[11], fields[12]]
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .iter()
        .sum()
}

#[track_caller]
fn assert_sleeps(pid: Pid) {
    let before = spent(pid);
    // Not for something to happen: for nothing to.
    thread::sleep(Duration::from_millis(1500));
    let used = spent(pid) - before;
    assert!(used <= 4, "{used} hundredths of a second");
}

// Gunicorn: W11
#[test]
fn idle_worker_uses_no_processor_time() {
    let server = serve("threads:app", 4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| server.get("/sleep?20").expect(200));
        }
    });
    assert_sleeps(server.workers(1)[0]);
    server.stop();
}

// Gunicorn: W11
#[test]
fn worker_whose_calls_all_wait_uses_no_processor_time() {
    let server = serve("probe:app", 2);
    let gates = [Gate::new(), Gate::new()];
    let mut kept = server.client();
    kept.get("/pid").expect(200);
    let mut clients: Vec<_> = gates
        .iter()
        .map(|gate| ask(&server, &gate.at("/hold")))
        .collect();
    let arrived: Vec<_> = gates.iter().map(Gate::arrival).collect();
    // One that is ready and one that is not accepted yet.
    kept.send("GET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    clients.push(ask(&server, "/pid"));
    assert_sleeps(server.workers(1)[0]);
    drop(arrived);
    for client in &mut clients {
        client.response().expect(200);
    }
    server.stop();
}
