//! What the system refuses or has set up otherwise: a filter of system calls, signals that are blocked.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::server::Server;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_refused_prctl_and_timer_are_one_line_and_no_failed_start,
    signals_that_were_blocked_at_the_start_are_heard,
    what_python_ignores_at_its_start_is_ignored_without_it,
];

/// Has prctl(2) refuse to tell of a parent's death, and `timer_create(2)` refuse everything, from now on.
#[expect(unsafe_code, reason = "there is no other way to install a filter")]
pub(crate) fn install_filter() {
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The call's number is first in `seccomp_data`, its first argument at 16.
    let mut steps = [
        step(load, 0, 0, 0),
        step(equal, 4, 0, libc::SYS_timer_create as u32),
        step(equal, 0, 2, libc::SYS_prctl as u32),
        step(load, 0, 0, 16),
        step(equal, 1, 0, libc::PR_SET_PDEATHSIG as u32),
        step(give, 0, 0, ALLOW),
        step(give, 0, 0, REFUSE),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: prctl(2) reads the program, which lives.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    assert!(installed, "{}", std::io::Error::last_os_error());
}

fn a_refused_prctl_and_timer_are_one_line_and_no_failed_start() {
    let server = Server::started(&["filtered"], 2);
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let told = ended
        .log()
        .matches("prctl: Operation not permitted")
        .count();
    assert_eq!(told, 1, "{}", ended.log());
}

fn signals_that_were_blocked_at_the_start_are_heard() {
    let mut command = Command::new("env");
    command
        .arg("--block-signal")
        .arg(std::env::current_exe().expect("no path to this program"));
    let mut server = Server::spawn(command, &["steady"]);
    server.wait_for_workers(2);
    for pid in server.workers() {
        assert_eq!(signals(pid, "SigBlk:"), 0);
    }
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(3);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}

/// A set of signals of a process, a bit for each (`proc_pid_status(5)`).
fn signals(pid: i32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let set = status.lines().find_map(|line| line.strip_prefix(which));
    u64::from_str_radix(set.expect("it is there").trim(), 16).expect("a number")
}

fn what_python_ignores_at_its_start_is_ignored_without_it() {
    let server = Server::started(&["steady"], 2);
    let wanted = [Signal::SIGPIPE, Signal::SIGXFSZ].map(|signal| 1 << (signal as u64 - 1));
    for pid in [&[server.pid()][..], &server.workers()].concat() {
        for wanted in wanted {
            assert_ne!(signals(pid, "SigIgn:") & wanted, 0);
        }
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_end().status, 0);
}
