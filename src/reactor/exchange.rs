//! [`HttpIo`]: what a request's service and the reactor share of a connection, and the [`Exchange`] over it.
//!
//! Nothing here knows the other connections. A write goes to the socket at once; what the socket does not
//! take goes to the outbox, and only past its bounds does the caller wait, for this connection alone.

use std::cell::{RefCell, RefMut};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use bytes::BytesMut;

use super::Config;
use super::call_timeout::{CallOutcome, CallTimeoutGuard};
use super::date_header;
use super::error_response::ErrorResponse;
use super::host::{BlockedCall, Host, Interest};
use super::outbox::{Flushed, Outbox};
use super::pool::{BufferPool, LARGE};
use super::rate::SendRate;
use super::streamed::Streamed;
use super::total::Totals;
use crate::error::{Error, Kind, Result};
use crate::h1::{self, BodyLength, Frame, Head};
use crate::net::Stream;
use crate::service::Exchange;
use crate::time::MonoTime;
use crate::trace;

/// Bytes of an unwanted body, or behind a refusal, that are read and thrown away (Gunicorn's K5, K6).
pub(super) const UNWANTED: usize = 64 * 1024;

/// The socket, the protocol's state and the pending output of one connection.
#[derive(Debug)]
pub(super) struct HttpIo {
    /// While a call that may take too long has it; in front of the stream, since it is to be dropped first.
    pub(super) timeout: Option<CallTimeoutGuard>,
    pub(super) stream: Stream,
    pub(super) http: h1::Conn,
    outbox: Outbox,
    /// How fast the client takes what is in the outbox, if it was found too slow for it once.
    rate: Option<SendRate>,
    /// Encoded and not yet sent: a response's head waits here for the first block of the body.
    encoded: BytesMut,
    /// The body of the current request, if it is read while it arrives.
    pub(super) streamed: Streamed,
    /// Whether the socket may have something to read: an edge that has not been used up.
    pub(super) readable: bool,
    /// Whether the peer has shut its side down: a short read is then not the last.
    pub(super) hung_up: bool,
    pub(super) response: Response,
}

impl Drop for HttpIo {
    fn drop(&mut self) {
        self.stream.part();
    }
}

/// How far the current response has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Response {
    pub(super) stage: Stage,
    pub(super) status: u16,
    /// Bytes of the body, without framing.
    pub(super) sent: u64,
    /// Bytes that the service gave for the body beyond what it may have.
    dropped: u64,
}

impl Response {
    /// An answer that is whole.
    pub(super) fn whole(status: u16, sent: u64) -> Self {
        Self {
            stage: Stage::Complete,
            status,
            sent,
            dropped: 0,
        }
    }

    fn count(&mut self, given: usize, taken: usize) {
        self.sent += taken as u64;
        self.dropped += (given - taken) as u64;
    }

    /// Tells the operator of bytes that nobody got. After HEAD there is nothing wrong with them.
    pub(super) fn complain(&self, head: &Head) {
        let Self {
            status, dropped, ..
        } = self;
        if *dropped == 0 || head.method() == "HEAD" {
            return;
        }
        let why = match status {
            204 | 205 | 304 => "its status allows none",
            _ => "its Content-Length is smaller",
        };
        trace::warning!(
            "{} {}: {dropped} bytes of the {status} response's body were dropped, since {why}",
            head.method(),
            head.target()
        );
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Waiting,
    Started,
    Complete,
    /// It cannot be completed: the connection is lost or must be cut.
    Broken,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// Bytes, which the protocol has now.
    Some,
    /// The peer's end.
    End,
    /// Nothing for now.
    Blocked,
}

impl HttpIo {
    pub(super) fn new(stream: Stream, config: h1::Config, totals: &Totals) -> Self {
        Self {
            timeout: None,
            stream,
            http: h1::Conn::server(config),
            outbox: Outbox::new(totals),
            rate: None,
            encoded: BytesMut::new(),
            streamed: Streamed::default(),
            readable: true,
            hung_up: false,
            response: Response::default(),
        }
    }

