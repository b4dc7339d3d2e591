//! The pipe through which a worker that hangs shows the stacks of its threads.
//!
//! No process waits at it: text that does not fit is lost, and a worker that cannot write leaves it empty.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd;

use crate::error::{Error, Result};

/// The longest text that is kept, in bytes: what a pipe holds.
const LONGEST: usize = 64 << 10;

/// Makes the pipe, non-blocking and closed on exec: its reader, and the end that a worker writes to.
pub(crate) fn pipe() -> Result<(Stacks, OwnedFd)> {
    unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .map(|(reader, writer)| {
            let text = Vec::new();
            (Stacks { reader, text }, writer)
        })
        .map_err(|errno| Error::io("cannot make a pipe for stacks", errno))
}

/// The calling thread, by the number under which debuggers and Python list it. No system call.
pub(crate) fn this_thread() -> u64 {
    // SAFETY: pthread_self(3) cannot fail, and touches no memory of ours.
    unsafe { libc::pthread_self() }
}

/// The end that an arbiter reads, and what has come.
#[derive(Debug)]
pub(crate) struct Stacks {
    reader: OwnedFd,
    text: Vec<u8>,
}

impl Stacks {
    /// Takes in what is there. `Some` is a text of which nothing more has come since the last time: it is
    /// written line by line, so it may come in pieces.
    pub(crate) fn read(&mut self) -> Option<String> {
        let before = self.text.len();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = unistd::read(&self.reader, &mut buffer) {
            let room = LONGEST - self.text.len();
            self.text.extend_from_slice(&buffer[..n.min(room)]);
        }
        if before == 0 || self.text.len() > before {
            return None;
        }
        let text = std::mem::take(&mut self.text);
        Some(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// Whether a part of a text has come, so that one should look again soon.
    pub(crate) fn is_pending(&self) -> bool {
        !self.text.is_empty()
    }
}

impl AsFd for Stacks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_given_out_when_no_more_of_it_comes() {
        let (mut stacks, writer) = pipe().unwrap();
        assert_eq!(stacks.read(), None);
        unistd::write(&writer, b"Thread 1:\n").unwrap();
        assert_eq!(stacks.read(), None);
        unistd::write(&writer, b"  File \"shop.py\"\n").unwrap();
        assert_eq!(stacks.read(), None);
        assert!(stacks.is_pending());
        let text = stacks.read();
        assert_eq!(text.as_deref(), Some("Thread 1:\n  File \"shop.py\""));
        assert_eq!(stacks.read(), None);
        assert!(!stacks.is_pending());
    }

    #[test]
    fn a_pipe_that_is_full_stops_nobody() {
        let (mut stacks, writer) = pipe().unwrap();
        let line = [b'x'; 1000];
        while unistd::write(&writer, &line).is_ok() {}
        stacks.read();
        drop(writer);
        assert!(stacks.read().is_some_and(|text| text.len() <= LONGEST));
    }
}
