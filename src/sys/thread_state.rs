//! [`ThreadState`]: whether a thread waits for something, or computes, as the scheduler has it.

use std::fs::{self, File};
use std::io::Read;

/// The numbers that `/proc` has for a thread and its process. They are others than those of gettid(2) where `/proc` is that
/// of another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadState(Option<(u32, u32)>);

impl ThreadState {
    /// This thread's. Where `/proc` cannot be read, nothing is known of it.
    pub(crate) fn of_this_thread() -> Self {
        let link = fs::read_link("/proc/thread-self").ok();
        let numbers = link.and_then(|link| {
            let (process, thread) = link.to_str()?.split_once("/task/")?;
            Some((process.parse().ok()?, thread.parse().ok()?))
        });
        Self(numbers)
    }

    /// Whether the thread waits for something in the system, and so is in no other thread's way; also where nothing is
    /// known. A thread that could run, and whose turn on a processor has not come, does not wait; nor, as far as one can
    /// tell, does any where no descriptor is left to ask with.
    pub(crate) fn is_asleep(self) -> bool {
        let Some((process, thread)) = self.0 else {
            return true;
        };
        match File::open(format!("/proc/{process}/task/{thread}/stat")) {
            Ok(file) => state(file) != Some(b'R'),
            Err(error) => !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)),
        }
    }
}

/// The third field of the file (proc(5), `/proc/pid/stat`). The second one, in parentheses, may hold anything, and has 64
/// bytes at the most.
fn state(mut file: File) -> Option<u8> {
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
        assert!(ThreadState(None).is_asleep());
        drop(end);
        other.unwrap().join().unwrap();
        // A thread that has ended has no state; it may still run for a moment after it was joined.
        while !waiting.is_asleep() {
            thread::yield_now();
        }
    }
}