    /// Reads once, into the room that `block` has left.
    pub(super) fn read(&mut self, block: &mut BytesMut) -> io::Result<usize> {
        read(&self.stream, block, self.hung_up, &mut self.readable)
    }

    /// Reads once, and hands what came to the protocol.
    pub(super) fn fill(&mut self, pool: &mut BufferPool) -> io::Result<ReadOutcome> {
        let taken = match self.http.room() {
            Some(room) => read(&self.stream, room, self.hung_up, &mut self.readable),
            None => self.fill_block(pool),
        };
        match taken {
            Ok(0) => {
                self.http.end_of_input();
                Ok(ReadOutcome::End)
            }
            Ok(_) => Ok(ReadOutcome::Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(ReadOutcome::Blocked),
            Err(error) => Err(error),
        }
    }

    /// Reads into a spare block, and leaves it to the protocol where enough has come to be worth a block.
    fn fill_block(&mut self, pool: &mut BufferPool) -> io::Result<usize> {
        let mut block = pool.scratch();
        let taken = self.read(&mut block);
        let len = block.len();
        let (there, missing) = (self.http.buffered(), self.http.missing());
        if there == 0 && len >= LARGE {
            self.http.receive_block(block);
            return taken;
        }
        if missing > len && there + len >= LARGE {
            self.http.move_to(pool.block(there + missing));
        }
        self.http.receive(&block);
        pool.reuse(Some(block));
        taken
    }

    /// Sends what is pending, what is encoded and then the parts of one block; what the socket does not take
    /// is kept: in memory up to `response_buffer`, then in the spool file.
    pub(super) fn send(&mut self, block: [&[u8]; 3], config: &Config) -> io::Result<()> {
        let [prefix, body, suffix] = block;
        let encoded = std::mem::take(&mut self.encoded);
        let parts = [&encoded[..], prefix, body, suffix];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut sent = 0;
        if total > 0 {
            self.begin()?;
        }
        if !self.outbox.is_empty() {
            self.flush_outbox()?;
        }
        if self.outbox.is_empty() && total > 0 {
            // Each slice costs the kernel a check: of four parts, most blocks have two.
            let mut slices = [IoSlice::new(&[]); 4];
            let mut count = 0;
            for part in parts.iter().filter(|part| !part.is_empty()) {
                slices[count] = IoSlice::new(part);
                count += 1;
            }
            sent = loop {
                match self.stream.write_vectored(&slices[..count]) {
                    Ok(n) => break n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                    Err(error) => return Err(error),
                }
            };
        }
        if sent < total {
            self.keep(&parts, sent, total, config)?;
        }
        self.encoded = encoded;
        self.encoded.clear();
        Ok(())
    }

    /// What to send around the next bytes of the response's body. Of more than was announced the rest is
    /// dropped.
    fn frame(&mut self, len: usize) -> Result<Frame> {
        let frame = self.http.frame(len)?;
        self.response.count(len, frame.take);
        if frame.take < len && !self.encoded.is_empty() {
            self.http.exceeded(&mut self.encoded);
        }
        Ok(frame)
    }

    /// Claims the client for the running call, if the call may take too long.
    fn begin(&self) -> Result<()> {
        match &self.timeout {
            Some(timeout) if !timeout.begin() => Err(given_up()),
            _ => Ok(()),
        }
    }

    /// How the running call has ended; from now on it cannot be given up.
    pub(super) fn settle(&mut self) -> CallOutcome {
        let verdict = self
            .timeout
            .as_ref()
            .map_or(CallOutcome::InTime, CallTimeoutGuard::settle);
        if let CallOutcome::Refused { answer, .. } = verdict {
            self.response.status = answer.status;
            self.response.sent = answer.sent;
        }
        if verdict != CallOutcome::InTime {
            self.response.stage = Stage::Broken;
            self.http.abort();
            self.encoded.clear();
            self.outbox.clear();
        }
        verdict
    }

    /// Puts what follows the first `sent` of `total` bytes into the outbox.
    fn keep(
        &mut self,
        parts: &[&[u8]; 4],
        mut sent: usize,
        total: usize,
        config: &Config,
    ) -> io::Result<()> {
        let in_memory = self.outbox.has_room(total - sent, config.response_buffer);
        for part in parts {
            let done = sent.min(part.len());
            sent -= done;
            if in_memory {
                self.outbox.push(&part[done..]);
            } else if done < part.len() {
                self.outbox
                    .push_spooled(&part[done..], &config.tmp_upload_dir)?;
            }
        }
        Ok(())
    }

    /// Sends what is pending.
    pub(super) fn flush(&mut self, config: &Config) -> io::Result<Flushed> {
        self.send([b"", b"", b""], config)?;
        self.flush_outbox()
    }

    fn flush_outbox(&mut self) -> io::Result<Flushed> {
        let flushed = self.outbox.flush(&self.stream)?;
        if flushed == Flushed::Empty {
            self.rate = None;
        }
        Ok(flushed)
    }

    /// Bytes of what is pending that are in a file, those already sent included.
    pub(super) fn spooled(&self) -> u64 {
        self.outbox.spooled()
    }

    /// Whether the client takes what is pending so slowly that another may have its place.
    pub(super) fn is_slow(&self, now: MonoTime, config: &Config) -> bool {
        self.rate.is_some_and(|rate| rate.is_slow(now, config))
    }

    /// When the client has to have taken more of what is pending, which the socket does not take; not after
    /// `now`, if it is too slow already.
    pub(super) fn due(&mut self, now: MonoTime, config: &Config) -> MonoTime {
        // What the system still has, the client has not: its buffers may hold minutes of a slow line.
        let unsent = self.stream.unsent().unwrap_or(0);
        let handed = self.outbox.handed();
        let rate = self.rate.get_or_insert(SendRate::new(now, handed, unsent));
        rate.note(now, handed, unsent);
        rate.due(config)
    }

    /// Encodes a whole answer of the server's own; it is sent with the next flush.
    pub(super) fn refuse(&mut self, refusal: &ErrorResponse<'_>, config: &Config) {
        self.response = refusal.encode(config, &mut self.encoded);
    }

    /// Takes a response's head back that has not left yet; tells whether it could.
    pub(super) fn retract(&mut self) -> bool {
        let unsent = self.response.stage == Stage::Started && !self.encoded.is_empty();
        if unsent {
            self.encoded.clear();
        }
        unsent
    }

    /// Sends `100 Continue` if the client still waits for it.
    pub(super) fn send_continue(&mut self, config: &Config) -> io::Result<()> {
        if self.http.send_continue(&mut self.encoded) {
            self.send_informational_head(config)?;
        }
        Ok(())
    }

    /// Gives the memory of the encoder to another connection.
    pub(super) fn release_block(&mut self) -> BytesMut {
        std::mem::take(&mut self.encoded)
    }

    /// Takes memory for the encoder.
    pub(super) fn recycle_block(&mut self, block: BytesMut) {
        if self.encoded.capacity() == 0 {
            self.encoded = block;
        }
    }

    /// Sends what is encoded as no response yet.
    fn send_informational_head(&mut self, config: &Config) -> io::Result<()> {
        self.send([b"", b"", b""], config)?;
        if let Some(timeout) = &self.timeout {
            if self.response.stage == Stage::Waiting && self.outbox.is_empty() {
                timeout.unbegin();
            }
        }
        Ok(())
    }

    /// Notes that the response cannot be completed.
    fn broken(&mut self, error: io::Error) -> Error {
        self.response.stage = Stage::Broken;
        self.in_time().err().unwrap_or_else(|| error.into())
    }

    /// Fails where the call was given up.
    fn in_time(&self) -> Result<()> {
        match &self.timeout {
            Some(timeout) if timeout.is_given_up() => Err(given_up()),
            _ => Ok(()),
        }
    }

    /// Notes that the response is complete: whatever the call does now, its client has or gets all of it.
    fn complete(&mut self) {
        self.response.stage = Stage::Complete;
        if let Some(timeout) = &self.timeout {
            timeout.settle();
        }
    }

    /// Has the host wait for the client, until `until` at the most.
    ///
    /// # Errors
    ///
    /// A timeout where that has come, and the host's own.
    pub(super) fn wait(
        &self,
        interest: Interest,
        now: MonoTime,
        until: MonoTime,
        host: &dyn Host,
    ) -> Result<()> {
        if until <= now {
            return Err(Error::of(
                Kind::Timeout,
                "the client made no progress in time",
            ));
        }
        host.block_on_client(&BlockedCall {
            socket: self.stream.as_fd(),
            interest,
            until,
        })?;
        // A signal handler of the application may have come back from a fork.
        at_home(host)?;
        self.in_time()
    }

    /// Waits while more is pending than may be.
    fn hold_back(&mut self, config: &Config, host: &dyn Host) -> Result<()> {
        while self.outbox.spooled() > config.response_spool {
            let flushed = self.flush_outbox().map_err(|error| self.broken(error))?;
            if flushed == Flushed::Empty {
                break;
            }
            let now = host.now();
            let until = self.due(now, config);
            if let Err(error) = self.wait(Interest::Room, now, until, host) {
                self.response.stage = Stage::Broken;
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Reads once from `stream` into the room that `block` has left, and notes whether there may be more.
///
/// A short read has emptied the socket: epoll will tell of more, so there is no second read to be told so
/// (epoll(7), "Questions and answers"), unless the peer has hung up.
fn read(
    stream: &Stream,
    block: &mut BytesMut,
    hung_up: bool,
    readable: &mut bool,
) -> io::Result<usize> {
    loop {
        match stream.receive(block) {
            Ok(n) => {
                *readable = block.len() == block.capacity() || (hung_up && n > 0);
                return Ok(n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                *readable = false;
                return Err(error);
            }
        }
    }
}

/// Whether so much of a request's body is left when its response begins that the client should know that it
/// is the connection's last. A service that reads on after it has begun to answer is told of, too.
fn leaves_too_much(unread: BodyLength) -> bool {
    match unread {
        BodyLength::Empty => false,
        BodyLength::Known(len) => len > UNWANTED as u64,
        // It may have no end at all.
        BodyLength::Chunked => true,
    }
}

/// Fails in a child of the process whose call this is.
fn at_home(host: &dyn Host) -> Result<()> {
    if host.is_own_process() {
        return Ok(());
    }
    Err(Error::of(
        Kind::Response,
        "the response is that of the process that has forked this one",
    ))
}

/// The [`Exchange`] over a io, while its request is being answered.
pub(super) struct ConnectionExchange<'a> {
    pub(super) io: &'a RefCell<HttpIo>,
    pub(super) config: &'a Config,
    pub(super) host: &'a dyn Host,
}

impl ConnectionExchange<'_> {
    /// The io, unless a call on it is under way already: an application's iterable may come back here
    /// from another thread while the interpreter was given up. Nor has a child of the process any: both would write.
    fn io(&self) -> Result<RefMut<'_, HttpIo>> {
        at_home(self.host)?;
        self.io
            .try_borrow_mut()
            .map_err(|_| Error::of(Kind::Response, "the response is being written already"))
    }

    /// The io of a response whose body may be written.
    fn started(&self) -> Result<RefMut<'_, HttpIo>> {
        let io = self.io()?;
        match io.response.stage {
            Stage::Started => Ok(io),
            Stage::Waiting => Err(Error::of(
                Kind::Response,
                "the response has not been started",
            )),
            Stage::Complete => Err(Error::of(
                Kind::Response,
                "the response is complete already",
            )),
            Stage::Broken => Err(io.in_time().err().unwrap_or_else(Error::disconnected)),
        }
    }
}

impl Exchange for ConnectionExchange<'_> {
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        let io = &mut *self.io()?;
        if io.response.stage != Stage::Waiting {
            return Err(Error::of(
                Kind::Response,
                "the response was started already",
            ));
        }
        if !self.host.keeps() || leaves_too_much(io.http.unread()) {
            io.http.close_after();
        }
        let mut head = io.http.begin(&mut io.encoded, status, reason)?;
        date_header::with_lines(&self.config.server, |lines| head.preamble(lines));
        for (name, value) in headers {
            head.field(name, value)?;
        }
        head.finish(len)?;
        io.response = Response {
            stage: Stage::Started,
            status,
            ..Response::default()
        };
        Ok(())
    }

