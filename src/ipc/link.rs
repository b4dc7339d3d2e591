//! The socket pair between an arbiter and one worker: it wakes the other end, as shared memory does not.
//!
//! Each end notices the death of the other by its end of file. It carries no questions and no answers: a worker sends a
//! few messages, and never waits to send them.
//!
//! ```text
//!   WorkerEnd ── ready, recycling due, last words, its end ──▶ ArbiterEnd
//! ```
//!
//! After an upgrade the new arbiter sends such messages to its predecessor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType};
use nix::sys::stat::SFlag;

use crate::error::{Error, Result};
use crate::sys::fd;

/// What [`Message::Late`] is on the wire, for a handler to send.
pub(crate) const LATE: u8 = b'l';

/// The longest last words, in bytes.
const LONGEST: usize = 4096;

/// A worker's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// It can do its work.
    Ready,
    /// It has answered as many requests as it was to: their number.
    RecycleDue(u64),
    /// Why it ends.
    LastWords(LastWords),
    /// Its work is done, and it ends with this status, also where its last step fails.
    Ending(i32),
    /// Its last step took too long, and was cut short.
    Late,
    /// A command to the arbiter.
    Command(WorkerCommand),
}

/// A command that a worker can send to its arbiter, where the arbiter allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerCommand {
    Stop,
    StopNow,
    Reload,
    /// Another number of workers for the group with that number.
    Scale {
        group: u32,
        workers: u32,
    },
}

impl WorkerCommand {
    fn encode(self, packet: &mut Vec<u8>) {
        packet.push(match self {
            Self::Stop => b's',
            Self::StopNow => b'q',
            Self::Reload => b'h',
            Self::Scale { .. } => b'c',
        });
        if let Self::Scale { group, workers } = self {
            packet.extend(group.to_ne_bytes());
            packet.extend(workers.to_ne_bytes());
        }
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        Some(match packet {
            b"s" => Self::Stop,
            b"q" => Self::StopNow,
            b"h" => Self::Reload,
            [b'c', numbers @ ..] => {
                let (group, workers) = numbers.split_first_chunk()?;
                Self::Scale {
                    group: u32::from_ne_bytes(*group),
                    workers: u32::from_ne_bytes(workers.try_into().ok()?),
                }
            }
            _ => return None,
        })
    }
}

/// A worker's own account of why it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastWords {
    /// Whether its application could not be found, as [`Error::is_app`] has it.
    pub(crate) app: bool,
    /// One sentence.
    pub(crate) sentence: String,
}

/// Makes a pair, non-blocking and closed on exec.
pub(crate) fn pair() -> Result<(ArbiterEnd, WorkerEnd)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    // SOCK_SEQPACKET: a message is received whole or not at all, and the end of file is seen.
    socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
        .map(|(arbiter, worker)| (ArbiterEnd(arbiter), WorkerEnd(worker)))
        .map_err(|errno| Error::io("cannot make a socket pair for a worker", errno))
}

/// The end that receives.
#[derive(Debug)]
pub(crate) struct ArbiterEnd(OwnedFd);

impl ArbiterEnd {
    /// The next message; `None` where there is none now, or will be none any more.
    pub(crate) fn receive(&self) -> Option<Message> {
        let mut buffer = [0; 1 + LONGEST];
        let n = receive(&self.0, &mut buffer, MsgFlags::empty()).ok()?;
        match buffer[..n] {
            [b'r'] => Some(Message::Ready),
            [LATE] => Some(Message::Late),
            [b'c', ref command @ ..] => WorkerCommand::decode(command).map(Message::Command),
            [b'e', ref status @ ..] => {
                let status = status.try_into().ok()?;
                Some(Message::Ending(i32::from_ne_bytes(status)))
            }
            [b'n', ref count @ ..] => {
                let count = count.try_into().ok()?;
                Some(Message::RecycleDue(u64::from_ne_bytes(count)))
            }
            [kind @ (b'a' | b'w'), ref sentence @ ..] => Some(Message::LastWords(LastWords {
                app: kind == b'a',
                sentence: text(sentence),
            })),
            _ => None,
        }
    }

    /// Whether the worker has gone, as far as this end can tell.
    pub(crate) fn is_closed(&self) -> bool {
        receive(&self.0, &mut [0], MsgFlags::MSG_PEEK) == Ok(0)
    }

    /// Shows the other end that this one goes. Returns whether that one has gone as well; its unread messages are lost.
    pub(crate) fn leave(&self) -> bool {
        leave(&self.0);
        while self.receive().is_some() {}
        self.is_closed()
    }
}

impl AsFd for ArbiterEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The end that sends.
#[derive(Debug)]
pub(crate) struct WorkerEnd(OwnedFd);

impl WorkerEnd {
    /// Sends it. Returns whether it was handed over: not where the arbiter has gone, or has left a few hundred messages
    /// unread.
    pub(crate) fn send(&self, message: &Message) -> bool {
        let mut packet = Vec::new();
        match message {
            Message::Ready => packet.push(b'r'),
            Message::RecycleDue(requests) => {
                packet.push(b'n');
                packet.extend(requests.to_ne_bytes());
            }
            Message::LastWords(LastWords { app, sentence }) => {
                packet.push(if *app { b'a' } else { b'w' });
                packet.extend(sentence.bytes().take(LONGEST));
            }
            Message::Ending(status) => {
                packet.push(b'e');
                packet.extend(status.to_ne_bytes());
            }
            Message::Late => packet.push(LATE),
            Message::Command(command) => {
                packet.push(b'c');
                command.encode(&mut packet);
            }
        }
        socket::send(self.0.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL).is_ok()
    }

    /// Whether the arbiter has gone.
    pub(crate) fn is_closed(&self) -> bool {
        receive(&self.0, &mut [0], MsgFlags::MSG_PEEK) == Ok(0)
    }

    /// Shows the other end that this one goes. Returns whether that one has gone as well.
    pub(crate) fn leave(&self) -> bool {
        leave(&self.0);
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

impl AsFd for WorkerEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The text of a sentence that may have been cut within a character.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).into()
}

/// The other end reads the end of file from now on, whichever processes have copies of this one.
fn leave(fd: &OwnedFd) {
    let _ = socket::shutdown(fd.as_raw_fd(), Shutdown::Write);
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
        let commands = [
            WorkerCommand::Stop,
            WorkerCommand::StopNow,
            WorkerCommand::Reload,
            WorkerCommand::Scale {
                group: 1,
                workers: 300,
            },
        ];
        let commands = commands.map(Message::Command);
        for command in &commands {
            worker.send(command);
        }
        drop(worker);
        assert_eq!(arbiter.receive(), Some(Message::Ready));
        assert_eq!(arbiter.receive(), Some(Message::RecycleDue(1000)));
        assert_eq!(arbiter.receive(), Some(words));
        assert_eq!(arbiter.receive(), Some(Message::Ending(-1)));
        assert_eq!(arbiter.receive(), Some(Message::Late));
        for command in commands {
            assert_eq!(arbiter.receive(), Some(command));
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
