//! The socket pair between an arbiter and one worker: it wakes the other end, as shared memory does not.
//!
//! Each end notices the death of the other by its end of file. It carries no questions and no answers: a worker sends a
//! few messages, and never waits to send them.
//!
//! ```text
//!   the worker's end ── ready, recycling due, last words, its end ──▶ the arbiter's end
//! ```
//!
//! After an upgrade the new arbiter sends such messages to its predecessor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType};
use nix::sys::stat::SFlag;

use crate::atomic_enum::{Numbered, numbered};
use crate::error::{Error, Result};
use crate::sys::fd;

/// What [`Message::Late`] is on the wire, for a handler to send.
pub(crate) const LATE: u8 = b'l';

const LONGEST: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Ready,
    /// It has answered as many requests as it was to: their number.
    RecycleDue(u64),
    LastWords(LastWords),
    /// Its work is done, and it ends with this status, also where its last step fails.
    Ending(i32),
    /// Its last step took too long, and was cut short.
    Late,
    Command(WorkerCommand),
}

/// What a worker can have its arbiter do, where the arbiter allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandKind {
    Stop,
    StopNow,
    Reload,
    Scale,
}

numbered!(CommandKind: Stop, StopNow, Reload, Scale);

/// A worker's command. The numbers are of [`CommandKind::Scale`] alone: that of a group, and how many workers it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerCommand {
    pub(crate) kind: CommandKind,
    pub(crate) group: u32,
    pub(crate) workers: u32,
}

/// A worker's own account of why it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastWords {
    /// Whether its application could not be found, as [`Error::is_app`] has it.
    pub(crate) app: bool,
    pub(crate) sentence: String,
}

/// Makes a pair, the arbiter's end and the worker's, non-blocking and closed on exec.
pub(crate) fn pair() -> Result<(LinkEnd, LinkEnd)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    // SOCK_SEQPACKET: a message is received whole or not at all, and the end of file is seen.
    socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
        .map(|(arbiter, worker)| (LinkEnd(arbiter), LinkEnd(worker)))
        .map_err(|errno| Error::io("cannot make a socket pair for a worker", errno))
}

/// One of the two ends. Messages go from the worker's to the arbiter's.
#[derive(Debug)]
pub(crate) struct LinkEnd(OwnedFd);

impl LinkEnd {
    /// The next message; `None` where there is none now, or will be none any more.
    pub(crate) fn receive(&self) -> Option<Message> {
        let mut buffer = [0; 1 + LONGEST];
        let n = receive(&self.0, &mut buffer, MsgFlags::empty()).ok()?;
        let (&kind, rest) = buffer[..n].split_first()?;
        Some(match kind {
            b'r' => Message::Ready,
            LATE => Message::Late,
            b'c' => Message::Command(WorkerCommand {
                kind: *CommandKind::ALL.get(number(rest, 0)? as usize)?,
                group: number(rest, 1)?,
                workers: number(rest, 2)?,
            }),
            b'e' => Message::Ending(i32::from_ne_bytes(rest.try_into().ok()?)),
            b'n' => Message::RecycleDue(u64::from_ne_bytes(rest.try_into().ok()?)),
            b'a' | b'w' => Message::LastWords(LastWords {
                app: kind == b'a',
                sentence: text(rest),
            }),
            _ => return None,
        })
    }

    /// Sends it. Returns whether it was handed over: not where the arbiter has gone, or has left a few hundred messages
    /// unread.
    pub(crate) fn send(&self, message: &Message) -> bool {
        let (kind, rest) = match message {
            Message::Ready => (b'r', Vec::new()),
            Message::Late => (LATE, Vec::new()),
            Message::RecycleDue(requests) => (b'n', requests.to_ne_bytes().into()),
            Message::LastWords(LastWords { app, sentence }) => {
                let kind = if *app { b'a' } else { b'w' };
                (kind, sentence.bytes().take(LONGEST).collect())
            }
            Message::Ending(status) => (b'e', status.to_ne_bytes().into()),
            Message::Command(command) => {
                let numbers = [command.kind.number(), command.group, command.workers];
                (b'c', numbers.map(u32::to_ne_bytes).concat())
            }
        };
        let packet = [&[kind], &*rest].concat();
        socket::send(self.0.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL).is_ok()
    }

