//! [`HttpIo`]: one connection's protocol, its transport, and what is pending between them.
//!
//! A write goes to the socket at once; what the socket does not take goes to the outbox. Only past the outbox's bounds
//! does the caller wait, for this connection alone.

mod receive;

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use bytes::BytesMut;

use super::Config;
use super::batch::LARGEST;
use super::body_stream::BodyStream;
use super::call_timeout::{CallOutcome, CallTimeoutGuard};
use super::date_header;
use super::error_response::ErrorResponse;
use super::host::{BlockedCall, Host, Interest};
use super::outbox::{Flushed, Outbox};
use super::pool::BufferPool;
use super::rate::SendRate;
use super::response::{Response, given_up};
use super::total::Totals;
use super::transport::Transport;
use super::upgrades::{Upgrade, Upgrades};
use crate::access::Recorded;
use crate::error::{Error, Kind, Result};
use crate::h1::{self, Frame, ResponseState};
use crate::service::Upgraded;
use crate::time::MonoTime;
pub(super) use receive::{ReceiveError, Received};

/// Bytes of an unwanted body, or behind a refusal, that are read and thrown away (Gunicorn's K5, K6).
pub(super) const UNWANTED: usize = 64 * 1024;

/// Bytes of a block that are copied behind what is encoded: for the kernel, parts cost more than that.
const JOINED: usize = 2048;

/// The socket, the protocol's state and the pending output of one connection.
#[derive(Debug)]
pub(super) struct HttpIo {
    /// While a call that may take too long has it; with `upgrade` in front of the transport, since they are to be dropped
    /// first.
    pub(super) timeout: Option<CallTimeoutGuard>,
    /// Where the call has taken the connection over.
    upgrade: Option<Upgrade>,
    upgrades: Upgrades,
    pub(super) transport: Transport,
    pub(super) http: h1::Conn,
    pub(super) outbox: Outbox,
    /// How fast the client takes what is in the outbox, if it was found too slow for it once.
    rate: Option<SendRate>,
    /// Encoded and not yet sent: a response's head waits here for the first block of the body.
    pub(super) encoded: BytesMut,
    /// The body of the current request, if it is read while it arrives.
    pub(super) body: BodyStream,
    pub(super) response: Response,
    /// The parts of the response that are kept for its record.
    pub(super) recorded: Recorded,
    /// Bytes that were read, framing included.
    read: u64,
    /// True if the response may wait for others of its turn, once it is complete.
    pub(super) may_cork: bool,
}

impl HttpIo {
    pub(super) fn new(transport: Transport, config: h1::ConnConfig, totals: &Totals) -> Self {
        Self {
            timeout: None,
            upgrade: None,
            upgrades: totals.upgrades.clone(),
            transport,
            http: h1::Conn::server(config),
            outbox: Outbox::new(totals),
            rate: None,
            encoded: BytesMut::new(),
            body: BodyStream::default(),
            response: Response::default(),
            recorded: Recorded::default(),
            read: 0,
            may_cork: false,
        }
    }

