//! What the system says of a process: its children, its memory, its descriptors.
//!
//! Nothing here asks the server itself.

use std::collections::BTreeSet;
use std::fs;

use nix::unistd::Pid;

use crate::support::eventually;

/// A process, as `proc_pid_stat(5)` has it.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) zombie: bool,
}

/// The children of a process, zombies included.
pub(crate) fn children(parent: Pid) -> Vec<Child> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name is in parentheses and may hold anything; state and parent follow it.
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        let (state, of) = (fields.next()?, fields.next()?);
        (of.parse() == Ok(parent.as_raw())).then(|| Child {
            pid: Pid::from_raw(pid),
            zombie: matches!(state, "Z" | "X"),
        })
    })
    .collect()
}

/// The workers of an arbiter.
pub(crate) fn workers(arbiter: Pid) -> BTreeSet<Pid> {
    let living = children(arbiter).into_iter().filter(|child| !child.zombie);
    living.map(|child| child.pid).collect()
}

/// Whether a process is there, and no zombie.
pub(crate) fn is_there(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// Waits until an arbiter has that many workers.
#[track_caller]
pub(crate) fn wait_for_workers(arbiter: Pid, count: usize) -> BTreeSet<Pid> {
    eventually(&format!("{arbiter} has not {count} workers"), || {
        Some(workers(arbiter)).filter(|workers| workers.len() == count)
    })
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no VmRSS in {status}"))
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it lives")
        .count()
}
