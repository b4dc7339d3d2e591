//! The control socket: its commands, what strangers send to it, an upgrade, and Gunicorn's own client.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, Exited, Gate, PATIENCE, Serve, Server, eventually, python_env, send};

/// A folder with the control socket of a server in it.
struct Control(TempDir);

impl Control {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("ctl")
    }

    fn serve(&self, app: &str) -> Serve {
        let path = self.path().display().to_string();
        Serve::app(app).args(["--control-socket", &path])
    }

    fn run(&self, args: &[&str]) -> Exited {
        let path = self.path().display().to_string();
        Serve::command_line(["ctl", "--socket", &path])
            .args(args)
            .run()
    }

    #[track_caller]
    fn ask(&self, args: &[&str]) -> String {
        let exited = self.run(args);
        assert_eq!(exited.status, 0, "{exited:#?}");
        exited.stdout.join("\n")
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let text = self.ask(&[&["--json"], args].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The sentence with which a command fails.
    #[track_caller]
    fn refusal(&self, args: &[&str]) -> String {
        let exited = self.run(args);
        assert_eq!(exited.status, 1, "{exited:#?}");
        exited.stderr.join("\n")
    }
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("a control socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn frame(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text].concat()
}

fn request(stream: &mut UnixStream, command: &str) {
    let text = json!({"id": command, "command": command}).to_string();
    stream
        .write_all(&frame(text.as_bytes()))
        .expect("it takes requests");
}

/// The next answer; `None` at the end of the connection.
fn answer(stream: &mut UnixStream) -> Option<Value> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).ok()?;
    let mut text = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

// Gunicorn: S108, S109, S110
#[test]
fn the_control_socket_is_its_owners_alone_and_off_by_default() {
    let control = Control::new();
    let mode = |server: Server| {
        let facts = std::fs::metadata(control.path());
        let mode = facts.map(|facts| facts.permissions().mode() & 0o777).ok();
        server.stop();
        assert!(!control.path().exists());
        mode
    };
    let app = "probe:app";
    assert_eq!(mode(control.serve(app).start()), Some(0o600));
    let open = control.serve(app).args(["--control-socket-mode", "0660"]);
    assert_eq!(mode(open.start()), Some(0o660));
    let none = control.serve(app).args(["--no-control-socket"]);
    assert_eq!(mode(none.start()), None);
    let taken = control.path().join("file");
    std::fs::create_dir(control.path()).expect("a folder");
    std::fs::write(&taken, "precious").expect("a file");
    let path = taken.display().to_string();
    let refused = Serve::app(app).args(["--control-socket", &path]).run();
    assert_eq!(refused.status, 1);
    assert!(
        refused.last().contains("control_socket (--control-socket)"),
        "{refused:#?}"
    );
    let missing = control.run(&["status"]);
    assert_eq!(missing.status, 3, "{missing:#?}");
}

#[test]
fn commands_steer_a_server_and_tell_how_they_end() {
    let control = Control::new();
    let server = control.serve("probe:app").workers(2);
    let server = server.args(["-e", "PASSWORD=hunter2"]).start();
    server.workers(2);
    let ready = |count: usize| {
        eventually("the workers are not ready", || {
            (control.json(&["status"])["ready"] == count).then_some(())
        });
    };
    ready(2);
    server.get("/").expect(200);
    let status = control.json(&["status"]);
    assert_eq!(status["pid"], server.pid().as_raw());
    assert_eq!(status["requests"], 1);
    let text = control.ask(&["status"]);
    assert!(text.contains("2 of 2 workers ready"), "{text}");
    let config = control.ask(&["config"]);
    assert!(
        config.contains("raw_env = PASSWORD=***  (-e/--env)"),
        "{config}"
    );
    assert!(config.contains("workers = 2  (-w/--workers)"), "{config}");

    assert_eq!(control.ask(&["scale", "3", "--wait"]), "scale: done");
    ready(3);
    let before = server.workers(3);
    assert_eq!(control.ask(&["reload", "--wait"]), "reload: done");
    ready(2);
    let after = server.workers(2);
    assert!(before.iter().all(|pid| !after.contains(pid)));
    assert_eq!(control.ask(&["reopen"]), "reopen: given");

    let first = &control.json(&["status"])["workers"][0];
    let id = first["id"].to_string();
    assert_eq!(control.ask(&["kill", &id]), "kill: done");
    for how in ["is replaced, as was asked for", "exited with code 0"] {
        let line = format!("Worker (pid:{}) {how}", first["pid"]);
        server.stderr().wait_for(&line);
    }
    assert!(control.refusal(&["kill", &id]).contains("worker"));
    assert!(
        control
            .refusal(&["scale", "2", "nobody"])
            .contains("no group")
    );
    assert_eq!(control.run(&["scale", "many"]).status, 2);
    assert_eq!(control.run(&["reload", "--now"]).status, 2);
    let second = control.json(&["status"])["workers"][0].clone();
    let killed = control.ask(&["kill", &second["id"].to_string(), "--now"]);
    assert_eq!(killed, "kill: done");
    let gone = format!("Worker (pid:{}) was sent SIGKILL", second["pid"]);
    server.stderr().wait_for(&gone);

    assert_eq!(control.ask(&["stop", "--wait"]), "stop: done");
    assert_eq!(server.wait().status, 0);
}

#[test]
fn a_reload_that_fails_tells_its_reason() {
    let control = Control::new();
    let file = control.0.path().join("gunicorn.conf.py");
    std::fs::write(&file, "workers = 1\n").expect("a file");
    let path = file.display().to_string();
    let server = control.serve("probe:app").args(["-c", &path]).start();
    server.workers(1);
    std::fs::write(&file, "workers = 'many'\n").expect("a file");
    let reason = control.refusal(&["reload", "--wait"]);
    assert!(
        reason.contains("invalid value 'many' for workers"),
        "{reason}"
    );
    let config = control.ask(&["config"]);
    assert!(config.contains("workers = 1"), "{config}");
    server.stop();
}

#[test]
fn stacks_show_what_each_worker_is_doing_now() {
    let control = Control::new();
    let server = control.serve("hangs:app").workers(2).start();
    server.workers(2);
    let mut client = server.client();
    client.send("GET /sleeping?token=hunter2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let status = eventually("no worker is busy", || {
        let status = control.json(&["status"]);
        let current = status["workers"].as_array()?.iter();
        let busy = current
            .into_iter()
            .any(|it| !it["current"].as_array().unwrap().is_empty());
        busy.then_some(status)
    });
    assert!(!status.to_string().contains("hunter2"), "{status}");
    let text = eventually("a worker has no stacks", || {
        let stacks = control.ask(&["stacks"]);
        (!stacks.contains("it shows none")).then_some(stacks)
    });
    assert!(text.contains("hangs.py"), "{text}");
    assert!(!server.stderr().contain("Stacks of worker"));
    control.ask(&["stop", "--now", "--wait"]);
    server.wait();
}

