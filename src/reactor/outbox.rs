//! The pending output of a connection: bytes in memory, then a spool file, and files of the service.
//!
//! It never waits: it takes what it is given and hands the socket what the socket takes.
//!
//! *Invariants*: pieces leave in the order in which they came; bytes in memory never exceed `response_buffer`,
//! nor those of all connections a total; the spool holds no bytes once the queue is empty.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::spool;
use super::total::{Share, Totals};
use super::transport::Transport;

/// How much of files one turn may send, so that a fast reader cannot hold the others up.
const FILE_TURN: u64 = 1024 * 1024;
/// Pieces of memory that one vectored write takes.
const GATHER: usize = 16;
/// Bytes of all connections' responses in memory: past it what a socket does not take goes to a file at once.
const RESPONSES: u64 = 64 * 1024 * 1024;

/// A queue of what the socket has not taken.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Piece>,
    memory: usize,
    /// Its part of what all have in memory.
    share: Share,
    spool: Option<Spool>,
    totals: Totals,
    /// Bytes that the socket has taken from here, ever.
    pub(super) handed: u64,
}

#[derive(Debug)]
enum Piece {
    Memory(Bytes),
    Spooled { offset: u64, len: u64 },
    File { file: File, offset: u64, len: u64 },
}

/// An unlinked file that grows at its end.
#[derive(Debug)]
struct Spool {
    file: File,
    end: u64,
    /// Its part of what all have in files.
    share: Share,
}

/// The outcome of an attempt to empty the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing is left.
    Empty,
    /// The socket takes no more for now.
    Blocked,
    /// This turn's share of files was sent; the socket may take more.
    Share,
}

impl Outbox {
    /// An empty one, which counts among `totals`.
    pub(super) fn new(totals: &Totals) -> Self {
        Self {
            queue: VecDeque::new(),
            memory: 0,
            share: totals.responses.share(),
            spool: None,
            totals: totals.clone(),
            handed: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.memory = 0;
        self.share.set(0);
        self.spool = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Tells whether memory may have `len` bytes more, `most` of this connection.
    pub(super) fn has_room(&self, len: usize, most: usize) -> bool {
        self.memory + len <= most && self.totals.responses.has_room(len as u64, RESPONSES)
    }

    /// Bytes held in the spool file, those already sent included.
    pub(super) fn spooled(&self) -> u64 {
        self.spool.as_ref().map_or(0, |spool| spool.end)
    }

    /// Keeps a copy of `bytes` in memory.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.memory += bytes.len();
            self.share.set(self.memory as u64);
            self.queue
                .push_back(Piece::Memory(Bytes::copy_from_slice(bytes)));
        }
    }

