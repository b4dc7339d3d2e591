//! Workers that are somebody else than their arbiter.
//!
//! The role first, then the tests that start it. All but one need root, and are passed over without.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::signal::Signal;
use nix::unistd::{Group, User, geteuid};
use oxicorn::config::Settings;
use oxicorn::hooks::WorkerInfo;
use oxicorn::{Hooks, Request, Responder, Result};

use crate::roles::tell;
use crate::server::{Server, exists};
use crate::support::{Client, wait_until};
use crate::{Test, tests};

/// The arguments: user, group, `initgroups` or not, and the path of a Unix socket.
pub(crate) fn play(arguments: &[String]) -> Option<Result<()>> {
    let [role, user, group, initgroups, socket] = arguments else {
        return None;
    };
    (role == "user").then(|| serve(user, group, initgroups == "initgroups", socket))
}

fn given(text: &str) -> Option<String> {
    (text != "-").then(|| text.to_owned())
}

/// Prints who a worker is before it is somebody else.
struct Printing;

impl Hooks for Printing {
    fn post_fork(&self, _: &WorkerInfo) -> Result<()> {
        println!("post_fork {}", geteuid());
        Ok(())
    }
}

fn serve(user: &str, group: &str, initgroups: bool, socket: &str) -> Result<()> {
    let mut settings = Settings::default();
    settings.bind = vec!["127.0.0.1:0".to_owned(), format!("unix:{socket}")];
    settings.user = given(user);
    settings.group = given(group);
    settings.initgroups = initgroups;
    settings.umask = Some(0o007);
    let answer = |request: Request<'_>, reply: Responder<'_>| {
        if request.path() == "/for-ever" {
            println!("begun");
            loop {
                std::thread::park();
            }
        }
        reply.text(200, fs::read_to_string("/proc/self/status")?)
    };
    oxicorn::Server::from_settings(&settings)?
        .hooks(Printing)
        .observe(tell)
        .serve(answer)
}

pub(crate) const TESTS: &[Test] = tests![
    workers_become_the_user_after_post_fork_without_its_groups,
    initgroups_gives_a_worker_the_groups_of_its_user,
    an_unavailable_user_is_refused_before_anything_is_opened,
    the_arbiters_death_reaches_a_worker_of_another_user,
];

fn start(user: &str, group: &str, initgroups: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("socket");
    let socket = socket.to_str().expect("UTF-8");
    let server = Server::started(&["user", user, group, initgroups, socket], 1);
    (server, folder)
}

/// Its TCP address.
fn address(server: &mut Server) -> String {
    let line = server.wait_for_line("started http://");
    let addresses = line.trim_start_matches("started http://");
    addresses.split(',').next().expect("there are two").into()
}

fn ask(server: &mut Server, path: &str) -> Client {
    let mut client = Client::connect(address(server).parse().expect("an address"));
    client.send_last(path);
    client
}

/// The numbers of a line of the worker's own status.
fn facts(server: &mut Server) -> impl Fn(&str) -> Vec<u32> + use<> {
    let status = ask(server, "/").read_all();
    move |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let words = line.expect("proc_pid_status(5) has it").split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    }
}

fn nobody() -> Option<User> {
    let user = User::from_name("nobody").ok().flatten();
    user.filter(|_| geteuid().is_root())
}

// Gunicorn: G33, G59, G66, S36, S37, S39
fn workers_become_the_user_after_post_fork_without_its_groups() {
    let Some(user) = nobody() else { return };
    let (uid, main) = (user.uid.as_raw(), user.gid.as_raw());
    for (given, group, gid) in [("nobody".to_owned(), "-", main), (uid.to_string(), "7", 7)] {
        let (mut server, folder) = start(&given, group, "-");
        let facts = facts(&mut server);
        assert_eq!(facts("Uid:"), [uid; 4]);
        assert_eq!(facts("Gid:"), [gid; 4]);
        assert_eq!(facts("Groups:"), [gid]);
        assert_eq!(facts("CapEff:"), [0]);
        server.wait_for_line("post_fork 0");
        let socket = fs::metadata(folder.path().join("socket")).expect("it is bound");
        assert_eq!((socket.uid(), socket.gid()), (uid, gid));
        assert_eq!(socket.permissions().mode() & 0o777, 0o770);
        server.signal(Signal::SIGTERM);
        let ended = server.wait_for_end();
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(!folder.path().join("socket").exists());
    }
}

// Gunicorn: S39
fn initgroups_gives_a_worker_the_groups_of_its_user() {
    if !geteuid().is_root() {
        return;
    }
    // Somebody who is in a group besides the main one, on this machine.
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let member = groups.lines().find_map(|line| {
        let (group, members) = (line.split(':').next()?, line.rsplit(':').next()?);
        let member = members.split(',').find(|name| !name.is_empty())?;
        let user = User::from_name(member).ok()??;
        Some((user, Group::from_name(group).ok()??.gid.as_raw()))
    });
    let (name, wanted) = match member {
        Some((user, gid)) => (user.name, vec![user.gid.as_raw(), gid]),
        None => ("nobody".to_owned(), Vec::new()),
    };
    let (mut server, _folder) = start(&name, "-", "initgroups");
    let found = facts(&mut server)("Groups:");
    assert!(wanted.iter().all(|gid| found.contains(gid)), "{found:?}");
    server.signal(Signal::SIGTERM);
    server.wait_for_end();
}

// Gunicorn: G66
fn an_unavailable_user_is_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("socket");
    let socket = socket.to_str().expect("UTF-8");
    let ended = Server::start(&["user", "no-such-user", "-", "-", socket]).wait_for_end();
    assert_eq!(ended.status, 1);
    let last = ended.last();
    assert_eq!(
        last,
        "Error: user (program): there is no user \"no-such-user\""
    );
    assert!(ended.stdout.is_empty() && !folder.path().join("socket").exists());
}

// Gunicorn: G66
fn the_arbiters_death_reaches_a_worker_of_another_user() {
    if nobody().is_none() {
        return;
    }
    let (mut server, _folder) = start("nobody", "-", "-");
    let worker = server.workers()[0];
    let _client = ask(&mut server, "/for-ever");
    server.wait_for_line("begun");
    let address = address(&mut server);
    let listens = || TcpStream::connect(&address).is_ok();
    assert!(listens());
    server.signal(Signal::SIGKILL);
    wait_until("the listeners' end", || !listens());
    assert!(exists(worker), "its call has the graceful timeout");
}
