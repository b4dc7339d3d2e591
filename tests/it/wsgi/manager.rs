//! A service manager's part, played over its own protocol: `sd_notify(3)` and `sd_listen_fds(3)`.

use std::cell::Cell;
use std::io::IoSliceMut;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::unistd::Pid;

use crate::support::{Address, PATIENCE, Serve, Server, send};

/// What a server is told to talk to; it knows who talks (`SCM_CREDENTIALS`, unix(7)).
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    /// A `STOPPING=1` ends a unit, whoever says it.
    stops: Cell<usize>,
    /// Who has named another one as the main process: it is not heard any more (`NotifyAccess=main`).
    former: Cell<Option<Pid>>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        setsockopt(&socket, sockopt::PassCred, &true).expect("credentials");
        Self {
            folder,
            socket,
            stops: Cell::new(0),
            former: Cell::new(None),
        }
    }

    /// Has a server talk to it.
    fn manage(&self, serve: Serve) -> Serve {
        serve.env("NOTIFY_SOCKET", self.folder.path().join("notify"))
    }

    /// The next message, and who sent it.
    fn hear(&self) -> (Pid, String) {
        let mut buffer = [0; 500];
        let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
        let fd = self.socket.as_raw_fd();
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<()>(fd, &mut parts, Some(&mut space), MsgFlags::empty());
        let message = message.expect("a message in time");
        let sender = message.cmsgs().expect("it is whole").find_map(|part| {
            let ControlMessageOwned::ScmCredentials(who) = part else {
                return None;
            };
            Some(Pid::from_raw(who.pid()))
        });
        let length = message.bytes;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let sender = sender.expect("it was asked for");
        assert_ne!(self.former.get(), Some(sender), "{text}");
        for line in text.lines() {
            self.stops
                .set(self.stops.get() + usize::from(line == "STOPPING=1"));
            let main = line.strip_prefix("MAINPID=");
            if main.is_some_and(|main| main != sender.to_string()) {
                self.former.set(Some(sender));
            }
        }
        (sender, text.trim_end().to_owned())
    }

    /// Waits for a message of that process that begins so; before it there is only news.
    #[track_caller]
    fn wait_for(&self, pid: Pid, start: &str) -> String {
        loop {
            let (sender, text) = self.hear();
            if sender == pid && text.starts_with(start) {
                return text;
            }
            let news = ["STATUS=", "WATCHDOG=1", "READY=1"];
            let expected = news.iter().any(|news| text.starts_with(news));
            assert!(expected, "{text:?} of {sender} before {start:?} of {pid}");
        }
    }
}

/// Upgrades a server, and gives the new arbiter's process id.
fn upgrade(server: &Server) -> Pid {
    server.signal(Signal::SIGUSR2);
    let line = server.stderr().wait_for(") serves: stop this one");
    let (_, rest) = line.split_once("(pid:").expect("its process id");
    let (pid, _) = rest.split_once(')').expect("its end");
    Pid::from_raw(pid.parse().expect("a number"))
}

// Gunicorn: G30
#[test]
fn manager_is_told_of_readiness_reloads_and_the_stop() {
    let manager = Manager::new();
    let server = manager.manage(Serve::app("probe:app").workers(2)).start();
    let pid = server.pid();
    let ready = manager.wait_for(pid, "READY=1");
    assert!(ready.contains("\nSTATUS=2 of 2 workers serve"), "{ready}");
    server.signal(Signal::SIGHUP);
    let reloading = manager.wait_for(pid, "RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    manager.wait_for(pid, "READY=1");
    server.signal(Signal::SIGTERM);
    manager.wait_for(pid, "STOPPING=1");
    server.wait();
}

// Gunicorn: G30
#[test]
fn manager_that_asks_for_it_hears_that_the_arbiter_is_alive() {
    let manager = Manager::new();
    let serve = Serve::app("probe:app").env("WATCHDOG_USEC", "200000");
    let server = manager.manage(serve).start();
    for _ in 0..3 {
        manager.wait_for(server.pid(), "WATCHDOG=1");
    }
    server.stop();
}

// Gunicorn: G30
#[test]
fn manager_with_its_own_sockets_follows_through_an_upgrade() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = Address::Tcp(listener.local_addr().expect("it is bound"));
    let manager = Manager::new();
    let serve = Serve::command_line(["probe:app"])
        .chdir(crate::support::root().join("tests/apps"))
        .after("exec 3<&0 && export LISTEN_PID=$$ LISTEN_FDS=1 WATCHDOG_PID=$$")
        .env("WATCHDOG_USEC", "200000")
        .stdin(OwnedFd::from(listener));
    let server = manager.manage(serve).start();
    let old = server.pid();
    manager.wait_for(old, "READY=1");
    address.client().get("/pid").expect(200);

    let new = upgrade(&server);
    // The unit's main process is the old one still: with its end it would end.
    server.signal(Signal::SIGTERM);
    let main = manager.wait_for(old, "MAINPID=");
    assert_eq!(main, format!("MAINPID={new}"));
    let promoted = manager.wait_for(new, "MAINPID=");
    let told = format!("MAINPID={new}\nREADY=1\nSTATUS=1 of 1 workers serve");
    assert_eq!(promoted, told);
    manager.wait_for(new, "WATCHDOG=1");
    assert_eq!(manager.stops.get(), 0);
    address.client().get("/pid").expect(200);

    send(new, Signal::SIGHUP);
    manager.wait_for(new, "RELOADING=1");
    manager.wait_for(new, "READY=1");
    send(new, Signal::SIGTERM);
    manager.wait_for(new, "STOPPING=1");
    assert_eq!(server.wait_for_orphans().status, 0);
}

// Gunicorn: G30
#[test]
fn manager_hears_of_no_stop_where_an_upgrade_is_taken_back() {
    let manager = Manager::new();
    let server = manager.manage(Serve::app("probe:app")).start();
    let old = server.pid();
    manager.wait_for(old, "READY=1");
    let new = upgrade(&server);
    send(new, Signal::SIGTERM);
    server.stderr().wait_for("this one goes on");
    server.signal(Signal::SIGHUP);
    manager.wait_for(old, "RELOADING=1");
    manager.wait_for(old, "READY=1");
    assert_eq!(manager.stops.get(), 0);
    server.signal(Signal::SIGTERM);
    manager.wait_for(old, "STOPPING=1");
    server.wait();
}
