//! [`Serve`]: how an example of this package is started; [`Server`]: one that runs.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{
    Browser, Client, Exited, Lines, PATIENCE, Process, Response, eventually, root, target,
};

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// A path, or an abstract name after `@`.
    Unix(PathBuf),
}

impl Address {
    /// As a log line has it: `http://127.0.0.1:8000`, `https://127.0.0.1:8443`, `unix:/run/x.sock` or `unix:@x`.
    fn parse(url: &str) -> Option<Self> {
        if let Some(path) = url.strip_prefix("unix:") {
            return Some(Self::Unix(path.into()));
        }
        let secure = url.strip_prefix("https://");
        let address = secure.or_else(|| url.strip_prefix("http://"))?;
        address.parse().ok().map(Self::Tcp)
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.connect()
            .unwrap_or_else(|e| panic!("cannot connect to {self:?}: {e}"))
    }

    /// A connection to a server that may have gone.
    pub(crate) fn try_client(&self) -> Option<Client> {
        self.connect().ok()
    }

    pub(crate) fn connect(&self) -> std::io::Result<Client> {
        match self {
            Self::Tcp(address) => TcpStream::connect_timeout(address, PATIENCE).map(Client::tcp),
            Self::Unix(path) => unix(path).map(Client::unix),
        }
    }
}

fn unix(path: &Path) -> std::io::Result<UnixStream> {
    match path.as_os_str().as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => UnixStream::connect_addr(&unix::SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(path),
    }
}

/// A server to be started.
pub(crate) struct Serve {
    command: Command,
    app: Option<String>,
    binds: Vec<String>,
    workers: usize,
    terminal: Option<PathBuf>,
}

impl Serve {
    /// `examples/serve.rs` with an application of `tests/apps`, one worker and a free port.
    pub(crate) fn app(app: &str) -> Self {
        let mut serve = Self::example("serve");
        serve.app = Some(app.to_owned());
        serve.binds.push("127.0.0.1:0".to_owned());
        serve.chdir(root().join("tests/apps"))
    }

    /// `examples/serve.rs` with these arguments and no others.
    pub(crate) fn command_line<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::example("serve").args(args)
    }

    /// Another example.
    pub(crate) fn example(name: &str) -> Self {
        Self::program(binary(name))
    }

    /// A program at a path.
    pub(crate) fn program(path: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(path);
        // What the developer's own shell has set must not reach the server.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PYTHON") || text.starts_with("GUNICORN") {
                command.env_remove(name);
            }
        }
        for name in [
            "VIRTUAL_ENV",
            "PORT",
            "SCRIPT_NAME",
            "FORWARDED_ALLOW_IPS",
            "LISTEN_FDS",
            "LISTEN_PID",
            "NOTIFY_SOCKET",
            "NO_COLOR",
        ] {
            command.env_remove(name);
        }
        command
            .env("PYTHONPYCACHEPREFIX", target().join("pycache"))
            .stdin(Stdio::null());
        Self {
            command,
            app: None,
            binds: Vec::new(),
            workers: 1,
            terminal: None,
        }
    }

    pub(crate) fn chdir(self, folder: impl AsRef<Path>) -> Self {
        self.args([OsStr::new("--chdir"), folder.as_ref().as_os_str()])
    }

    /// In place of the free port; repeatable.
    pub(crate) fn bind<S: Into<String>>(mut self, addresses: impl IntoIterator<Item = S>) -> Self {
        self.binds = addresses.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Has a shell start it after `prelude`: with other limits, say.
    pub(crate) fn after(mut self, prelude: &str) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{prelude} && exec \"$0\" \"$@\"")])
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::null());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        self.command = shell;
        self
    }

    /// Has a terminal control the process.
    pub(crate) fn at_terminal(mut self, terminal: PathBuf) -> Self {
        self.terminal = Some(terminal);
        self
    }

    /// The folder in which the process starts, where it is not the package's.
    pub(crate) fn started_in(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(mut self) -> Process {
        self.complete();
        Process::spawn(&mut self.command, self.terminal)
    }

    /// The same, with a terminal as its error stream.
    pub(crate) fn spawn_on_terminal(mut self) -> Process {
        self.complete();
        Process::spawn_on_terminal(self.command.env("TERM", "linux"))
    }

    /// Adds the arguments that are still missing.
    fn complete(&mut self) {
        for bind in &self.binds {
            self.command.args(["--bind", bind]);
        }
        if let Some(app) = &self.app {
            self.command
                .args(["--workers", &self.workers.to_string(), app]);
        }
    }

    /// Starts it, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        Server::listening(self.spawn())
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Exited {
        self.spawn().wait()
    }
}

