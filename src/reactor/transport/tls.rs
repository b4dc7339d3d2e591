//! [`Session`]: a connection's TLS, between its socket and its protocol.
//!
//! ```text
//!   socket ── records ──▶ rustls ── plaintext ──▶ Transport::read
//!   socket ◀─ records ── rustls ◀─ plaintext ─── Transport::write_vectored
//! ```
//!
//! A handshake is a part of reading: it goes on with each read that finds something, and answers at once. So a client
//! that has not finished it is one that has sent nothing of a request, under the deadline of that.
//!
//! *Invariants*: no more is encrypted before what was has left; a read makes one system call at the most, so that no
//! client that sends records without content keeps a reactor; nothing is written without `close_notify` after it that
//! a client could take for the end of a response which was cut.

use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};

use bytes::BytesMut;
use rustls::{HandshakeKind, ServerConnection};

use super::Stream;
use crate::net::tls::{Certificate, Tls, openssl_name};
use crate::service::{ClientCertificate, TlsInfo};
use crate::trace;

/// What a client has sent that speaks no TLS.
#[derive(Debug, thiserror::Error)]
#[error("The client speaks plain HTTP to a port for HTTPS")]
pub(in crate::reactor) struct PlainHttp;

impl PlainHttp {
    /// Whether this is what `error` says.
    pub(in crate::reactor) fn is_it(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner.is_some_and(|inner| inner.downcast_ref::<Self>().is_some())
    }
}

/// A connection's TLS.
pub(super) struct Session {
    tls: ServerConnection,
    /// About how many bytes of plaintext are encrypted, and not taken by the socket.
    pending: u64,
    /// Whether something has come.
    begun: bool,
    /// Whether there is plaintext to read, or the end.
    has_buffered: bool,
    /// Whether an end without `close_notify` is one like any other.
    ragged: bool,
}

impl Session {
    /// `None` where the system has no random bytes: the connection cannot be had.
    pub(super) fn new(tls: &Tls, ragged: bool) -> Option<Self> {
        let session = tls.session();
        if let Err(error) = &session {
            trace::error!("cannot begin a TLS session: {error}");
        }
        Some(Self {
            tls: session.ok()?,
            pending: 0,
            begun: false,
            has_buffered: false,
            ragged,
        })
    }

    pub(super) fn has_buffered(&self) -> bool {
        self.has_buffered
    }

    pub(super) fn pending(&self) -> u64 {
        self.pending
    }