    /// Sends what is pending, what is encoded and then the parts of one block; what the socket does not take
    /// is kept: in memory up to `response_buffer`, then in the spool file.
    pub(super) fn send(&mut self, block: [&[u8]; 3], config: &Config) -> io::Result<()> {
        let mut block = block;
        let mut encoded = std::mem::take(&mut self.encoded);
        if !encoded.is_empty() && block.iter().map(|part| part.len()).sum::<usize>() <= JOINED {
            for part in std::mem::take(&mut block) {
                encoded.extend_from_slice(part);
            }
        }
        let [prefix, body, suffix] = block;
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
            sent = match self.transport.write_vectored(&slices[..count]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        if sent < total {
            self.keep(&parts, sent, total, config)?;
        }
        self.encoded = encoded;
        self.encoded.clear();
        Ok(())
    }

    /// Sends the last block. A short response of which nothing has left yet may wait for others, or for the end of its
    /// connection.
    pub(super) fn send_last(&mut self, block: [&[u8]; 3], config: &Config) -> io::Result<()> {
        let length = block.iter().map(|part| part.len()).sum::<usize>();
        let is_whole = !self.encoded.is_empty() && self.outbox.is_empty() && length <= LARGEST;
        self.transport.corked = is_whole && (self.may_cork || self.http.will_close());
        let sent = self.send(block, config);
        self.transport.corked = false;
        sent
    }

    /// Returns the framing for the next bytes of the response's body. Bytes beyond the announced length are dropped.
    pub(super) fn frame(&mut self, len: usize) -> Result<Frame> {
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

    /// Tells the host that the last bytes of the response are about to leave.
    pub(super) fn completing(&self, host: &dyn Host) -> io::Result<()> {
        // A response whose client was claimed before it is another one.
        self.begin()?;
        host.completing(self.response.status);
        Ok(())
    }

    /// Tells how the running call has ended; from now on it cannot be given up.
    pub(super) fn settle(&mut self) -> CallOutcome {
        let timeout = self.timeout.as_ref();
        let verdict = timeout.map_or(CallOutcome::InTime, |timeout| timeout.settle());
        if let CallOutcome::Refused { answer, .. } = verdict {
            self.response = answer;
        }
        if verdict != CallOutcome::InTime {
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
        let in_memory = self
            .outbox
            .has_room(total - sent, config.settings.response_buffer);
        for part in parts {
            let done = sent.min(part.len());
            sent -= done;
            if in_memory {
                self.outbox.push(&part[done..]);
            } else if done < part.len() {
                self.outbox
                    .push_spooled(&part[done..], config.tmp_upload_dir())?;
            }
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, config: &Config) -> io::Result<Flushed> {
        self.send([b"", b"", b""], config)?;
        self.flush_outbox()
    }

    fn flush_outbox(&mut self) -> io::Result<Flushed> {
        let flushed = self.outbox.flush(&self.transport)?;
        if flushed == Flushed::Empty {
            self.rate = None;
        }
        Ok(flushed)
    }

    /// Tells whether the client takes what is pending so slowly that another may have its place.
    pub(super) fn is_slow(&self, now: MonoTime, config: &Config) -> bool {
        let least = config.send_min_rate();
        let Some(mut rate) = self.rate.filter(|rate| rate.is_slow(now, least)) else {
            return false;
        };
        // It may have taken more since that was last looked at, of what the system had.
        rate.note(now, self.outbox.handed, self.transport.unsent());
        rate.is_slow(now, least)
    }

    /// When the client has to have taken more of what is pending, which the socket does not take; not after
    /// `now`, if it is too slow already.
    pub(super) fn due(&mut self, now: MonoTime, config: &Config) -> MonoTime {
        // What the system still has, the client has not: its buffers may hold minutes of a slow line.
        let unsent = self.transport.unsent();
        let handed = self.outbox.handed;
        let rate = self.rate.get_or_insert(SendRate::new(now, handed, unsent));
        rate.note(now, handed, unsent);
        rate.due(config.settings.send_timeout, config.send_min_rate())
    }

    /// Encodes a whole response of the server's own, unless the request has been answered; it is sent with the next
    /// flush.
    pub(super) fn refuse(&mut self, error: &ErrorResponse<'_>, config: &Config) {
        let (pages, http, out) = (&config.error_page, &mut self.http, &mut self.encoded);
        self.recorded.response_fields.clear();
        let server = &config.settings.server_header;
        self.response = date_header::with_lines(server, MonoTime::now(), |lines| {
            match error.request_id.filter(|_| config.sends_request_id()) {
                None => error.encode(pages, lines, http, out),
                Some(id) => {
                    let id = format!("X-Request-Id: {id}\r\n");
                    error.encode(pages, &[lines, id.as_bytes()].concat(), http, out)
                }
            }
        });
    }

    /// Takes a response's head back that has not left yet; tells whether there was one.
    pub(super) fn retract(&mut self) -> bool {
        let unsent = !self.encoded.is_empty() && self.http.retract();
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

    /// Takes from the pool what it needs to read and answer a request.
    pub(super) fn borrow_memory(&mut self, pool: &mut BufferPool) {
        if let Some(head) = pool.heads.pop() {
            self.http.adopt(head);
        }
        if self.encoded.capacity() == 0 {
            self.encoded = pool.blocks.pop().unwrap_or_default();
        }
    }

    /// Gives it back: nothing of a request has come.
    pub(super) fn return_memory(&mut self, pool: &mut BufferPool) {
        if let Some(head) = self.http.release() {
            pool.keep_head(head);
        }
        pool.keep_small_block(std::mem::take(&mut self.encoded));
    }

    /// Sends what is encoded as no response yet.
    pub(super) fn send_informational_head(&mut self, config: &Config) -> io::Result<()> {
        self.send([b"", b"", b""], config)?;
        if let Some(timeout) = &self.timeout {
            if self.http.response() == ResponseState::Due && self.outbox.is_empty() {
                timeout.unbegin();
            }
        }
        Ok(())
    }

    /// Notes that the response cannot be completed.
    pub(super) fn broken(&mut self, error: io::Error) -> Error {
        self.http.abort();
        self.in_time().err().unwrap_or_else(|| error.into())
    }

    /// Fails where the call was given up.
    pub(super) fn in_time(&self) -> Result<()> {
        match &self.timeout {
            Some(timeout) if timeout.is_given_up() => Err(given_up()),
            _ => Ok(()),
        }
    }

    /// Notes that the response is complete: whatever the call does now, its client has or gets all of it.
    pub(super) fn complete(&mut self) {
        if let Some(timeout) = &self.timeout {
            timeout.settle();
        }
    }

    /// Has the host wait for the client, until `until` at the most.
    ///
    /// # Errors
    ///
    /// A timeout where that has come, and the host's own.
    fn wait(
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
            socket: self.transport.stream.as_fd(),
            interest,
            until,
        })?;
        // A signal handler of the application may have come back from a fork.
        in_own_process(host)?;
        self.in_time()
    }

    /// Leaves the socket to the call, which has `socket` of it, once all that is pending has left.
    pub(super) fn take_over(
        &mut self,
        socket: OwnedFd,
        config: &Config,
        host: &dyn Host,
    ) -> Result<Upgraded> {
        self.begin()?;
        self.send([b"", b"", b""], config)
            .map_err(|error| self.broken(error))?;
        self.drain_to(None, config, host)?;
        // From here on the call has all the time that it wants.
        self.complete();
        self.in_time()?;
        let received = self.http.upgrade()?;
        self.transport
            .detach()
            .map_err(|error| Error::io("cannot have the client's socket block", error))?;
        self.upgrade = Some(self.upgrades.begin(&self.transport.stream));
        host.upgraded();
        Ok(Upgraded::new(socket, received.freeze()))
    }

    /// Waits while more is pending than may be.
    pub(super) fn hold_back(&mut self, config: &Config, host: &dyn Host) -> Result<()> {
        self.drain_to(Some(config.settings.response_spool), config, host)
    }

    /// Waits while more is pending in the file than `spooled` bytes, or, where that is not given, anything.
    fn drain_to(&mut self, spooled: Option<u64>, config: &Config, host: &dyn Host) -> Result<()> {
        while spooled.map_or(!self.outbox.is_empty(), |most| self.outbox.spooled() > most) {
            let flushed = self.flush_outbox().map_err(|error| self.broken(error))?;
            if flushed == Flushed::Empty {
                break;
            }
            let now = host.now();
            let until = self.due(now, config);
            if let Err(error) = self.wait(Interest::Room, now, until, host) {
                self.http.abort();
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Fails in a child of the process whose call this is.
pub(super) fn in_own_process(host: &dyn Host) -> Result<()> {
    if host.is_own_process() {
        return Ok(());
    }
    Err(Error::of(
        Kind::Response,
        "the response is that of the process that has forked this one",
    ))
}