/// A server that listens.
pub(crate) struct Server {
    process: Process,
    pub(crate) addresses: Vec<Address>,
}

impl Server {
    /// Waits until a process listens.
    #[track_caller]
    pub(crate) fn listening(process: Process) -> Self {
        let line = process.stderr.wait_for("Listening at: ");
        let urls = line.rsplit("Listening at: ").next().unwrap_or("");
        let (urls, _pid) = urls.split_once(" (").expect("the process id comes last");
        let addresses = urls
            .split(',')
            .map(|url| Address::parse(url.trim()).unwrap_or_else(|| panic!("{line}")))
            .collect();
        Self { process, addresses }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.addresses[0]
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.address().client()
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.client().get(target)
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address().clone())
    }

    /// The arbiter's.
    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn stderr(&self) -> &Lines {
        &self.process.stderr
    }

    pub(crate) fn stdout(&self) -> &Lines {
        &self.process.stdout
    }

    /// Waits until that many workers live, and tells their process ids, oldest first.
    #[track_caller]
    pub(crate) fn workers(&self, count: usize) -> Vec<Pid> {
        let booted = || -> Vec<Pid> {
            let (all, living) = (self.stderr().all(), self.process.others());
            all.iter()
                .filter_map(|line| line.split_once("Booting worker with pid: "))
                .filter_map(|(_, pid)| pid.trim().parse().ok().map(Pid::from_raw))
                .filter(|pid| living.contains(pid))
                .collect()
        };
        eventually(&format!("not {count} workers"), || {
            Some(booted()).filter(|pids| pids.len() == count)
        })
    }

    /// The most memory that one of its processes has ever had, in KiB (`proc_pid_status(5)`).
    #[track_caller]
    pub(crate) fn peak_memory(pid: Pid) -> usize {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse().ok())
            .expect("a number of KiB")
    }

    /// Waits until the server has ended by itself, with nothing of it left.
    #[track_caller]
    pub(crate) fn wait(self) -> Exited {
        self.process.wait()
    }

    /// The same for a server that was killed: its workers need a moment to notice.
    #[track_caller]
    pub(crate) fn wait_for_orphans(self) -> Exited {
        self.process.wait_for_group(PATIENCE)
    }

    /// Ends it gracefully.
    #[track_caller]
    pub(crate) fn stop(self) -> Exited {
        self.signal(Signal::SIGTERM);
        let exited = self.wait();
        assert_eq!(exited.status, 0, "{exited:#?}");
        exited
    }
}

/// An example's binary, which `cargo test` has built beside this test, unless that was told to build this
/// test alone: then what is there may be old, or lack a feature that is off by default.
fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let exe = std::env::current_exe().expect("the test's own path");
    let profile = exe.ancestors().nth(2).expect("target/PROFILE/deps/it");
    let path = profile.join("examples").join(name);
    BUILT.get_or_init(|| {
        let built = fs::metadata(&path).and_then(|m| m.modified()).ok();
        let is_special = cfg!(any(
            feature = "tls",
            feature = "tls-aws-lc",
            feature = "toml"
        ));
        if is_special || built.is_none_or(|built| built < newest(&root().join("src"))) {
            build();
        }
    });
    path
}

fn build() {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--examples", "--no-default-features"]);
    let features = [
        ("wsgi", cfg!(feature = "wsgi")),
        ("cli", cfg!(feature = "cli")),
        ("tracing", cfg!(feature = "tracing")),
        ("systemd", cfg!(feature = "systemd")),
        ("toml", cfg!(feature = "toml")),
        ("tls", cfg!(feature = "tls")),
        ("tls-aws-lc", cfg!(feature = "tls-aws-lc")),
    ];
    for (feature, _) in features.iter().filter(|(_, on)| *on) {
        cargo.args(["--features", feature]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.arg("--target-dir").arg(target()).current_dir(root());
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "{cargo:?} failed");
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).expect("the sources are readable");
    entries
        .flatten()
        .map(|entry| {
            if entry.path().is_dir() {
                return newest(&entry.path());
            }
            let modified = entry.metadata().and_then(|m| m.modified());
            modified.unwrap_or(SystemTime::UNIX_EPOCH)
        })
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