    /// Reads plaintext into the room that `block` has left; 0 is the peer's end. `edge` says whether there may be
    /// something in the socket, and is kept so; `last` that it will tell of nothing more.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where no plaintext has come yet, though the socket may have more; [`PlainHttp`]; those of the
    /// socket and of TLS, after which nothing can be read.
    pub(super) fn read(
        &mut self,
        stream: &Stream,
        block: &mut BytesMut,
        edge: &mut bool,
        last: bool,
    ) -> io::Result<usize> {
        if !self.has_buffered {
            // A handshake that waited for room goes on.
            self.push(stream)?;
            if !*edge {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let fetched = self.fetch(stream);
            *edge = match &fetched {
                Ok((taken, all)) => *taken > 0 && (*all || last),
                Err(error) => error.kind() == io::ErrorKind::Interrupted,
            };
            fetched?;
        }
        self.take(block)
    }

    /// Reads from the socket once. Tells how much came, and whether it filled the room for it.
    fn fetch(&mut self, stream: &Stream) -> io::Result<(usize, bool)> {
        let mut socket = Socket {
            stream,
            begun: self.begun,
            is_full: false,
        };
        let taken = self.tls.read_tls(&mut socket)?;
        let is_full = socket.is_full;
        self.begun |= taken > 0;
        self.process(stream, taken == 0)?;
        Ok((taken, is_full))
    }

    /// Takes bytes that were read from the socket before the session was there.
    pub(super) fn begin_with(&mut self, mut bytes: &[u8], stream: &Stream) -> io::Result<()> {
        while !bytes.is_empty() {
            self.begun = true;
            self.tls.read_tls(&mut bytes)?;
            self.process(stream, false)?;
        }
        Ok(())
    }

    fn process(&mut self, stream: &Stream, ended: bool) -> io::Result<()> {
        let processed = self.tls.process_new_packets();
        // A handshake's next part, or the alert of its failure.
        let pushed = self.push(stream);
        let state = processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        pushed?;
        self.has_buffered = state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() || ended;
        Ok(())
    }

    /// Takes what plaintext there is.
    fn take(&mut self, block: &mut BytesMut) -> io::Result<usize> {
        let before = block.len();
        let mut reader = self.tls.reader();
        loop {
            let room = block.capacity() - block.len();
            match reader.fill_buf() {
                Ok(_) if room == 0 => break,
                Ok(chunk) if !chunk.is_empty() => {
                    let n = room.min(chunk.len());
                    block.extend_from_slice(&chunk[..n]);
                    reader.consume(n);
                }
                end => {
                    let is_end =
                        !matches!(&end, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
                    // What came before the end is told first.
                    let is_first = block.len() == before;
                    self.has_buffered = is_end && !is_first;
                    match end {
                        Err(error) if is_first && !(self.ragged && is_cut(&error)) => {
                            return Err(error);
                        }
                        _ => break,
                    }
                }
            }
        }
        Ok(block.len() - before)
    }

    /// Encrypts of the slices what there is room for, and says how many bytes that was. What the socket does not take
    /// of it is kept.
    pub(super) fn write_vectored(
        &mut self,
        stream: &Stream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if !self.push(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.tls.writer().write_vectored(slices)?;
        self.pending += taken as u64;
        self.push(stream)?;
        Ok(taken)
    }

    /// Sends what is encrypted; tells whether all of it has left.
    pub(super) fn push(&mut self, stream: &Stream) -> io::Result<bool> {
        while self.tls.wants_write() {
            let mut socket = Socket {
                stream,
                begun: true,
                is_full: false,
            };
            match self.tls.write_tls(&mut socket) {
                Ok(sent) => self.pending = self.pending.saturating_sub(sent as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pending = 0;
        Ok(true)
    }

    /// Tells the peer that what it has got is all (RFC 8446 §6.1).
    pub(super) fn close(&mut self, stream: &Stream) {
        self.tls.send_close_notify();
        // It fails where the client has gone.
        let _ = self.push(stream);
    }

    /// The facts of the session, once its handshake is over.
    pub(super) fn info(&self) -> TlsInfo {
        let version = match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let suite = self.tls.negotiated_cipher_suite();
        let cipher = suite.map_or("", |suite| openssl_name(suite.suite()));
        let mut info = TlsInfo::new(version, cipher);
        info.server_name = self.tls.server_name().map(str::to_owned);
        info.resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let shown = self.tls.peer_certificates().and_then(|chain| chain.first());
        info.client = shown.and_then(|der| {
            let facts = Certificate::parse(der)?;
            let mut client = ClientCertificate::new(der.to_vec());
            client.subject = facts.subject;
            client.common_name = facts.common_name;
            client.issuer = facts.issuer;
            client.serial = facts.serial;
            client.not_before = facts.start;
            client.not_after = facts.end;
            Some(client)
        });
        info
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("handshaking", &self.tls.is_handshaking())
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

/// Whether the peer has ended its output without a word.
fn is_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// The socket, as rustls uses it.
struct Socket<'s> {
    stream: &'s Stream,
    /// Whether the first bytes have come.
    begun: bool,
    /// Whether a read has filled the room that it had.
    is_full: bool,
}

impl Read for Socket<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let taken = self.stream.read(room)?;
        self.is_full = taken == room.len();
        // A record begins with a number below 32, and a request with a letter.
        if !self.begun && taken > 0 && room[0].is_ascii_uppercase() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, PlainHttp));
        }
        Ok(taken)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