    /// Writes `bytes` to the spool file in `dir`, behind all that is queued.
    pub(super) fn push_spooled(&mut self, bytes: &[u8], dir: &Path) -> io::Result<()> {
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(Spool {
                file: spool::file_in(dir)?,
                end: 0,
                share: self.totals.files.share(),
            }),
        };
        let (offset, len) = (spool.end, bytes.len() as u64);
        spool.file.write_all_at(bytes, offset)?;
        spool.end += len;
        spool.share.set(spool.end);
        match self.queue.back_mut() {
            Some(Piece::Spooled {
                offset: start,
                len: queued,
            }) if *start + *queued == offset => *queued += len,
            _ => self.queue.push_back(Piece::Spooled { offset, len }),
        }
        Ok(())
    }

    /// Keeps `len` bytes of `file`, from `offset` on, to be sent by `sendfile(2)`.
    pub(super) fn push_file(&mut self, file: File, offset: u64, len: u64) {
        if len > 0 {
            self.queue.push_back(Piece::File { file, offset, len });
        }
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    ///
    /// Those of the socket; `UnexpectedEof` where a file has become shorter than was promised.
    pub(super) fn flush(&mut self, transport: &Transport) -> io::Result<Flushed> {
        let mut share = FILE_TURN;
        loop {
            let sent = match self.queue.front_mut() {
                None => {
                    self.spool = None;
                    return Ok(if transport.flush() {
                        Flushed::Empty
                    } else {
                        Flushed::Blocked
                    });
                }
                Some(Piece::Memory(_)) => self.send_memory(transport),
                Some(_) if share == 0 => return Ok(Flushed::Share),
                Some(Piece::Spooled { offset, len }) => match &self.spool {
                    Some(spool) => send_file(transport, &spool.file, offset, len, &mut share),
                    None => Err(io::ErrorKind::UnexpectedEof.into()),
                },
                Some(Piece::File { file, offset, len }) => {
                    send_file(transport, file, offset, len, &mut share)
                }
            };
            match sent {
                Ok(sent) => {
                    self.handed += sent;
                    self.pop_sent();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One vectored write of the pieces of memory at the front.
    fn send_memory(&mut self, transport: &Transport) -> io::Result<u64> {
        let mut slices = [IoSlice::new(&[]); GATHER];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.queue) {
            let Piece::Memory(bytes) = piece else { break };
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        let taken = transport.write_vectored(&slices[..count])?;
        self.memory -= taken;
        self.share.set(self.memory as u64);
        let mut sent = taken;
        for piece in &mut self.queue {
            let Piece::Memory(bytes) = piece else { break };
            let n = sent.min(bytes.len());
            let _ = bytes.split_to(n);
            sent -= n;
        }
        Ok(taken as u64)
    }

    /// Forgets the pieces at the front of which nothing is left.
    fn pop_sent(&mut self) {
        while let Some(piece) = self.queue.front() {
            let left = match piece {
                Piece::Memory(bytes) => bytes.len() as u64,
                Piece::Spooled { len, .. } | Piece::File { len, .. } => *len,
            };
            if left > 0 {
                return;
            }
            self.queue.pop_front();
        }
    }
}

/// Sends from a file what the socket takes, within this turn's `share`.
fn send_file(
    transport: &Transport,
    file: &File,
    offset: &mut u64,
    len: &mut u64,
    share: &mut u64,
) -> io::Result<u64> {
    let count = (*len).min(*share) as usize;
    let sent = transport.send_file(file, offset, count)? as u64;
    if sent == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file that is being sent has become shorter",
        ));
    }
    *len -= sent;
    *share -= sent;
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;
    use crate::net::Stream;

    // Gunicorn: E57
    #[test]
    fn a_file_that_the_system_does_not_send_is_read_and_sent() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        // sendfile(2) refuses such a socket with EINVAL, and write(2) does not mind.
        fcntl(
            &ours,
            FcntlArg::F_SETFL(OFlag::O_APPEND | OFlag::O_NONBLOCK),
        )
        .unwrap();
        let stream = Stream::adopt(ours);
        let content: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&content, 0).unwrap();
        let refused = stream.sendfile(file.as_fd(), &mut 0, 10).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
        let stream = Transport::new(stream);

        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        let mut outbox = Outbox::new(&Totals::default());
        outbox.push_file(file, 10, 400_000);
        outbox.push(b"end");
        while outbox.flush(&stream).unwrap() != Flushed::Empty {
            std::thread::yield_now();
        }
        assert_eq!(outbox.handed, 400_003);
        drop(stream);
        assert_eq!(
            reader.join().unwrap(),
            [&content[10..400_010], b"end"].concat()
        );
    }

    #[test]
    fn a_file_that_has_become_shorter_does_not_end_its_response() {
        for flags in [OFlag::O_NONBLOCK, OFlag::O_NONBLOCK | OFlag::O_APPEND] {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            fcntl(&ours, FcntlArg::F_SETFL(flags)).unwrap();
            let stream = Transport::new(Stream::adopt(ours));
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(b"short", 0).unwrap();
            let mut outbox = Outbox::new(&Totals::default());
            outbox.push_file(file, 0, 9);
            let error = outbox.flush(&stream).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
