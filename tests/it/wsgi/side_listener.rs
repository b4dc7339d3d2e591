//! The side listener (`status_bind`): it answers whatever arbiter and workers do.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{
    Client, Gate, Response, Serve, Server, children, eventually, send, wait_until,
};

fn with_status(serve: Serve) -> Serve {
    serve.args(["--status-bind", "127.0.0.1:0"])
}

/// A server that has a side listener, and a way to ask there.
pub(super) struct Watched {
    pub(super) server: Server,
    status: std::net::SocketAddr,
}

impl Watched {
    pub(super) fn start(serve: Serve) -> Self {
        let server = with_status(serve).start();
        let status = address(&server.stderr().wait_for("Status at: "));
        Self { server, status }
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.status)
    }

    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    #[track_caller]
    pub(super) fn await_ready(&self) {
        wait_until("the server is not ready", || {
            self.get("/readyz").status == 200
        });
    }

    /// The value of a metric that counts, by its name and labels.
    #[track_caller]
    pub(super) fn metric(&self, name: &str) -> u64 {
        self.value(name).parse().expect("a number")
    }

    /// Whether a metric is more than zero.
    #[track_caller]
    pub(super) fn is_positive(&self, name: &str) -> bool {
        self.value(name).parse::<f64>().expect("a number") > 0.0
    }

    #[track_caller]
    pub(super) fn value(&self, name: &str) -> String {
        let page = self.get("/metrics").expect(200);
        let mut lines = page.text().lines().map(str::to_owned);
        let line = lines.find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {}", page.text()));
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    fn process(&self, workers: &[Pid]) -> Pid {
        eventually("there is no process for the status", || {
            let children = children(self.server.pid()).into_iter();
            let mut living = children.filter_map(|(pid, ended)| (!ended).then_some(pid));
            living.find(|pid| !workers.contains(pid))
        })
    }
}

/// Where the side listener is, from its line of the log.
fn address(line: &str) -> std::net::SocketAddr {
    let (_, url) = line.split_once("http://").expect("an address of TCP");
    url.trim().parse().expect("an address")
}

#[test]
fn a_probe_is_answered_while_all_workers_are_in_calls() {
    let watched = Watched::start(Serve::app("probe:app"));
    watched.await_ready();
    let gate = Gate::new();
    let mut held = watched.server.client();
    held.send_get(&gate.at("/hold"));
    let arrived = gate.arrival();
    assert_eq!(watched.get("/livez").expect(200).text(), "alive\n");
    assert_eq!(watched.get("/readyz").expect(200).text(), "ready\n");
    assert_eq!(watched.metric("oxicorn_workers{state=\"busy\"}"), 1);
    assert_eq!(watched.metric("oxicorn_threads{state=\"busy\"}"), 1);
    assert!(watched.is_positive("oxicorn_oldest_request_seconds"));
    drop(arrived);
    held.response().expect(200);
    wait_until("the worker is not idle", || {
        watched.metric("oxicorn_threads{state=\"idle\"}") == 1
    });
    watched.server.stop();
}

#[test]
fn a_server_that_boots_or_leaves_is_alive_and_not_ready() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gate = Gate::new();
    let code = format!(
        "open({:?}).read()\nfrom probe import app\n",
        gate.path().display().to_string()
    );
    fs::write(folder.path().join("slow.py"), code).expect("the folder is writable");
    let serve = Serve::app("slow:app").args(["--pythonpath".as_ref(), folder.path().as_os_str()]);
    let watched = Watched::start(serve);
    let arrived = gate.arrival();
    watched.get("/livez").expect(200);
    assert_eq!(
        watched.get("/readyz").expect(503).text(),
        "not ready: booting, 0 of 1 workers are ready\n"
    );
    drop(arrived);
    watched.await_ready();
    let later = Gate::new();
    let mut held = watched.server.client();
    held.send_get(&later.at("/hold"));
    let arrived = later.arrival();
    watched.server.signal(Signal::SIGTERM);
    wait_until("the server does not drain", || {
        let answer = watched.get("/readyz");
        answer.status == 503 && answer.text() == "not ready: draining, the server stops\n"
    });
    watched.get("/livez").expect(200);
    drop(arrived);
    held.response().expect(200);
    assert_eq!(watched.server.wait().status, 0);
}

