//! [`Site`]: which worker serves on which socket, and the server that does.
//!
//! With Python where this build has it, else by this program's own [role](crate::role).

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{PATIENCE, Process, Serve, Server, root};

/// Whether this build serves applications.
pub(crate) const PYTHON: bool = cfg!(all(feature = "wsgi", feature = "cli", feature = "tracing"));

/// Clients that keep their connections, and as many that do not.
pub(crate) const CLIENTS: usize = 32;

/// How many requests the whole of a scenario asks for.
pub(crate) const REQUESTS: u64 = 200_000;

/// A worker class and a kind of socket.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    threads: u32,
    unix: bool,
    /// Whether each worker has a queue of its own.
    own_queues: bool,
    /// Whether a configuration file has hooks for all that happens to workers.
    hooked: bool,
}

/// Every worker class on every kind of socket, and each with hooks.
pub(crate) const SITES: [Site; 8] = [
    Site::new(1, false),
    Site::new(4, false),
    Site::new(1, true),
    Site::new(4, true),
    Site::new(1, false).with_own_queues(),
    Site::new(4, false).with_own_queues(),
    Site::new(1, false).with_hooks(),
    Site::new(4, true).with_hooks(),
];

impl Site {
    pub(crate) const fn new(threads: u32, unix: bool) -> Self {
        Self {
            threads,
            unix,
            own_queues: false,
            hooked: false,
        }
    }

    pub(crate) const fn with_hooks(self) -> Self {
        Self {
            hooked: PYTHON,
            ..self
        }
    }

    const fn with_own_queues(self) -> Self {
        Self {
            own_queues: true,
            ..self
        }
    }

    /// Whether all workers have the same queue: then one may leave that nobody replaces.
    pub(crate) const fn is_shared(self) -> bool {
        !self.own_queues
    }

    fn flags(self) -> &'static [&'static str] {
        if self.own_queues {
            &["--reuse-port"]
        } else {
            &[]
        }
    }

    /// A server of `tests/apps/load.py` whose workers are ready, or of what stands for it, with these flags besides.
    #[track_caller]
    pub(crate) fn serve(self, workers: usize, flags: &[&str]) -> House {
        if PYTHON {
            self.serve_app(Serve::app("load:app"), workers, flags)
        } else {
            self.serve_without_python(workers, flags)
        }
    }

    /// A server of another application.
    #[track_caller]
    pub(crate) fn serve_app(self, app: Serve, workers: usize, flags: &[&str]) -> House {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let told = folder.path().join("notify");
        let manager = UnixDatagram::bind(&told).expect("a socket");
        let threads = self.threads.to_string();
        let app = app.bind([self.bind(&folder)]).workers(workers);
        let app = app.args(["--threads", &threads]).args(self.flags());
        let app = app.args(flags).env("NOTIFY_SOCKET", told);
        let app = if self.hooked {
            app.args([
                "-c".as_ref(),
                root().join("tests/apps/hooked.conf.py").as_os_str(),
            ])
        } else {
            app
        };
        let server = Server::listening(app.spawn());
        wait_until_ready(&manager);
        House {
            server,
            _folder: folder,
        }
    }

    /// A server that has nothing to load.
    #[track_caller]
    pub(crate) fn serve_without_python(self, workers: usize, flags: &[&str]) -> House {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(std::env::current_exe().expect("this program's path"));
        command
            .args(["--role", "--bind", &self.bind(&folder)])
            .args(["--workers", &workers.to_string()])
            .args(["--threads", &self.threads.to_string()])
            .args(self.flags())
            .args(flags)
            .stdin(Stdio::null());
        let server = Server::listening(Process::spawn(&mut command, None));
        server.stderr().wait_until("ready", |lines| {
            let ready = lines.iter().filter(|line| line.starts_with("ready "));
            (ready.count() == workers).then_some(())
        });
        House {
            server,
            _folder: folder,
        }
    }

    fn bind(self, folder: &TempDir) -> String {
        if self.unix {
            format!("unix:{}", folder.path().join("sock").display())
        } else {
            "127.0.0.1:0".to_owned()
        }
    }
}

/// Waits until a server says that all its workers are ready (`sd_notify(3)`). An import that is over is less: a worker
/// that is stopped or told to leave in the moment after it answers nobody.
#[track_caller]
fn wait_until_ready(manager: &UnixDatagram) {
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut message = [0; 500];
    loop {
        let length = manager.recv(&mut message).expect("a message in time");
        if message[..length].starts_with(b"READY=1") {
            return;
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = match (self.unix, self.own_queues) {
            (true, _) => "a unix socket",
            (_, true) => "TCP with a queue each",
            (_, false) => "TCP",
        };
        let hooks = if self.hooked { ", with hooks" } else { "" };
        write!(f, "{} threads on {socket}{hooks}", self.threads)
    }
}

/// A server, and the folder that it may use.
pub(crate) struct House {
    pub(crate) server: Server,
    _folder: TempDir,
}
