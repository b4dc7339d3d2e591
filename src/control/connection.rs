//! [`Connection`]: one client of the control socket.
//!
//! ```text
//!   idle ── bytes ──▶ reading ── a request ──▶ waiting (a reload, say) ──▶ writing ──▶ idle
//! ```
//!
//! *Invariant*: each state but waiting has a deadline, and waiting ends with the command.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{Shutdown, getsockopt, shutdown};

use super::protocol::{LONGEST_REQUEST, PREFIX, Request, response, take_request};
use super::reply::{Later, Reply};
use crate::json::Json;
use crate::net::Stream;
use crate::time::MonoTime;

/// How long a connection may stay without a request, as in Gunicorn.
const IDLE: Duration = Duration::from_secs(300);
/// How long a request may take to come, from its first byte on.
const READ: Duration = Duration::from_secs(5);
/// How long a client may take to receive an answer.
const WRITE: Duration = Duration::from_secs(10);
/// How many requests of one connection are answered at once.
const TURN: usize = 4;

pub(super) struct Connection {
    stream: Stream,
    /// For the log: the client's process and user.
    pub(super) client: String,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of the output was sent.
    sent: usize,
    waiting: Option<(Json, Later)>,
    closes: bool,
    /// By when the output is to be sent.
    write_until: MonoTime,
    /// When the first byte of a request came that is not complete.
    begun: MonoTime,
    /// When it was last heard of.
    pub(super) heard: MonoTime,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It waits for its client.
    Reads,
    /// It is to be looked at again soon, whether its client does anything or not.
    LookAgain,
    Closes,
}

impl Connection {
    pub(super) fn new(stream: Stream, now: MonoTime) -> Self {
        let client = match getsockopt(&stream, PeerCredentials) {
            Ok(peer) => format!("process {} of user {}", peer.pid(), peer.uid()),
            Err(_) => "an unknown process".to_owned(),
        };
        Self {
            stream,
            client,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            waiting: None,
            closes: false,
            write_until: now,
            begun: now,
            heard: now,
        }
    }

    /// Whether its client waits for a command to end.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// When it is given up; `None` while a command is waited for.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        if self.is_waiting() {
            return None;
        }
        Some(match (self.output.is_empty(), self.input.is_empty()) {
            (false, _) => self.write_until,
            (true, false) => self.begun + READ,
            (true, true) => self.heard + IDLE,
        })
    }

    /// Ends it, whichever processes have copies of the descriptor: a worker that is being forked has one for a moment.
    pub(super) fn close(self) {
        // It fails where the client has gone.
        let _ = shutdown(self.stream.as_fd().as_raw_fd(), Shutdown::Both);
    }

    fn send(&mut self, now: MonoTime, output: Vec<u8>) {
        self.output = output;
        self.write_until = now + WRITE;
    }

    /// Reads, answers and writes as far as that is possible now. `run` does what a request asks for.
    pub(super) fn advance(
        &mut self,
        now: MonoTime,
        mut run: impl FnMut(&str, &[String]) -> Reply,
    ) -> Outcome {
        for _ in 0..TURN {
            if let Some((id, later)) = &mut self.waiting {
                let Some(outcome) = later() else {
                    return Outcome::LookAgain;
                };
                let output = response(id, outcome);
                self.waiting = None;
                self.send(now, output);
            }
            match self.write() {
                Err(_) => return Outcome::Closes,
                Ok(true) if self.closes => return Outcome::Closes,
                Ok(true) => {}
                Ok(false) => return self.unless_late(now, Outcome::LookAgain),
            }
            let Ok(ended) = self.read(now) else {
                return Outcome::Closes;
            };
            match take_request(&mut self.input) {
                Ok(Some(Request { id, words })) => {
                    self.begun = now;
                    match run(&self.client, &words) {
                        Reply::Now(outcome) => self.send(now, response(&id, outcome)),
                        Reply::Later(later) => self.waiting = Some((id, later)),
                    }
                }
                Err(sentence) => {
                    self.send(now, response(&Json::Null, Err(sentence)));
                    self.closes = true;
                }
                Ok(None) if ended => return Outcome::Closes,
                Ok(None) => return self.unless_late(now, Outcome::Reads),
            }
        }
        Outcome::LookAgain
    }

    fn unless_late(&self, now: MonoTime, outcome: Outcome) -> Outcome {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            return Outcome::Closes;
        }
        outcome
    }

    /// Sends what there is to be sent; gives whether that is all.
    fn write(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            let rest = IoSlice::new(&self.output[self.sent..]);
            match self.stream.write_vectored(&[rest]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        self.sent = 0;
        Ok(true)
    }

    /// Reads what is there, up to the length of one request; gives whether the client has ended its output.
    fn read(&mut self, now: MonoTime) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        while self.input.len() < PREFIX + LONGEST_REQUEST {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(n) => {
                    if self.input.is_empty() {
                        self.begun = now;
                    }
                    self.heard = now;
                    self.input.extend_from_slice(&buffer[..n]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
