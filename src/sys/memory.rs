//! What a process takes of the memory, what its allocator keeps of it, and whether the system has killed for want
//! of it.
//!
//! Read from `/proc` (proc(5)) and the control group (cgroups(7)); what cannot be read is not known.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};

/// The resident memory of a process, in bytes.
pub(crate) fn resident(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(page).ok()?)
}

/// Has the allocator keep what is freed for what is asked for next. Only for a process that is ours alone.
///
/// By itself glibc gives the end of its heap back to the system as soon as 128 KiB of it are free, and has a larger
/// block mapped each time: so a request of that size pays for new pages, again and again. Once a block of 32 MiB was
/// freed it keeps 64 MiB, and has blocks of 32 MiB from the heap (mallopt(3), `M_MMAP_THRESHOLD`): these are the
/// values from the start. Others that are set in the environment are left alone.
pub(crate) fn keep_freed() {
    let is_choice = |(name, value): (OsString, OsString)| match name.to_str() {
        Some("GLIBC_TUNABLES") => value.to_string_lossy().contains("glibc.malloc."),
        Some(name) => name.starts_with("MALLOC_"),
        None => false,
    };
    if !env::vars_os().any(is_choice) {
        glibc::keep_freed();
    }
}

/// Has the allocator give what is free back to the system. It looks at the whole heap: for idle moments.
pub(crate) fn give_back() {
    glibc::give_back();
}

#[cfg(target_env = "gnu")]
mod glibc {
    /// Blocks from this size on are mapped by themselves: as large as mallopt(3) lets it be.
    const MAPPED: libc::c_int = 32 * 1024 * 1024;
    /// What is kept at the end of a heap; twice that, as in glibc.
    const KEPT: libc::c_int = 2 * MAPPED;

    pub(super) fn keep_freed() {
        // SAFETY: mallopt(3) sets a number of the allocator's, under its lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }

    pub(super) fn give_back() {
        // SAFETY: malloc_trim(3) gives back whole pages that are free, under the allocator's locks.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other C libraries have no such settings.
#[cfg(not(target_env = "gnu"))]
mod glibc {
    pub(super) fn keep_freed() {}
    pub(super) fn give_back() {}
}

/// The count of processes of this control group that were killed for want of memory.
#[derive(Debug)]
pub(crate) struct OomKills {
    events: Option<PathBuf>,
    seen: u64,
}

impl OomKills {
    pub(crate) fn watch() -> Self {
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut kills = Self {
            events: events_of(&group, Path::new("/sys/fs/cgroup")),
            seen: 0,
        };
        kills.seen = kills.count();
        kills
    }

    /// Whether there was one since the last time.
    pub(crate) fn has_grown(&mut self) -> bool {
        let now = self.count();
        std::mem::replace(&mut self.seen, now) < now
    }

    fn count(&self) -> u64 {
        let text = self
            .events
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok());
        text.map_or(0, |text| kills(&text))
    }
}

/// Where the events of a group are told, from `/proc/self/cgroup`: version 2 has the line `0::/path`.
fn events_of(group: &str, mount: &Path) -> Option<PathBuf> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let file = mount.join(path).join("memory.events");
    file.exists().then_some(file)
}

/// `oom_kill 3` among the lines of `memory.events`.
fn kills(events: &str) -> u64 {
    let count = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(resident(own).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(resident(-1), None);
    }

    // Gunicorn: G52
    #[test]
    fn kills_are_counted_where_the_group_tells_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("shop");
        fs::create_dir(&group).unwrap();
        let events = group.join("memory.events");
        assert_eq!(events_of("0::/shop\n", folder.path()), None);
        fs::write(&events, "low 0\noom 1\noom_kill 1\noom_group_kill 0\n").unwrap();
        let path = events_of("4:memory:/x\n0::/shop\n", folder.path());
        assert_eq!(path.as_ref(), Some(&events));
        let mut watched = OomKills {
            events: path,
            seen: 1,
        };
        assert!(!watched.has_grown());
        fs::write(&events, "oom_kill 2\n").unwrap();
        assert!(watched.has_grown() && !watched.has_grown());
    }
}
