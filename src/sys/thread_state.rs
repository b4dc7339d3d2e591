//! [`ThreadState`]: whether a thread waits for something, or computes, as the scheduler has it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A thread's line in `/proc` (proc(5), `/proc/pid/stat`).
#[derive(Debug)]
pub(crate) struct ThreadState(Option<File>);

impl ThreadState {
    /// The state of this thread. Where `/proc` cannot be read, nothing is known of it.
    pub(crate) fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/stat").ok())
    }

    /// Whether the thread waits for something in the system, and so is in no other thread's way; also where nothing is
    /// known. A thread that could run, and whose turn on a processor has not come, does not wait.
    pub(crate) fn is_asleep(&self) -> bool {
        let is_awake = |file| Ok::<_, io::Error>(state(file)? == Some(b'R'));
        !self
            .0
            .as_ref()
            .is_some_and(|file| is_awake(file).unwrap_or(false))
    }
}

/// The third field. The second one, in parentheses, may hold anything, and has 64 bytes at the most.
fn state(file: &File) -> io::Result<Option<u8>> {
    let mut start = [0; 128];
    let len = file.read_at(&mut start, 0)?;
    let start = &start[..len];
    let name = start.iter().rposition(|&byte| byte == b')');
    Ok(name.and_then(|end| start.get(end + 2)).copied())
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
        // What is no longer there is in nobody's way.
        assert!(waiting.is_asleep());
    }
}