#[test]
fn a_probe_is_answered_while_the_arbiter_preloads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gate = Gate::new();
    let code = format!(
        "open({:?}).read()\nfrom probe import app\n",
        gate.path().display().to_string()
    );
    fs::write(folder.path().join("slow.py"), code).expect("the folder is writable");
    let serve = Serve::app("slow:app").args(["--pythonpath".as_ref(), folder.path().as_os_str()]);
    let process = with_status(serve.args(["--preload"])).spawn();
    let status = address(&process.stderr.wait_for("Status at: "));
    let arrived = gate.arrival();
    let ask = |path| Client::connect(status).get(path);
    ask("/livez").expect(200);
    let answer = ask("/readyz").expect(503);
    let booting = "not ready: booting, 0 of 1 workers are ready\n";
    assert_eq!(answer.text(), booting);
    drop(arrived);
    let server = Server::listening(process);
    Watched { server, status }.await_ready();
}

#[test]
fn a_probe_is_answered_while_the_arbiter_reads_its_settings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gate = Gate::new();
    let config = folder.path().join("conf.py");
    fs::write(&config, "workers = 1\n").expect("the folder is writable");
    let watched = Watched::start(Serve::app("probe:app").args(["-c".as_ref(), config.as_os_str()]));
    watched.await_ready();
    let generation = watched.metric("oxicorn_generation");
    let code = format!("open({:?}).read()\n", gate.path().display().to_string());
    fs::write(&config, code).expect("the folder is writable");
    watched.server.signal(Signal::SIGHUP);
    let arrived = gate.arrival();
    watched.get("/livez").expect(200);
    assert_eq!(watched.get("/readyz").expect(200).text(), "ready\n");
    assert_eq!(
        watched.metric("oxicorn_arbiter_state{state=\"reloading\"}"),
        1
    );
    assert!(watched.is_positive("oxicorn_arbiter_busy_seconds"));
    drop(arrived);
    wait_until("the reload does not end", || {
        watched.metric("oxicorn_reloads_total{outcome=\"succeeded\"}") == 1
    });
    assert_eq!(watched.metric("oxicorn_generation"), generation + 1);
    watched.server.stop();
}

#[test]
fn another_process_answers_where_the_first_has_died() {
    let watched = Watched::start(Serve::app("probe:app"));
    watched.await_ready();
    let workers = watched.server.workers(1);
    let first = watched.process(&workers);
    watched.server.get("/").expect(200);
    // A terminal's ^C reaches it as well, and it is the arbiter that decides.
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        send(first, signal);
    }
    watched.get("/livez").expect(200);
    assert_eq!(watched.process(&workers), first);
    send(first, Signal::SIGKILL);
    let mut waiting = watched.client();
    waiting.get("/livez").expect(200);
    assert_ne!(watched.process(&workers), first);
    assert_eq!(watched.metric("oxicorn_requests_total{status=\"2xx\"}"), 1);
    assert_eq!(watched.server.workers(1), workers);
    watched.server.stop();
}

#[test]
fn the_process_leaves_with_an_arbiter_that_is_killed() {
    let watched = Watched::start(Serve::app("probe:app"));
    watched.await_ready();
    watched.server.signal(Signal::SIGKILL);
    watched.server.wait_for_orphans();
}

#[test]
fn counters_outlive_workers_and_a_reload() {
    let watched = Watched::start(Serve::app("probe:app").workers(2));
    watched.await_ready();
    let mut asked = 0;
    for signal in [Signal::SIGKILL, Signal::SIGHUP] {
        for _ in 0..5 {
            watched.server.get("/").expect(200);
            asked += 1;
        }
        // A duration is counted when the answer was sent: a worker that is killed in between takes that one along.
        wait_until("the answers are not timed", || {
            watched.metric("oxicorn_request_duration_seconds_count") == asked
        });
        let before = watched.server.workers(2);
        match signal {
            Signal::SIGKILL => send(before[0], signal),
            _ => watched.server.signal(signal),
        }
        eventually("no worker is replaced", || {
            let now = watched.server.workers(2);
            (now != before).then_some(())
        });
        assert_eq!(
            watched.metric("oxicorn_requests_total{status=\"2xx\"}"),
            asked
        );
    }
    for (cause, count) in [("signal", 1), ("exit", 0)] {
        let name = format!("oxicorn_worker_restarts_total{{cause=\"{cause}\"}}");
        assert_eq!(watched.metric(&name), count);
    }
    assert_eq!(
        watched.metric("oxicorn_request_duration_seconds_count"),
        asked
    );
    watched.server.stop();
}