#[test]
fn no_secret_is_shown_by_either_socket() {
    let control = Control::new();
    let file = control.0.path().join("gunicorn.conf.py");
    let conf = "raw_env = ['PASSWORD=hunter2']\n";
    std::fs::write(&file, conf).expect("a file");
    let path = file.display().to_string();
    let serve = control.serve("probe:app").args(["-c", &path]);
    let serve = serve.args([
        "--status-bind",
        "127.0.0.1:0",
        "--name",
        "shop(password='hunter2')",
    ]);
    let server = serve.start();
    let line = server.stderr().wait_for("Status at: ");
    let (_, status) = line.split_once("http://").expect("an address of TCP");
    let status: SocketAddr = status.trim().parse().expect("an address");
    server.workers(1);
    let gate = Gate::new();
    let mut held = server.client();
    let target = format!("http://me:hunter2@shop{}", gate.at("/hold"));
    held.send(format!(
        "GET {target} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer hunter2\r\n\r\n"
    ));
    let arrived = gate.arrival();
    let mut shown = Vec::new();
    for words in [&["status"][..], &["config"], &["stacks"], &["profile", "1"]] {
        shown.push(control.ask(words));
        shown.push(control.json(words).to_string());
    }
    let mut client = connect(&control.path());
    for command in ["show all", "show config", "show stats", "show listeners"] {
        request(&mut client, command);
        shown.push(answer(&mut client).expect("an answer").to_string());
    }
    for path in ["/", "/status", "/metrics"] {
        let page = Client::connect(status).get(path).expect(200);
        shown.push(page.text().to_owned());
    }
    assert!(shown[0].contains("GET /hold"), "{}", shown[0]);
    for refused in [
        "raw_env = ['=hunter2']\n",
        "statsd_host = 'udp://me:hunter2@'\n",
    ] {
        std::fs::write(&file, refused).expect("a file");
        shown.push(control.refusal(&["reload", "--wait"]));
    }
    for text in shown {
        assert!(!text.contains("hunter2"), "{text}");
    }
    drop(arrived);
    held.response().expect(200);
    server.stop();
}

