//! One arbiter after another: the program executed anew, with the listeners that are open.

use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::server::{Server, exists, send};
use crate::support::{Address, Client, wait_until};
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    usr2_starts_an_arbiter_promoted_when_the_old_one_is_gone,
    an_upgrade_is_rolled_back_by_hup_to_old_and_term_to_new,
    a_killed_old_arbiter_leaves_everything_to_its_successor,
    a_program_that_cannot_be_executed_backs_out,
    a_successor_whose_workers_cannot_boot_ends_with_their_error,
    a_new_arbiter_that_is_never_ready_is_ended,
    a_second_usr2_is_refused_on_both_sides,
    an_upgraded_arbiter_can_be_upgraded,
    an_arbiter_can_retire_by_itself,
    service_managers_sockets_go_from_arbiter_to_arbiter,
    the_socket_file_of_a_service_manager_is_never_removed,
    a_socket_that_the_new_arbiter_drops_is_gone_with_the_old_one,
    a_socket_the_successor_never_bound_goes_with_the_old_arbiter,
    a_socket_dropped_by_the_old_arbiter_stays_for_its_successor,
    of_two_stopping_arbiters_the_last_removes_the_socket_files,
    an_ending_arbiter_leaves_the_socket_files_to_its_successor,
    a_stop_during_a_trial_removes_the_socket_files_of_both,
];

/// A folder with the pid file and the socket of a server.
struct Place {
    _folder: tempfile::TempDir,
    pid: PathBuf,
    second: PathBuf,
    socket: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        Self {
            pid: at("pid"),
            second: at("pid.2"),
            socket: at("sock"),
            _folder: folder,
        }
    }

    /// Starts a role with two workers here.
    fn start(&self, role: &str, more: &[&str]) -> Server {
        let (pid, bind) = (self.pid.display(), self.socket.display());
        let (pid, bind) = (pid.to_string(), format!("unix:{bind}"));
        let role = [&[role, "--pid", &pid, "--bind", &bind], more].concat();
        Server::started(&role, 2)
    }

    /// The process ids in `pid` and `pid.2`.
    fn pids(&self) -> [Option<i32>; 2] {
        let read = |path: &Path| fs::read_to_string(path).ok()?.trim().parse().ok();
        [read(&self.pid), read(&self.second)]
    }

    /// Whether somebody listens.
    fn listens(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    fn is_empty(&self) -> bool {
        !self.pid.exists() && !self.second.exists() && !self.socket.exists()
    }
}

/// Upgrades, and gives the new arbiter's process id when it is ready.
fn upgrade(server: &mut Server) -> i32 {
    server.signal(Signal::SIGUSR2);
    let line = server.wait_for_line("upgraded ");
    server.wait_for_workers(4);
    number(&line)
}

fn number(line: &str) -> i32 {
    let last = line.split(' ').next_back().expect("a word");
    last.parse().expect("a process id")
}

