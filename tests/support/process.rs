//! [`Process`]: a child in a session of its own, with its output line by line.
//!
//! Whatever a test does, nothing of the group outlives it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, setsid};
use oxicorn::time::MonoTime;

use super::{PATIENCE, eventually, wait_until};

/// The lines of one stream, as they come.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Reads a stream whose lines end with `end`, without their ends.
    fn read(stream: impl Read + Send + 'static, end: u8) -> Self {
        let lines = Self::default();
        let sink = lines.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(end, &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(char::from(end));
                sink.lock().lines.push(text.to_owned());
                sink.0.1.notify_all();
                line.clear();
            }
            sink.lock().ended = true;
            sink.0.1.notify_all();
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.0.lock().expect("no reader panics")
    }

    /// What has come so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Whether a line that contains `text` has come.
    pub(crate) fn contain(&self, text: &str) -> bool {
        self.lock().lines.iter().any(|line| line.contains(text))
    }

    /// Waits for a line that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |lines| {
            lines.iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// Waits until the lines have an answer.
    #[track_caller]
    pub(crate) fn wait_until<T>(
        &self,
        what: &str,
        mut answer: impl FnMut(&[String]) -> Option<T>,
    ) -> T {
        let start = MonoTime::now();
        let mut collected = self.lock();
        loop {
            if let Some(answer) = answer(&collected.lines) {
                return answer;
            }
            let waited = MonoTime::now().since(start);
            if waited >= PATIENCE || collected.ended {
                let lines = collected.lines.join("\n");
                drop(collected);
                panic!("no line with {what:?} came:\n{lines}");
            }
            let (next, _) = self
                .0
                .1
                .wait_timeout(collected, PATIENCE.saturating_sub(waited))
                .expect("no reader panics");
            collected = next;
        }
    }

    /// Waits for the line of that number, the first being 0; `None` where the stream ends before.
    #[track_caller]
    pub(crate) fn nth(&self, number: usize, what: &str) -> Option<String> {
        let mut collected = self.lock();
        let start = MonoTime::now();
        while collected.lines.len() <= number && !collected.ended {
            let waited = MonoTime::now().since(start);
            assert!(waited < PATIENCE, "no {what}: {:?}", collected.lines);
            let left = PATIENCE.saturating_sub(waited);
            let woken = self.0.1.wait_timeout(collected, left);
            collected = woken.expect("no reader panics").0;
        }
        collected.lines.get(number).cloned()
    }

    fn wait_for_end(&self) {
        let collected = self.lock();
        let wait = self
            .0
            .1
            .wait_timeout_while(collected, PATIENCE, |c| !c.ended);
        let ended = wait.expect("no reader panics").0.ended;
        assert!(ended, "somebody still holds the stream");
    }
}