#[test]
fn answer_of_a_worker_that_is_killed_behind_it_is_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for threads in ["1", "2"] {
        let serve = Serve::app("dies:app").env("ANSWERED", folder.path().join("answered"));
        let watched = Watched::start(serve.args(["--threads", threads]));
        watched.await_ready();
        let workers = watched.server.workers(1);
        watched.server.get("/close").expect(200);
        eventually("the worker is not replaced", || {
            (watched.server.workers(1) != workers).then_some(())
        });
        let counted = watched.metric("oxicorn_requests_total{status=\"2xx\"}");
        assert_eq!(counted, 1, "{threads} threads");
        watched.server.stop();
    }
}

#[test]
fn durations_have_requests_as_examples_where_there_are_ids() {
    let watched = Watched::start(Serve::app("probe:app").args(["--request-id"]));
    watched.await_ready();
    let mut client = watched.server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: shop-7\r\n\r\n");
    client.response().expect(200);
    let shown = |accept: &str| {
        let mut client = watched.client();
        client.send(format!(
            "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"
        ));
        client.response().expect(200).text().to_owned()
    };
    let line = eventually("no example is shown", || {
        let text = shown("application/openmetrics-text");
        let mut lines = text.lines().filter(|line| line.contains(" # "));
        let line = lines.next().map(str::to_owned);
        assert_eq!(lines.next(), None);
        line
    });
    let (sample, exemplar) = line.split_once(" # ").expect("it has one");
    let bound = sample.strip_prefix("oxicorn_request_duration_seconds_bucket{le=\"");
    let bound = bound
        .and_then(|rest| rest.split('"').next())
        .expect("a bucket");
    let parts: Vec<&str> = exemplar.split(' ').collect();
    assert_eq!(parts[0], "{request_id=\"shop-7\"}");
    let [took, at] = [1, 2].map(|part| parts[part].parse::<f64>().expect("a number"));
    assert!(
        took > 0.0 && (bound == "+Inf" || took <= bound.parse().unwrap()),
        "{line}"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    assert!((now.unwrap().as_secs_f64() - at).abs() < 60.0, "{line}");
    assert!(!shown("text/plain").contains(" # "));
    watched.server.stop();
}

#[test]
fn waits_for_pythons_lock_are_counted() {
    const SHORT: usize = 20;
    let watched = Watched::start(Serve::app("threads:app").args(["--threads", "2"]));
    watched.await_ready();
    let mut burning = watched.server.client();
    burning.send_get(&format!("/burn?{SHORT}"));
    for _ in 0..SHORT {
        watched.server.get("/short").expect(200);
    }
    burning.response().expect(200);
    let waited = || {
        let value = watched.value("oxicorn_python_lock_wait_seconds_total");
        value.parse::<f64>().expect("a number of seconds")
    };
    // Each of them has to wait until the thread that burns gives the lock up, which it does after 5 ms.
    wait_until("the waits are not counted", || waited() > 0.02);
    watched.server.stop();
}

#[test]
fn what_a_stranger_sends_does_no_harm() {
    let watched = Watched::start(Serve::app("probe:app"));
    watched.await_ready();
    let workers = watched.server.workers(1);
    let process = watched.process(&workers);
    let silent: Vec<Client> = (0..300).map(|_| watched.client()).collect();
    let huge = format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000));
    for (sent, status) in [
        ("\0\x16\x03\x01nonsense\r\n\r\n", 400),
        (&*huge, 414),
        (
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
            405,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n",
            413,
        ),
        ("GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ] {
        let mut client = watched.client();
        let _ = client.try_send(sent);
        assert_eq!(client.response().status, status, "{:?}", &sent[..20]);
    }
    watched.get("/livez").expect(200);
    // The arbiter notices a death meanwhile.
    send(workers[0], Signal::SIGKILL);
    eventually("the worker is not replaced", || {
        (watched.server.workers(1) != workers).then_some(())
    });
    watched.await_ready();
    let workers = watched.server.workers(1);
    assert_eq!(watched.process(&workers), process);
    drop(silent);
    watched.server.stop();
}