// Gunicorn: G8, G20, G22, G23, G24
fn usr2_starts_an_arbiter_promoted_when_the_old_one_is_gone() {
    let place = Place::new();
    let mut server = place.start("steady", &[]);
    let old = server.pid();
    let new = upgrade(&mut server);
    assert_eq!(place.pids(), [Some(old), Some(new)]);
    assert!(place.listens());
    server.signal(Signal::SIGTERM);
    wait_until("the old arbiter's end", || !exists(old));
    let ended = MonoTime::now();
    let promoted = server.wait_for_line("promoted ");
    assert!(MonoTime::now().since(ended) < Duration::from_millis(500));
    assert_eq!(number(&promoted), new);
    assert_eq!(place.pids(), [Some(new), None]);
    assert!(place.listens());
    send(new, Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(place.is_empty(), "{ended:?}");
    if cfg!(feature = "tracing") {
        assert!(
            ended.log().contains("Master has been promoted."),
            "{ended:?}"
        );
    }
}

// Gunicorn: G24, G25
fn an_upgrade_is_rolled_back_by_hup_to_old_and_term_to_new() {
    let place = Place::new();
    let mut server = place.start("steady", &[]);
    let (old, new) = (server.pid(), upgrade(&mut server));
    server.signal(Signal::SIGWINCH);
    server.wait_for_workers(2);
    server.signal(Signal::SIGHUP);
    server.wait_for_workers(4);
    send(new, Signal::SIGTERM);
    wait_until("the new arbiter's end", || !exists(new));
    server.wait_for_workers(2);
    assert_eq!(place.pids(), [Some(old), None]);
    assert!(place.listens());
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(place.is_empty(), "{ended:?}");
}

// Gunicorn: G23
fn a_killed_old_arbiter_leaves_everything_to_its_successor() {
    let place = Place::new();
    let mut server = place.start("steady", &[]);
    let new = upgrade(&mut server);
    server.signal(Signal::SIGKILL);
    server.wait_for_line("promoted ");
    assert_eq!(place.pids(), [Some(new), None]);
    send(new, Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert!(place.is_empty(), "{ended:?}");
}

/// Upgrades in vain: the old arbiter is as it was before. Gives the reason.
fn fail_to_upgrade(place: &Place, mut server: Server) -> String {
    let (old, workers) = (server.pid(), server.workers());
    server.signal(Signal::SIGUSR2);
    let line = server.wait_for_line("upgrade-failed ");
    server.wait_for_workers(2);
    assert_eq!(server.workers(), workers);
    assert_eq!(place.pids(), [Some(old), None]);
    assert!(place.listens());
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(place.is_empty(), "{ended:?}");
    line
}

// Gunicorn: G20
fn a_program_that_cannot_be_executed_backs_out() {
    let place = Place::new();
    let server = place.start("steady", &["--exec", "/nowhere/at/all"]);
    let line = fail_to_upgrade(&place, server);
    let reason = "cannot execute /nowhere/at/all: No such file";
    assert!(line.contains(reason), "{line}");
}

// Gunicorn: G20
fn a_successor_whose_workers_cannot_boot_ends_with_their_error() {
    let place = Place::new();
    let flag = place.pid.with_file_name("flag");
    let path = flag.display().to_string();
    let server = place.start("fails-with-flag", &["--flag", &path]);
    fs::write(&flag, "").expect("a flag");
    let line = fail_to_upgrade(&place, server);
    assert!(line.contains("the flag is up"), "{line}");
}

// Gunicorn: G20
fn a_new_arbiter_that_is_never_ready_is_ended() {
    let place = Place::new();
    let exec = ["--exec", "/bin/sleep", "--boot-timeout", "2000"];
    let line = fail_to_upgrade(&place, place.start("steady", &exec));
    assert!(line.contains("ready in time"), "{line}");
}

// Gunicorn: G19
fn a_second_usr2_is_refused_on_both_sides() {
    let place = Place::new();
    let mut server = place.start("steady", &[]);
    let (old, new) = (server.pid(), upgrade(&mut server));
    server.signal(Signal::SIGUSR2);
    send(new, Signal::SIGUSR2);
    // Both are told in order: so the first has been refused when the second is done.
    server.signal(Signal::SIGTTIN);
    send(new, Signal::SIGTTIN);
    server.wait_for_workers(6);
    assert_eq!(place.pids(), [Some(old), Some(new)]);
    server.signal(Signal::SIGTERM);
    server.wait_for_line("promoted ");
    send(new, Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert!(place.is_empty(), "{ended:?}");
    let count = |text| {
        ended
            .stdout
            .iter()
            .filter(|line| line.contains(text))
            .count()
    };
    assert_eq!(count("upgraded "), 1, "{ended:?}");
    if cfg!(feature = "tracing") {
        let refusals = ended.log().matches("Upgrade refused").count();
        assert_eq!(refusals, 2, "{ended:?}");
    }
}

// Gunicorn: G24
fn an_upgraded_arbiter_can_be_upgraded() {
    let place = Place::new();
    let mut server = place.start("steady", &[]);
    let second = upgrade(&mut server);
    server.signal(Signal::SIGTERM);
    server.wait_for_line(&format!("promoted {second}"));
    send(second, Signal::SIGUSR2);
    let third = number(&server.wait_for_nth("upgraded ", 2));
    assert_eq!(place.pids(), [Some(second), Some(third)]);
    send(second, Signal::SIGTERM);
    server.wait_for_line(&format!("promoted {third}"));
    assert_eq!(place.pids(), [Some(third), None]);
    assert!(place.listens());
    send(third, Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert!(place.is_empty(), "{ended:?}");
}

// Gunicorn: G25
fn an_arbiter_can_retire_by_itself() {
    let place = Place::new();
    let mut server = place.start("steady", &["--upgrade-retire", "yes"]);
    let old = server.pid();
    server.signal(Signal::SIGUSR2);
    let new = number(&server.wait_for_line("promoted "));
    wait_until("the old arbiter's end", || !exists(old));
    assert_eq!(place.pids(), [Some(new), None]);
    send(new, Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(place.is_empty(), "{ended:?}");
}

/// Starts a server that is handed a socket as a service manager does it: as descriptor 3, with the process id of the
/// server itself (`sd_listen_fds(3)`).
fn activated(place: &Place, socket: impl Into<OwnedFd>) -> Server {
    let socket = socket.into();
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).expect("an open socket");
    let script = format!(
        "exec 3<&{}; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"",
        socket.as_raw_fd()
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script])
        .arg(std::env::current_exe().expect("no path to this program"));
    let pid = place.pid.display().to_string();
    let mut server = Server::spawn(shell, &["steady", "--activated", "yes", "--pid", &pid]);
    server.wait_for_workers(2);
    server
}

// Gunicorn: G21
fn service_managers_sockets_go_from_arbiter_to_arbiter() {
    let place = Place::new();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("its address");
    let mut server = activated(&place, socket);
    let started = format!("once started http://{address}");
    let second = upgrade(&mut server);
    server.wait_for_nth(&started, 2);
    server.signal(Signal::SIGTERM);
    server.wait_for_line(&format!("promoted {second}"));
    send(second, Signal::SIGUSR2);
    let third = number(&server.wait_for_nth("upgraded ", 2));
    server.wait_for_nth(&started, 3);
    send(second, Signal::SIGTERM);
    server.wait_for_line(&format!("promoted {third}"));
    send(third, Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
}

// Gunicorn: G29
fn the_socket_file_of_a_service_manager_is_never_removed() {
    let place = Place::new();
    let socket = UnixListener::bind(&place.socket).expect("a socket");
    let mut server = activated(&place, socket);
    let new = upgrade(&mut server);
    server.signal(Signal::SIGTERM);
    server.wait_for_line(&format!("promoted {new}"));
    assert!(place.listens());
    send(new, Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(place.socket.exists() && !place.listens());
}

/// A folder with a list of addresses, which are sockets in it, and a server that listens there.
struct Listed {
    folder: tempfile::TempDir,
    server: Server,
}

impl Listed {
    /// With two sockets.
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        list(folder.path(), &["first", "second"]);
        let path = folder.path().display().to_string();
        let server = Server::started(&["listed", &path], 1);
        Self { folder, server }
    }

    fn list(&self, names: &[&str]) {
        list(self.folder.path(), names);
    }

    /// Starts a request that takes as long as the guard is there.
    fn hold(&mut self) -> (Client, Guard) {
        let guard = self.guard("hold");
        let mut client = Address::Unix(self.folder.path().join("first")).client();
        client.send_last("/hold");
        self.server.wait_for_line("begun");
        (client, guard)
    }

    fn guard(&self, name: &str) -> Guard {
        let path = self.folder.path().join(name);
        fs::write(&path, "").expect("a file");
        Guard(path)
    }

    fn upgrade(&mut self) -> i32 {
        self.server.signal(Signal::SIGUSR2);
        let new = number(&self.server.wait_for_line("upgraded "));
        self.server.wait_for_workers(2);
        new
    }

    /// Has an arbiter read the list again, and waits until a worker of the former settings has left.
    fn reload(&mut self, arbiter: i32) {
        send(arbiter, Signal::SIGHUP);
        self.server.wait_for_line("exited ");
    }

    /// Ends the first arbiter, and waits until the second is alone.
    fn end_the_first(&mut self) {
        self.server.signal(Signal::SIGTERM);
        self.server.wait_for_line("promoted ");
    }

    /// Whether each is listened on; the other sockets' files are gone.
    #[track_caller]
    fn assert_there_is(&self, names: &[&str]) {
        for name in ["first", "second"] {
            let path = self.folder.path().join(name);
            if names.contains(&name) {
                assert!(UnixStream::connect(&path).is_ok(), "{name}");
            } else {
                wait_until(name, || !path.exists());
            }
        }
    }

    #[track_caller]
    fn end(self, arbiter: i32) {
        send(arbiter, Signal::SIGTERM);
        let ended = self.server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
        let left = fs::read_dir(self.folder.path()).expect("the folder");
        let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["binds"], "{ended:?}");
    }
}

fn list(folder: &Path, names: &[&str]) {
    let line = |name| format!("unix:{}\n", folder.join(name).display());
    let lines: String = names.iter().map(line).collect();
    fs::write(folder.join("binds"), lines).expect("a list");
}

/// A file that somebody waits for the end of.
struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

// Gunicorn: G24
fn a_socket_that_the_new_arbiter_drops_is_gone_with_the_old_one() {
    let mut place = Listed::start();
    let new = place.upgrade();
    place.list(&["first"]);
    place.reload(new);
    // The old one serves it still.
    place.assert_there_is(&["first", "second"]);
    place.end_the_first();
    place.assert_there_is(&["first"]);
    place.end(new);
}

// Gunicorn: G24
fn a_socket_the_successor_never_bound_goes_with_the_old_arbiter() {
    let mut place = Listed::start();
    place.list(&["first"]);
    let new = place.upgrade();
    place.assert_there_is(&["first", "second"]);
    place.end_the_first();
    place.assert_there_is(&["first"]);
    place.end(new);
}

// Gunicorn: G24
fn a_socket_dropped_by_the_old_arbiter_stays_for_its_successor() {
    for back_out in [false, true] {
        let mut place = Listed::start();
        let (old, new) = (place.server.pid(), place.upgrade());
        place.list(&["first"]);
        place.reload(old);
        place.assert_there_is(&["first", "second"]);
        if back_out {
            send(new, Signal::SIGTERM);
            place.assert_there_is(&["first"]);
            place.end(old);
        } else {
            place.end_the_first();
            place.assert_there_is(&["first", "second"]);
            place.end(new);
        }
    }
}

// Gunicorn: G24
fn of_two_stopping_arbiters_the_last_removes_the_socket_files() {
    let mut place = Listed::start();
    let (_client, hold) = place.hold();
    let (old, new) = (place.server.pid(), place.upgrade());
    place.server.signal(Signal::SIGTERM);
    place.server.wait_for_line("stopping");
    place.assert_there_is(&["first", "second"]);
    send(new, Signal::SIGTERM);
    place.assert_there_is(&[]);
    assert!(exists(old));
    drop(hold);
    place.end(old);
}

fn an_ending_arbiter_leaves_the_socket_files_to_its_successor() {
    let place = Place::new();
    let flag = place.pid.with_file_name("flag");
    let mut server = place.start("lingers", &["--flag", &flag.to_string_lossy()]);
    let new = upgrade(&mut server);
    server.signal(Signal::SIGTERM);
    server.wait_for_line("lingers");
    send(new, Signal::SIGTERM);
    wait_until("the new arbiter's end", || !exists(new));
    assert!(place.is_empty());
    fs::write(&flag, "").expect("a flag");
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
}

// Gunicorn: G24
fn a_stop_during_a_trial_removes_the_socket_files_of_both() {
    let mut place = Listed::start();
    let (_client, hold) = place.hold();
    let boot = place.guard("boot");
    let old = place.server.pid();
    place.list(&["first"]);
    place.server.signal(Signal::SIGHUP);
    place.server.wait_for_line("spawned 2");
    place.assert_there_is(&["first", "second"]);
    place.server.signal(Signal::SIGTERM);
    place.assert_there_is(&[]);
    assert!(exists(old));
    drop((hold, boot));
    place.end(old);
}
