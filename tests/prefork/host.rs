//! The arbiter and the program that it runs in: its pid file, its threads, its signals, its children.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::server::Server;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_pid_file_of_a_living_process_is_refused_untouched,
    the_pid_files_lock_is_the_arbiters_alone,
    a_stale_pid_file_is_replaced_and_gone_at_the_end,
    a_pid_file_in_a_missing_folder_is_one_clear_error,
    a_stop_while_the_observer_hears_of_the_start_leaves_no_file,
    a_host_that_has_threads_is_refused_with_advice,
    run_returns_and_can_be_called_again,
    the_hosts_children_and_its_unwritten_output_stay_its_own,
];

// Gunicorn: G64
fn a_pid_file_of_a_living_process_is_refused_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid").display().to_string();
    let first = Server::started(&["steady", "--pid", &path], 2);
    let second = Server::start(&["steady", "--pid", &path]).wait_for_end();
    assert_eq!(second.status, 1, "{second:?}");
    let sentence = format!(
        "Error: Already running on PID {} (pid file {path})",
        first.pid()
    );
    assert_eq!(second.last(), sentence);
    assert_eq!(
        fs::read_to_string(&path).ok(),
        Some(format!("{}\n", first.pid()))
    );
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait_for_end().status, 0);
}

// Gunicorn: G64
fn the_pid_files_lock_is_the_arbiters_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid");
    let text = path.display().to_string();
    let server = Server::started(&["steady", "--pid", &text], 2);
    let lock = folder.path().join("pid.lock");
    let holds = |pid: i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
        open.flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file == lock))
    };
    // Others may read the one, and not open the other.
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!((mode(&path), mode(&lock)), (0o644, 0o600));
    assert!(holds(server.pid()));
    for worker in server.workers() {
        assert!(!holds(worker));
    }
    server.signal(Signal::SIGKILL);
    server.wait_for_end();
    let next = Server::started(&["steady", "--pid", &text], 2);
    next.signal(Signal::SIGINT);
    assert_eq!(next.wait_for_end().status, 0);
}

fn a_stale_pid_file_is_replaced_and_gone_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid").display().to_string();
    // That of nobody, and one that another program has by now.
    for number in ["2147483647\n", "1\n"] {
        fs::write(&path, number).expect("a stale file");
        let server = Server::started(&["steady", "--pid", &path], 2);
        assert_eq!(
            fs::read_to_string(&path).ok(),
            Some(format!("{}\n", server.pid()))
        );
        server.signal(Signal::SIGINT);
        assert_eq!(server.wait_for_end().status, 0);
        assert!(fs::read_dir(folder.path()).is_ok_and(|mut files| files.next().is_none()));
    }
}

fn a_pid_file_in_a_missing_folder_is_one_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("sock");
    let bind = format!("unix:{}", socket.display());
    let role = ["steady", "--pid", "/nowhere/at/all/pid", "--bind", &bind];
    let ended = Server::start(&role).wait_for_end();
    assert_eq!(ended.status, 1, "{ended:?}");
    let last = ended.last();
    assert!(
        last.starts_with("Error: cannot write the pid file /nowhere/at/all/pid: "),
        "{last}"
    );
    assert!(!socket.exists());
}

// Gunicorn: B2
fn a_host_that_has_threads_is_refused_with_advice() {
    let ended = Server::start(&["threaded"]).wait_for_end();
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended.log().contains("this process has 2 threads"),
        "{}",
        ended.log()
    );
}

fn run_returns_and_can_be_called_again() {
    let ended = Server::start(&["twice"]).wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let returned = ended.stdout.iter().filter(|line| *line == "returned");
    assert_eq!(returned.count(), 2, "{ended:?}");
}

// Gunicorn: G10, G42
fn the_hosts_children_and_its_unwritten_output_stay_its_own() {
    let server = Server::started(&["steady"], 2);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    let has = |text: &str| {
        ended
            .stdout
            .iter()
            .filter(|line| line.contains(text))
            .count()
    };
    assert_eq!(has("own child exit status: 0"), 1, "{ended:?}");
    assert_eq!(has("once "), 1, "{ended:?}");
}

fn a_stop_while_the_observer_hears_of_the_start_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (pid, bind) = (at("pid"), format!("unix:{}", at("sock").display()));
    let pid = pid.to_string_lossy();
    let server = Server::start(&["stopped-while-it-starts", "--pid", &pid, "--bind", &bind]);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(!at("pid").exists() && !at("sock").exists(), "{ended:?}");
}