/// A process that has come to its end.
#[derive(Debug)]
pub(crate) struct Exited {
    /// The status, or 128 and the signal's number, as a shell shows it.
    pub(crate) status: i32,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Exited {
    /// The error stream as one text.
    pub(crate) fn log(&self) -> String {
        self.stderr.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// The last line of the error stream.
    pub(crate) fn last(&self) -> &str {
        self.stderr.last().map_or("", String::as_str)
    }
}

/// A running process.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Process {
    /// Starts it, controlled by this terminal or by none: the signals of the test's own are not for a server.
    pub(crate) fn spawn(command: &mut Command, terminal: Option<PathBuf>) -> Self {
        command.stderr(Stdio::piped());
        let (mut child, stdout) = Self::start(command, terminal);
        let stderr = child.stderr.take().expect("it is piped");
        let stderr = Lines::read(stderr, b'\n');
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Starts it with a terminal as its error stream. What is shown there ends at each return of the cursor to its line's
    /// begin, and begins with a line feed where the cursor goes to the next line.
    pub(crate) fn spawn_on_terminal(command: &mut Command) -> Self {
        let terminal = openpty(None, None).expect("a terminal");
        command.stderr(terminal.slave);
        let (child, stdout) = Self::start(command, None);
        // Or this process would hold the terminal open.
        command.stderr(Stdio::null());
        let stderr = Lines::read(File::from(terminal.master), b'\r');
        Self {
            child,
            stdout,
            stderr,
        }
    }

    fn start(command: &mut Command, terminal: Option<PathBuf>) -> (Child, Lines) {
        lead_a_session(command, terminal);
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdout = child.stdout.take().expect("it is piped");
        (child, Lines::read(stdout, b'\n'))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// The group's other living members, the server's workers for one.
    pub(crate) fn others(&self) -> Vec<Pid> {
        let mut pids = members(self.pid());
        pids.retain(|pid| *pid != self.pid());
        pids
    }

    /// Waits for the process to end by itself, with nothing of its group left.
    #[track_caller]
    pub(crate) fn wait(self) -> Exited {
        // A killed worker may take a moment to go.
        self.wait_for_group(Duration::from_millis(500))
    }

    /// The same, where its group may outlive the process for a while.
    #[track_caller]
    pub(crate) fn wait_for_group(mut self, patience: Duration) -> Exited {
        let status = self.status();
        let (start, mut left) = (MonoTime::now(), members(self.pid()));
        while !left.is_empty() && MonoTime::now().since(start) < patience {
            std::thread::sleep(Duration::from_millis(5));
            left = members(self.pid());
        }
        let stderr = self.stderr.all().join("\n");
        assert!(left.is_empty(), "{left:?} are left behind:\n{stderr}");
        self.exited(status)
    }

    /// Waits for the process, and for all that write to its streams: another one that it has started too.
    #[track_caller]
    pub(crate) fn wait_for_streams(mut self) -> Exited {
        let status = self.status();
        self.exited(status)
    }

    #[track_caller]
    fn status(&mut self) -> ExitStatus {
        eventually("the process has not ended", || {
            self.child.try_wait().expect("it is our child")
        })
    }

    #[track_caller]
    fn exited(&self, status: ExitStatus) -> Exited {
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        Exited {
            status: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // ESRCH: all of them have ended already.
        let killed = killpg(self.pid(), Signal::SIGKILL);
        debug_assert!(matches!(killed, Ok(()) | Err(Errno::ESRCH)), "{killed:?}");
        if self.child.wait().is_ok() && std::thread::panicking() {
            eprintln!("--- its stderr:\n{}", self.stderr.all().join("\n"));
        }
    }
}

/// Has a command lead a session of its own. The first terminal that such a process opens controls it (tty(4)).
fn lead_a_session(command: &mut Command, terminal: Option<PathBuf>) {
    let lead = move || {
        setsid()?;
        if let Some(terminal) = &terminal {
            open(terminal, OFlag::O_RDWR, Mode::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes two system calls, and allocates nothing: nix copies a path to the stack.
    #[expect(unsafe_code, reason = "the standard library has no stable setsid(2)")]
    unsafe {
        command.pre_exec(lead);
    }
}

/// Sends a signal to a process that is there.
#[expect(clippy::disallowed_methods, reason = "that is what the test is about")]
pub(crate) fn send(pid: Pid, signal: Signal) {
    kill(pid, signal).unwrap_or_else(|e| panic!("{signal} to {pid}: {e}"));
}

/// Stops a process, and waits until each of its threads stands still: they may run on for a moment after the signal.
pub(crate) fn suspend(pid: Pid) {
    send(pid, Signal::SIGSTOP);
    let stands_still = || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
        let mut stats = threads.map(|thread| Stat::of(&thread.ok()?.path()));
        stats.all(|stat| stat.is_some_and(|stat| stat.state == 'T'))
    };
    wait_until("the process runs on", stands_still);
}

/// A process or a thread, as `proc_pid_stat(5)` has it.
struct Stat {
    state: char,
    parent: i32,
    group: i32,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        Self::of(Path::new(&format!("/proc/{pid}")))
    }

    /// That of a process or a thread that has this folder.
    fn of(folder: &Path) -> Option<Self> {
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        // The command's name is in parentheses and may hold anything; state, parent and group follow it.
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        let (state, parent, group) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self {
            state: state.chars().next()?,
            parent: parent.parse().ok()?,
            group: group.parse().ok()?,
        })
    }

    fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Every process that there is.
fn processes() -> impl Iterator<Item = (Pid, Stat)> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw)
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
}

/// Whether a process is there, and no zombie: what inherits an orphan may not wait for it.
pub(crate) fn is_there(pid: Pid) -> bool {
    Stat::read(pid).is_some_and(|stat| !stat.is_zombie())
}

/// The children of a process, each with whether it is a zombie.
pub(crate) fn children(parent: Pid) -> Vec<(Pid, bool)> {
    processes()
        .filter(|(_, stat)| stat.parent == parent.as_raw())
        .map(|(pid, stat)| (pid, stat.is_zombie()))
        .collect()
}

/// The processes of a group that are not zombies.
fn members(group: Pid) -> Vec<Pid> {
    processes()
        .filter(|(_, stat)| stat.group == group.as_raw() && !stat.is_zombie())
        .map(|(pid, _)| pid)
        .collect()
}