#[test]
fn a_profile_names_the_hot_function_of_all_workers() {
    let control = Control::new();
    let server = control.serve("hangs:app").workers(2).start();
    server.workers(2);
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
        server.stdout().nth(0, "line of the application");
    }
    eventually("not both are busy", || {
        let status = control.json(&["status"]);
        let workers = status["workers"].as_array()?.clone();
        workers.iter().all(|it| it["state"] == "busy").then_some(())
    });
    let profile = control.json(&["profile", "1", "--rate", "50"]);
    assert_eq!(profile["workers"], 2, "{profile}");
    let folded = profile["folded"].as_str().expect("a text");
    let hot = folded.lines().filter(|line| line.contains(";busy ("));
    let hot = hot.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    let (hot, all) = (
        hot.sum::<u64>(),
        profile["samples"].as_u64().expect("a number"),
    );
    assert!(hot > 10 && hot * 10 > all * 9, "{profile}");
    assert!(
        control
            .refusal(&["profile", "601"])
            .contains("1 to 600 seconds")
    );
    control.ask(&["stop", "--now", "--wait"]);
    server.wait();
}

#[test]
fn a_profile_names_the_hot_function_of_flask_under_load() {
    let control = Control::new();
    let serve = control.serve("profiled:busy").workers(2);
    let serve = serve.args(["--venv".as_ref(), python_env().as_os_str()]);
    let server = serve.args(["--threads", "2"]).start();
    server.stderr().wait_for("Ready in ");
    let ended = AtomicBool::new(false);
    let exited = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                while !ended.load(Ordering::Relaxed) {
                    client.get("/").expect(200);
                }
            });
        }
        let exited = control.run(&["--json", "profile", "2"]);
        ended.store(true, Ordering::Relaxed);
        exited
    });
    assert_eq!(exited.status, 0, "{exited:#?}");
    let profile: Value = serde_json::from_str(&exited.stdout.join("\n")).expect("it is JSON");
    let folded = profile["folded"].as_str().expect("a text");
    let counts = |part: &str| -> u64 {
        let lines = folded.lines().filter(|line| line.contains(part));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    };
    let all = profile["samples"].as_u64().expect("a number");
    let hot = counts(";burn (");
    assert!(all > 10 && hot * 2 > all, "{hot} of {all}");
    // It is called by Flask.
    let flask = counts("dispatch_request (");
    assert!(flask >= hot, "{flask} and {hot}");
    // A thread that waits for a request is in no call.
    let mut last = folded.lines().filter_map(|line| line.rsplit(';').next());
    let idle = last.find(|call| call.contains("run (") && call.contains("threading.py"));
    assert_eq!(idle, None);
    server.stop();
}

