//! An arbiter in a process of its own, seen from outside: [`Server`].

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};
use oxicorn::MonoTime;

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running role of this program. Killed when it is dropped, so that a failed test leaves nothing.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    log: Option<JoinHandle<String>>,
    /// The workers that exist, with whether they are ready.
    workers: BTreeMap<i32, bool>,
    /// Every worker there ever was.
    all: Vec<i32>,
    /// Every line that was printed.
    seen: Vec<String>,
}

/// What is left of a server that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
    pub(crate) seen: Vec<String>,
}

impl Server {
    /// Starts a role.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("no path to this program");
        Self::spawn(Command::new(program), arguments)
    }

    /// Starts a role by a command that begins as this program does.
    pub(crate) fn spawn(mut command: Command, arguments: &[&str]) -> Self {
        // Without the terminal that the tests may have: its WINCH is not the operator's.
        // SAFETY: setsid(2) is all that happens between fork and exec.
        #[expect(unsafe_code, reason = "the standard library has no stable setsid(2)")]
        unsafe {
            command.pre_exec(|| Ok(setsid().map(drop)?));
        }
        let mut child = command
            .arg("--role")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program does not start");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut errors = child.stderr.take().expect("piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            child,
            lines,
            log: Some(log),
            workers: BTreeMap::new(),
            all: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Starts a role, and waits until `workers` are ready.
    pub(crate) fn started(arguments: &[&str], workers: usize) -> Self {
        let mut server = Self::start(arguments);
        server.wait_for_workers(workers);
        server
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// The workers that are ready, oldest process first.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let ready = self.workers.iter().filter(|(_, ready)| **ready);
        ready.map(|(pid, _)| *pid).collect()
    }

    /// Sends a signal to the arbiter, and waits until it was delivered: of equal ones that are pending,
    /// the system keeps one (signal(7)).
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        let status = format!("/proc/{}/status", self.pid());
        send(self.pid(), signal);
        wait_until("the signal's delivery", || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
            // KILL stays pending in a process that has ended by it.
            let ended = status.contains("State:\tZ");
            ended || pending.is_none_or(|set| set.trim().bytes().all(|digit| digit == b'0'))
        });
    }

    /// Waits until there are that many workers, all of them ready.
    #[track_caller]
    pub(crate) fn wait_for_workers(&mut self, count: usize) {
        self.wait_until(&format!("{count} ready workers"), |server| {
            server.workers.len() == count && server.workers.values().all(|ready| *ready)
        });
    }

    /// Waits for a line that begins so, among those that came already too.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, start: &str) -> String {
        self.wait_until(start, |server| server.line(start).is_some());
        self.line(start).expect("just seen")
    }

    /// Waits for so many lines that begin so, and gives the last of them.
    #[track_caller]
    pub(crate) fn wait_for_nth(&mut self, start: &str, count: usize) -> String {
        let nth = |server: &Self| {
            let mut lines = server.seen.iter().filter(|line| line.starts_with(start));
            lines.nth(count - 1).cloned()
        };
        self.wait_until(start, |server| nth(server).is_some());
        nth(self).expect("just seen")
    }

    /// Every line so far.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(String::as_str)
    }

    fn line(&self, start: &str) -> Option<String> {
        let mut lines = self.seen.iter();
        lines.find(|line| line.starts_with(start)).cloned()
    }

    /// The address of its only listener.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.wait_for_line("once started http://");
        let address = line
            .strip_prefix("once started http://")
            .expect("just seen");
        address.parse().expect("an address")
    }

    /// Waits for the server's own end.
    #[track_caller]
    pub(crate) fn wait_for_end(mut self) -> Ended {
        let deadline = MonoTime::now() + PATIENCE;
        while self.take_line(deadline, "the end") {}
        let status = self.child.wait().expect("our own child");
        let log = self.log.take().expect("taken once").join();
        let ended = Ended {
            status,
            log: log.expect("the log's thread panicked"),
            seen: std::mem::take(&mut self.seen),
        };
        for pid in &self.all {
            // Of one that outlives a killed arbiter, process 1 takes the remains.
            if ended.status.signal().is_some() {
                wait_until("the end of a worker", || !exists(*pid));
            }
            assert!(!exists(*pid), "worker {pid} is left: {ended:?}");
        }
        ended
    }

    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = MonoTime::now() + PATIENCE;
        while !condition(self) {
            assert!(
                self.take_line(deadline, what),
                "the server ended before {what}: {:?}",
                self.seen
            );
        }
    }

    /// Takes the next line in; `false` where there will be none.
    #[track_caller]
    fn take_line(&mut self, deadline: MonoTime, what: &str) -> bool {
        let line = match self.lines.recv_timeout(deadline.since(MonoTime::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("no {what} in time: {:?}", self.seen),
        };
        let mut words = line.split_whitespace().skip_while(|word| *word == "once");
        let what = words.next();
        let pid = words.nth(1).and_then(|word| word.parse().ok());
        match (what, pid) {
            (Some("spawned"), Some(pid)) => {
                self.workers.insert(pid, false);
                self.all.push(pid);
            }
            (Some("ready"), Some(pid)) => {
                self.workers.insert(pid, true);
            }
            (Some("exited"), Some(pid)) => {
                self.workers.remove(&pid);
            }
            _ => {}
        }
        self.seen.push(line);
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also the workers: the arbiter's end would let them finish first.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let upgraded = self
            .seen
            .iter()
            .filter_map(|line| line.strip_prefix("upgraded "));
        for pid in upgraded.filter_map(|pid| pid.parse().ok()) {
            send(pid, Signal::SIGKILL);
        }
        for pid in self.workers.keys() {
            send(*pid, Signal::SIGKILL);
        }
    }
}

/// Sends a signal as an operator would.
#[expect(clippy::disallowed_methods, reason = "the test plays the operator")]
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether there is such a process. One that is dead does not count: whoever inherits an orphan may not
/// wait for it (`proc_pid_stat(5)`).
pub(crate) fn exists(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, state)| state);
    state.is_some_and(|state| !state.starts_with('Z'))
}

/// Waits for what no line announces.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = MonoTime::now() + PATIENCE;
    while !condition() {
        assert!(MonoTime::now() < deadline, "{what}: not in time");
        thread::sleep(Duration::from_millis(5));
    }
}
