//! [`Site`]: which worker serves on which socket, and the server that does.
//!
//! With Python where this build has it, else by this program's own [role](crate::role).

use std::fmt;
use std::process::{Command, Stdio};

use crate::support::{Process, Serve, Server, eventually};

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
}

/// Every worker class on every kind of socket.
pub(crate) const SITES: [Site; 6] = [
    Site::new(1, false),
    Site::new(4, false),
    Site::new(1, true),
    Site::new(4, true),
    Site::new(1, false).with_own_queues(),
    Site::new(4, false).with_own_queues(),
];

impl Site {
    pub(crate) const fn new(threads: u32, unix: bool) -> Self {
        Self {
            threads,
            unix,
            own_queues: false,
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

    /// A server of `tests/apps/load.py` whose workers have loaded it, or of what stands for it, with these flags besides.
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
        self.open(workers, |bind| {
            let threads = self.threads.to_string();
            let app = app.bind([bind]).workers(workers);
            let app = app.args(["--threads", &threads]).args(self.flags());
            app.args(flags).spawn()
        })
    }

    /// A server that has nothing to load.
    #[track_caller]
    pub(crate) fn serve_without_python(self, workers: usize, flags: &[&str]) -> House {
        self.open(workers, |bind| {
            let mut command = Command::new(std::env::current_exe().expect("this program's path"));
            let (workers, threads) = (workers.to_string(), self.threads.to_string());
            command
                .args(["--role", "--bind", bind])
                .args(["--workers", &workers, "--threads", &threads])
                .args(self.flags())
                .args(flags)
                .stdin(Stdio::null());
            Process::spawn(&mut command, None)
        })
    }

    #[track_caller]
    fn open(self, workers: usize, start: impl FnOnce(&str) -> Process) -> House {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bind = if self.unix {
            format!("unix:{}", folder.path().join("sock").display())
        } else {
            "127.0.0.1:0".to_owned()
        };
        let server = Server::listening(start(&bind));
        server.stderr().wait_until("loaded", |lines| {
            let loaded = lines.iter().filter(|line| line.starts_with("loaded "));
            (loaded.count() == workers).then_some(())
        });
        // Whoever has a queue of its own opens it when it has loaded; a shared one is open, and is to be left empty.
        if self.own_queues {
            eventually("nobody listens", || server.address().try_client().map(drop));
        }
        House {
            server,
            _folder: folder,
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
        write!(f, "{} threads on {socket}", self.threads)
    }
}

/// A server, and the folder that it may use.
pub(crate) struct House {
    pub(crate) server: Server,
    _folder: tempfile::TempDir,
}