#[test]
fn no_client_holds_a_place_that_many_want() {
    let watched = Watched::start(Serve::app("probe:app"));
    watched.await_ready();
    let is_last = |client: &mut Client| {
        client.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        client.response().expect(200).header("connection") == Some("close")
    };
    let mut first = watched.client();
    assert!(!is_last(&mut first));
    let others: Vec<(Client, bool)> = (0..40)
        .map(|_| {
            let mut client = watched.client();
            let closed = is_last(&mut client);
            (client, closed)
        })
        .collect();
    let closed = others.iter().filter(|(_, closed)| *closed).count();
    assert!((1..40).contains(&closed), "{closed}");
    let silent: Vec<Client> = (0..10).map(|_| watched.client()).collect();
    wait_until("the first one has its place still", || is_last(&mut first));
    drop((others, silent));
    wait_until("no connection is kept again", || {
        !is_last(&mut watched.client())
    });
    watched.server.stop();
}

#[test]
fn a_unix_socket_is_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("status");
    let bind = format!("unix:{}", path.display());
    let server = Serve::app("probe:app")
        .args(["--status-bind", &bind])
        .start();
    let ask = |target: &str| {
        let stream = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        Client::unix(stream).get(target)
    };
    wait_until("the server is not ready", || ask("/readyz").status == 200);
    let open = "Accept: application/openmetrics-text\r\n";
    let stream = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    let mut client = Client::unix(stream);
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{open}\r\n"));
    assert!(client.response().expect(200).text().ends_with("# EOF\n"));
    server.stop();
    assert!(!Path::exists(&path));
}

#[test]
fn the_page_shows_what_workers_do_and_no_query_string() {
    let watched = Watched::start(Serve::app("probe:app"));
    watched.await_ready();
    let gate = Gate::new();
    let mut held = watched.server.client();
    held.send_get(&gate.at("/hold"));
    let arrived = gate.arrival();
    let page = watched.get("/").expect(200);
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'"));
    let text = page.text();
    assert!(text.contains("GET /hold for ") && text.contains("<svg "));
    let state = watched.get("/status").expect(200);
    let json: serde_json::Value = serde_json::from_str(state.text()).expect("it is JSON");
    assert_eq!(json["pid"], watched.server.pid().as_raw());
    assert_eq!(json["workers"][0]["current"][0]["path"], "/hold");
    assert!(json["workers"][0]["memory"].as_u64() > Some(1_000_000));
    // The path of the gate is in the query string.
    let secret = gate.path().display().to_string();
    for shown in [
        text,
        state.text(),
        watched.get("/metrics").expect(200).text(),
    ] {
        assert!(!shown.contains(&secret), "{shown}");
    }
    for file in ["/style.css", "/refresh.js"] {
        watched.get(file).expect(200);
    }
    drop(arrived);
    held.response().expect(200);
    watched.server.stop();
}

#[test]
fn of_two_arbiters_one_answers_and_it_is_ready() {
    let watched = Watched::start(Serve::app("probe:app").workers(2));
    watched.await_ready();
    let answering = || -> i64 {
        let state = watched.get("/status").expect(200);
        let json: serde_json::Value = serde_json::from_str(state.text()).expect("it is JSON");
        json["pid"].as_i64().expect("a process id")
    };
    let first = i64::from(watched.server.pid().as_raw());
    watched.server.get("/").expect(200);
    watched.server.signal(Signal::SIGUSR2);
    let line = watched.server.stderr().wait_for("The new arbiter (pid:");
    let second = line
        .split("(pid:")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    let second: i64 = second
        .and_then(|pid| pid.parse().ok())
        .expect("a process id");
    assert_eq!(answering(), first);
    assert_eq!(
        watched.metric("oxicorn_upgrades_total{outcome=\"succeeded\"}"),
        1
    );
    // The first one has something to finish: from now on it answers for nobody.
    let gate = Gate::new();
    let mut held = watched.server.client();
    held.send_get(&gate.at("/hold"));
    let arrived = gate.arrival();
    watched.server.signal(Signal::SIGWINCH);
    eventually("the second one does not answer", || {
        assert_eq!(watched.get("/readyz").expect(200).text(), "ready\n");
        (answering() == second).then_some(())
    });
    watched.server.signal(Signal::SIGTERM);
    drop(arrived);
    held.response().expect(200);
    wait_until("the first one does not end", || {
        assert_eq!(answering(), second);
        watched.get("/readyz").expect(200);
        !crate::support::is_there(watched.server.pid())
    });
    assert_eq!(watched.metric("oxicorn_requests_total{status=\"2xx\"}"), 2);
    send(
        Pid::from_raw(i32::try_from(second).unwrap()),
        Signal::SIGTERM,
    );
    watched.server.wait_for_orphans();
}
