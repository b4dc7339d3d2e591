//! An arbiter in a process of its own, seen from outside: [`Server`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oxicorn::time::MonoTime;

use crate::support::{Exited, PATIENCE, Process, is_there, wait_until};

/// A running role of this program.
pub(crate) struct Server {
    process: Process,
    /// The workers that exist, with whether they are ready.
    workers: BTreeMap<i32, bool>,
    /// Every worker there ever was.
    all: Vec<i32>,
    /// Every line that was printed.
    seen: Vec<String>,
}

impl Server {
    /// Starts a role.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("no path to this program");
        Self::spawn(Command::new(program), arguments)
    }

    /// Starts a role by a command that begins as this program does.
    pub(crate) fn spawn(mut command: Command, arguments: &[&str]) -> Self {
        command.arg("--role").args(arguments).stdin(Stdio::null());
        Self {
            process: Process::spawn(&mut command, None),
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
        self.process.pid().as_raw()
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

    /// Waits for the server's own end, and that of all that it has started.
    #[track_caller]
    pub(crate) fn wait_for_end(mut self) -> Exited {
        while self.take_line("the end") {}
        let ended = self.process.wait_for_streams();
        for pid in self.all {
            // Of one that outlives a killed arbiter, process 1 takes the remains.
            if ended.status > 128 {
                wait_until("the end of a worker", || !exists(pid));
            }
            assert!(!exists(pid), "worker {pid} is left: {ended:?}");
        }
        ended
    }

    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = MonoTime::now() + PATIENCE;
        while !condition(self) {
            let in_time = MonoTime::now() < deadline;
            assert!(in_time, "no {what} in time: {:?}", self.seen);
            let more = self.take_line(what);
            assert!(more, "the server ended before {what}: {:?}", self.seen);
        }
    }

    /// Takes the next line in; `false` where there will be none.
    #[track_caller]
    fn take_line(&mut self, what: &str) -> bool {
        let Some(line) = self.process.stdout.nth(self.seen.len(), what) else {
            return false;
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

/// Sends a signal as an operator would, to a process that may have gone.
#[expect(clippy::disallowed_methods, reason = "the test plays the operator")]
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether there is such a process, and no zombie.
pub(crate) fn exists(pid: i32) -> bool {
    is_there(Pid::from_raw(pid))
}