    /// Whether the other end has gone, as far as this one can tell: not while a message is unread.
    pub(crate) fn is_closed(&self) -> bool {
        receive(&self.0, &mut [0], MsgFlags::MSG_PEEK) == Ok(0)
    }

    /// Shows the other end that this one goes, whichever processes have copies of it. Returns whether that one has gone as
    /// well; its unread messages are lost.
    pub(crate) fn leave(&self) -> bool {
        let _ = socket::shutdown(self.0.as_raw_fd(), Shutdown::Write);
        while self.receive().is_some() {}
        self.is_closed()
    }

    /// A second descriptor for it.
    ///
    /// # Errors
    ///
    /// Where the system gives none.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let fd = self.0.try_clone();
        fd.map(Self)
            .map_err(|error| Error::io("cannot duplicate a worker's socket", error))
    }

    /// Takes the end that another process has handed to this one through `exec`, by its number. To be asked
    /// once.
    pub(crate) fn inherited(fd: RawFd) -> Option<Self> {
        fd::adopt(fd, SFlag::S_IFSOCK).ok().map(Self)
    }
}

impl AsFd for LinkEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The number at this place among others.
fn number(bytes: &[u8], place: usize) -> Option<u32> {
    let bytes = bytes.chunks_exact(4).nth(place)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The text of a sentence that may have been cut within a character.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).into()
}

fn receive(fd: &OwnedFd, buffer: &mut [u8], flags: MsgFlags) -> nix::Result<usize> {
    loop {
        match socket::recv(fd.as_raw_fd(), buffer, flags) {
            Err(Errno::EINTR) => {}
            // The other end died with messages of ours unread.
            Err(Errno::ECONNRESET) => return Ok(0),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_in_order_after_the_sender_ended() {
        let (arbiter, worker) = pair().unwrap();
        let words = Message::LastWords(LastWords {
            app: true,
            sentence: "no module named 'shop'".into(),
        });
        worker.send(&Message::Ready);
        worker.send(&Message::RecycleDue(1000));
        worker.send(&words);
        worker.send(&Message::Ending(-1));
        worker.send(&Message::Late);
        let command = |kind: &CommandKind| {
            Message::Command(WorkerCommand {
                kind: *kind,
                group: 1,
                workers: 300,
            })
        };
        for kind in CommandKind::ALL {
            worker.send(&command(kind));
        }
        drop(worker);
        assert_eq!(arbiter.receive(), Some(Message::Ready));
        assert_eq!(arbiter.receive(), Some(Message::RecycleDue(1000)));
        assert_eq!(arbiter.receive(), Some(words));
        assert_eq!(arbiter.receive(), Some(Message::Ending(-1)));
        assert_eq!(arbiter.receive(), Some(Message::Late));
        for kind in CommandKind::ALL {
            assert_eq!(arbiter.receive(), Some(command(kind)));
        }
        assert_eq!(arbiter.receive(), None);
    }

    #[test]
    fn a_worker_is_told_of_its_arbiters_end() {
        let (arbiter, worker) = pair().unwrap();
        assert!(!worker.is_closed());
        worker.send(&Message::Ready);
        drop(arbiter);
        assert!(worker.is_closed());
        worker.send(&Message::Ready);
    }

    #[test]
    fn of_two_ends_that_leave_the_second_knows_that_it_is_the_last() {
        for arbiter_first in [true, false] {
            let (arbiter, worker) = pair().unwrap();
            worker.send(&Message::Ready);
            if arbiter_first {
                assert!(!arbiter.leave());
                assert!(worker.leave());
            } else {
                assert!(!worker.leave());
                assert!(arbiter.leave());
            }
        }
    }

    #[test]
    fn long_last_words_are_cut_between_characters() {
        let (arbiter, worker) = pair().unwrap();
        worker.send(&Message::LastWords(LastWords {
            app: false,
            sentence: format!("-{}", "é".repeat(LONGEST)),
        }));
        let Some(Message::LastWords(words)) = arbiter.receive() else {
            panic!("no last words");
        };
        assert_eq!(words.sentence, format!("-{}", "é".repeat(LONGEST / 2 - 1)));
    }
}