    fn send_informational<'h>(
        &self,
        status: u16,
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let io = &mut *self.io()?;
        if !(102..200).contains(&status) {
            return Err(Error::of(
                Kind::Response,
                format!("status {status} is not that of an interim response"),
            ));
        }
        if io.response.stage != Stage::Waiting {
            return Ok(());
        }
        let mut head = io.http.begin(&mut io.encoded, status, b"")?;
        for (name, value) in headers {
            head.field(name, value)?;
        }
        // What is wrong is told all the same: nobody should find out in production.
        if !self.config.early_hints {
            return Ok(());
        }
        head.finish(None)?;
        if let Err(error) = io.send_informational_head(self.config) {
            return Err(io.broken(error));
        }
        io.hold_back(self.config, self.host)
    }

    fn look(&self) -> Result<()> {
        let io = &mut *self.io()?;
        io.in_time()?;
        // Where the system cannot tell, a write will.
        if io.stream.has_hung_up().unwrap_or(false) {
            io.response.stage = Stage::Broken;
            return Err(Error::disconnected());
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let io = &mut *self.started()?;
        let frame = io.frame(bytes.len())?;
        if frame.take == 0 {
            return Ok(());
        }
        let block = [frame.prefix.as_ref(), &bytes[..frame.take], frame.suffix];
        if let Err(error) = io.send(block, self.config) {
            return Err(io.broken(error));
        }
        self.host.progress();
        io.hold_back(self.config, self.host)
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        let io = &mut *self.started()?;
        let frame = io.frame(bytes.len())?;
        // Where the body is shorter than was promised, what there is of it leaves all the same.
        let end = io.http.finish();
        let last = end.as_ref().map_or(b"" as &[u8], |last| last);
        // A block's own suffix and the last chunk are 7 octets together.
        let mut tail = [0; 8];
        let (suffix, rest) = tail.split_at_mut(frame.suffix.len());
        suffix.copy_from_slice(frame.suffix);
        rest[..last.len()].copy_from_slice(last);
        let tail = &tail[..frame.suffix.len() + last.len()];
        let block = [frame.prefix.as_ref(), &bytes[..frame.take], tail];
        if let Err(error) = io.send(block, self.config) {
            return Err(io.broken(error));
        }
        if let Err(error) = end {
            io.response.stage = Stage::Broken;
            return Err(error.into());
        }
        io.complete();
        Ok(())
    }

    fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()> {
        let io = &mut *self.started()?;
        let whole = usize::try_from(len).unwrap_or(usize::MAX);
        let frame = io.frame(whole)?;
        if let Err(error) = io.send([frame.prefix.as_ref(), b"", b""], self.config) {
            return Err(io.broken(error));
        }
        io.outbox.push_file(file, offset, frame.take as u64);
        io.encoded.extend_from_slice(frame.suffix);
        match io.http.finish() {
            Ok(end) => io.encoded.extend_from_slice(end),
            Err(error) => {
                io.response.stage = Stage::Broken;
                return Err(error.into());
            }
        }
        if let Err(error) = io.flush(self.config) {
            return Err(io.broken(error));
        }
        io.complete();
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.io()?.read_body(buffer, self.config, self.host)
    }
}

/// What a call is told that the client waited for too long.
pub(super) fn given_up() -> Error {
    Error::of(
        Kind::Timeout,
        "the request was given up: it took longer than request_timeout",
    )
}

impl From<h1::EncodeError> for Error {
    fn from(error: h1::EncodeError) -> Self {
        Error::of(Kind::Response, error.to_string()).because(error)
    }
}
