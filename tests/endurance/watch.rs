//! What the system says of a process: its children, its memory, its descriptors.
//!
//! Nothing here asks the server itself.

use std::collections::BTreeSet;
use std::fs;

use nix::unistd::Pid;

use crate::support::{children, eventually};

/// The workers of an arbiter.
pub(crate) fn workers(arbiter: Pid) -> BTreeSet<Pid> {
    let children = children(arbiter).into_iter();
    let living = children.filter(|(_, is_zombie)| !is_zombie);
    living.map(|(pid, _)| pid).collect()
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