#[test]
fn strangers_at_the_control_socket_disturb_no_supervision() {
    let control = Control::new();
    let path = control.path();
    let server = control.serve("probe:app").workers(1).start();
    let mut strangers: Vec<UnixStream> = Vec::new();
    let huge = [&u32::MAX.to_be_bytes()[..], &vec![b'x'; 1 << 16]].concat();
    for number in 0..1000 {
        // Where the queue is full the client is refused, or waits.
        let mut stream = connect(&path);
        stream.set_nonblocking(true).expect("a stream");
        // The server may have closed it already.
        let _ = match number % 5 {
            0 => stream.write(&[0]),
            1 => stream.write(&huge),
            2 => stream.write(b"GET / HTTP/1.1\r\n\r\n"),
            3 => stream.write(&frame(&vec![b'['; 60_000])),
            _ => Ok(0),
        };
        strangers.push(stream);
        if number % 250 == 100 {
            // A worker is reaped and replaced meanwhile, and commands are heard.
            let [worker] = server.workers(1)[..] else {
                panic!("one worker")
            };
            send(worker, Signal::SIGKILL);
            eventually("it is not replaced", || {
                server
                    .workers(1)
                    .iter()
                    .all(|it| *it != worker)
                    .then_some(())
            });
            let status = control.json(&["status"]);
            assert_eq!(status["target"], 1, "{status}");
        }
    }
    server.get("/").expect(200);
    // One that takes in no answer is given up, and holds up nobody.
    let mut deaf = connect(&path);
    deaf.set_nonblocking(true).expect("a stream");
    let text = frame(json!({"command": "config"}).to_string().as_bytes());
    while deaf.write(&text).is_ok_and(|n| n == text.len()) {}
    let mut polite = connect(&path);
    for _ in 0..3 {
        request(&mut polite, "status");
        assert_eq!(answer(&mut polite).expect("an answer")["status"], "ok");
    }
    let mut malformed = connect(&path);
    malformed
        .write_all(&frame(b"no JSON"))
        .expect("it takes that");
    assert_eq!(
        answer(&mut malformed).expect("an answer")["status"],
        "error"
    );
    assert_eq!(answer(&mut malformed), None);
    drop(strangers);
    server.stop();
}

#[test]
fn of_two_arbiters_the_first_answers_until_it_goes() {
    let control = Control::new();
    let server = control.serve("probe:app").start();
    server.workers(1);
    let pid = || control.json(&["status"])["pid"].as_i64().expect("a pid");
    let first = pid();
    assert_eq!(control.ask(&["upgrade", "--wait"]), "upgrade: done");
    for _ in 0..5 {
        assert_eq!(pid(), first);
    }
    control.ask(&["stop", "--wait"]);
    let second = eventually("nobody answers", || {
        let status = control.run(&["status", "--json"]);
        let text = status.stdout.first()?;
        serde_json::from_str::<Value>(text).ok()?["pid"].as_i64()
    });
    assert_ne!(second, first);
    assert!(control.path().exists());
    control.ask(&["stop", "--wait"]);
    server.wait_for_orphans();
    assert!(!control.path().exists());
}

// Gunicorn: S108
#[test]
fn gunicorns_own_client_is_answered() {
    let control = Control::new();
    let server = control.serve("probe:app").start();
    server.workers(1);
    let gunicornc = |command: &str, json: bool| {
        let mut client = Command::new(python_env().join("bin/gunicornc"));
        client.arg("-s").arg(control.path()).args(["-c", command]);
        client.args(json.then_some("-j"));
        let output = client.output().expect("gunicornc runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), text, error)
    };
    let told = |command: &str| {
        let (done, text, error) = gunicornc(command, false);
        assert!(done, "{command}: {error}");
        text
    };
    let pid = server.pid().to_string();
    eventually("the worker has not booted", || {
        told("show workers").contains("yes").then_some(())
    });
    assert!(told("show all").contains(&format!("PID: {pid}")));
    assert!(told("show stats").contains("Workers target:   1"));
    assert!(told("show listeners").contains("http://127.0.0.1:"));
    assert!(told("show config").contains("worker_class: sync"));
    assert!(told("show dirty").contains("not running"));
    assert!(told("help").contains("worker add [N]"));
    assert!(told("worker add 2").contains("\"total\": 3"));
    let workers = server.workers(3);
    assert!(told("worker remove").contains("\"total\": 2"));
    server.workers(2);
    assert!(told("reload").contains("given"));
    eventually("the workers stay", || {
        let now = server.workers(1);
        now.iter().all(|pid| !workers.contains(pid)).then_some(())
    });
    let (_, text, _) = gunicornc("worker kill 1", true);
    let outcome: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(outcome["success"], false);
    let (done, _, error) = gunicornc("bogus", false);
    assert!(!done && error.contains("there is no command"), "{error}");
    assert!(told("shutdown graceful").contains("shutting_down"));
    assert_eq!(server.wait().status, 0);
}
