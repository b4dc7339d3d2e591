//! [`ThreadState`]: whether a thread waits for something, or computes, as the scheduler has it.

use std::fs::File;
use std::io::Read;

use nix::unistd::{Pid, gettid};

/// A thread of this process, by its number in `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadState(Pid);

impl ThreadState {
    pub(crate) fn of_this_thread() -> Self {
        Self(gettid())
    }

    /// Whether the thread waits for something in the system, and so is in no other thread's way; also where nothing is
    /// known, since `/proc` cannot be read. A thread that could run, and whose turn on a processor has not come, does not wait.
    pub(crate) fn is_asleep(self) -> bool {
        state(self.0) != Some(b'R')
    }
}

/// The third field of `/proc/pid/task/tid/stat` (proc(5)). The second one, in parentheses, may hold anything, and has 64
/// bytes at the most.
fn state(thread: Pid) -> Option<u8> {
    let mut file = File::open(format!("/proc/self/task/{thread}/stat")).ok()?;
    let mut start = [0; 128];
    let len = file.read(&mut start).ok()?;
    let end = start[..len].iter().rposition(|&byte| byte == b')')?;
    start.get(end + 2).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_waits_is_asleep_and_one_that_computes_is_not() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let other = thread::Builder::new().name("a ) R b".into());
        let other = other.spawn(move || {
            tell.send(ThreadState::of_this_thread()).unwrap();
            let _ = ended.recv();
        });
        let waiting = told.recv().unwrap();
        while !waiting.is_asleep() {
            thread::yield_now();
        }
        assert!(!ThreadState::of_this_thread().is_asleep());
        let nobody = ThreadState(Pid::from_raw(i32::MAX));
        assert!(nobody.is_asleep());
        drop(end);
        other.unwrap().join().unwrap();
        // A thread that has ended has no state; it may still run for a moment after it was joined.
        while !waiting.is_asleep() {
            thread::yield_now();
        }
    }
}
