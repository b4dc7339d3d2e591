//! What a server calls: [`Service`], with the [`Request`] it gets and the [`Responder`] it answers with.
//!
//! Nothing here knows a socket, a worker or Python. A server hands out one [`Exchange`] a request; the
//! request's body and the responder share it.
//!
//! ```text
//!   Responder ── start, stream ──▶ BodyWriter ── finish ──▶ Sent
//!       └───────── text, send ──────────────────────────────▶
//! ```
//!
//! *Invariants*: a [`Sent`] exists only where exactly one complete response was given to the exchange.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::forked::Forked;
use crate::h1::Head;

/// Something that answers requests.
///
/// Neither `Send` nor `Sync`: a worker that needs either asks for it. Every
/// `Fn(Request<'_>, Responder<'_>) -> Result<Sent>` is one.
pub trait Service {
    /// Answers one request. `Err` before the response was started is a 500; afterwards the connection is
    /// cut, so that the client cannot take what it got for the whole.
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Sent>;

    /// The worker leaves, and no call will follow: the place to flush what waits. Called once, on the main
    /// thread, with the [turn](Self::turn) held; not where the worker is killed.
    fn retire(&self) {}

    /// The worker leaves at once: breaks off the calls that run in other threads, as far as that can be
    /// done; by default nothing. Called with the [turn](Self::turn) held; waits for nothing.
    fn interrupt(&self) {}

    /// What breaks off the call that runs on the main thread, for a worker to call with the signal's number
    /// from within its handlers of INT and QUIT: so it must be async-signal-safe (`signal-safety(7)`), and do
    /// nothing where no call runs. None by default.
    fn interrupter(&self) -> Option<fn(i32)> {
        None
    }

    /// What a thread must hold while it calls this service; nothing by default.
    fn turn(&self) -> &dyn Turn {
        &Free
    }
}

impl<F: Fn(Request<'_>, Responder<'_>) -> Result<Sent>> Service for F {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Sent> {
        self(request, reply)
    }
}

/// Gives a closure the signature of a [`Service`], which type inference cannot find by itself.
pub fn service_fn<F: Fn(Request<'_>, Responder<'_>) -> Result<Sent>>(service: F) -> F {
    service
}

/// A recipe for a [`Service`], followed in each worker process.
///
/// A `Service` that is `Clone` is its own recipe.
pub trait MakeService {
    /// What is made.
    type Service: Service;

    /// Makes the service: in the worker, after the fork, on its main thread.
    ///
    /// # Errors
    ///
    /// Where the service cannot be made; the worker then never becomes ready.
    fn make(&self, site: &Site<'_>) -> Result<Self::Service>;

    /// Loads in the arbiter, before the first fork, what workers are to share.
    fn preload(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether there is something that was loaded so: a worker that is made from it later has no newer one.
    fn is_preloaded(&self) -> bool {
        false
    }

    /// Forks a worker: must call `fork` exactly once, and may do what must be done around it.
    fn around_fork(&mut self, fork: &mut dyn FnMut() -> Forked) {
        fork();
    }
}

impl<S: Service + Clone> MakeService for S {
    type Service = S;

    fn make(&self, _: &Site<'_>) -> Result<S> {
        Ok(self.clone())
    }
}

/// Makes a service with a closure, in each worker. Made by [`per_worker`].
#[derive(Clone, Copy, Debug)]
pub struct PerWorker<F>(F);

/// A recipe from a closure, for services that are not `Clone` or need to know their [`Site`].
pub fn per_worker<S: Service, F: Fn(&Site<'_>) -> Result<S>>(make: F) -> PerWorker<F> {
    PerWorker(make)
}

impl<S: Service, F: Fn(&Site<'_>) -> Result<S>> MakeService for PerWorker<F> {
    type Service = S;

    fn make(&self, site: &Site<'_>) -> Result<S> {
        (self.0)(site)
    }
}

/// The place where a service will run: [`Site::new`], and then what is different there.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Site<'a> {
    /// Which of the server's workers this is; a replacement has a number of its own.
    pub worker: u64,
    /// How many worker processes the server is set to run.
    pub workers: usize,
    /// How many threads of one worker may call the service at once.
    pub threads: usize,
    /// The addresses that the server listens on; [`Connection::listener`] is an index into them.
    pub listeners: &'a [Address],
    /// How this process is asked what its threads are doing, if it is.
    pub stacks: Option<Stacks<'a>>,
}

impl<'a> Site<'a> {
    /// Worker 1 of 1, with one thread, which nobody asks for its stacks.
    #[must_use]
    pub fn new(listeners: &'a [Address]) -> Self {
        Self {
            worker: 1,
            workers: 1,
            threads: 1,
            listeners,
            stacks: None,
        }
    }
}

/// A service in a language with stacks of its own writes those of all its threads when this process gets a
/// signal: also while nobody can have the [turn](Service::turn), which is when they are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Stacks<'a> {
    /// Where to write them. Who wants to write later duplicates it.
    pub to: BorrowedFd<'a>,
    /// The signal's number.
    pub on: i32,
}

/// What a thread must hold to call a service: Python's interpreter lock, or nothing.
pub trait Turn: Sync {
    /// Whether holding it means that no other thread is in a call.
    fn exclusive(&self) -> bool;

    /// Runs `life`, which spans a thread's whole life, with the turn held.
    fn enter(&self, life: &mut dyn FnMut());

    /// Gives the turn up, runs `block`, and returns holding it again.
    fn wait(&self, block: &mut (dyn FnMut() + Send));

    /// To be called between waits: a signal may have come, also just before a wait, which it did not
    /// interrupt then.
    ///
    /// # Errors
    ///
    /// What a signal handler of the application raised.
    fn interrupted(&self) -> Result<()>;
}

/// The [`Turn`] of a service that needs none.
#[derive(Clone, Copy, Debug)]
pub struct Free;

impl Turn for Free {
    fn exclusive(&self) -> bool {
        false
    }

    fn enter(&self, life: &mut dyn FnMut()) {
        life();
    }

    fn wait(&self, block: &mut (dyn FnMut() + Send)) {
        block();
    }

    fn interrupted(&self) -> Result<()> {
        Ok(())
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An Internet address.
    Ip(SocketAddr),
    /// A Unix socket; `None` where it has no path, as a client's usually has not.
    Unix(Option<PathBuf>),
}

impl Address {
    /// The Internet address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path of the Unix socket, if it is one with a path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(path) => path.as_deref(),
        }
    }
}

impl fmt::Display for Address {
    /// `127.0.0.1:8000`, `[::1]:8000`, `unix:/run/x.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(
                f,
                "unix:{}",
                path.as_deref().unwrap_or(Path::new("")).display()
            ),
        }
    }
}

/// What is known of a connection: from its sockets, and from what peers say whose word counts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// Who speaks: the client that a trusted forwarder tells, else the one that a PROXY header announced,
    /// else who connected. Port 0 is one that nobody told.
    pub peer: Address,
    /// Who connected: the nearest balancer, or the client itself.
    pub direct: Address,
    /// Whether [`direct`](Self::direct) may speak for its clients in header fields.
    pub trusted: bool,
    /// What the client speaks, as far as TLS and trusted forwarders tell.
    pub scheme: Scheme,
    /// What a PROXY header said, where one came.
    pub proxied: Option<Proxied>,
    /// Which of the server's listeners accepted it: an index into [`Site::listeners`].
    pub listener: usize,
    /// The listener's address.
    pub local: Address,
}

impl Connection {
    /// A connection from `peer` to the listener of that index and address, with nobody between.
    #[must_use]
    pub fn new(peer: Address, listener: usize, local: Address) -> Self {
        Self {
            direct: peer.clone(),
            peer,
            trusted: false,
            scheme: Scheme::default(),
            proxied: None,
            listener,
            local,
        }
    }
}

/// A scheme of HTTP's (RFC 9110 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

/// What a PROXY header said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// `TCP4` or `TCP6`, or where no client was announced `LOCAL` or `UNSPEC`.
    pub protocol: &'static str,
    /// The client.
    pub source: Option<SocketAddr>,
    /// What the client connected to.
    pub destination: Option<SocketAddr>,
}

/// One connection's current request and response, as a server offers it to a service.
///
/// The methods take `&self`, so that the body and the responder can be used side by side.
pub trait Exchange {
    /// Starts the response. `headers` are the service's own; framing, `Server` and `Date` are the
    /// server's. `len` is the body's length where it is known and `headers` do not say it.
    ///
    /// Nothing needs to be sent before the first [`write`](Self::write).
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()>;

    /// Sends an interim response (RFC 9110 §15.2) at once, where the client understands it and the response
    /// has not begun; otherwise, and by default, does nothing.
    ///
    /// # Errors
    ///
    /// A status not within 102 to 199, or a header that cannot be sent.
    fn inform<'h>(
        &self,
        status: u16,
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let _ = (status, headers);
        Ok(())
    }

    /// Sends a block of the body, or has it on its way when it returns.
    fn write(&self, bytes: &[u8]) -> Result<()>;

    /// Sends the last block, which may be empty, and ends the response.
    fn write_last(&self, bytes: &[u8]) -> Result<()>;

    /// Sends `len` bytes of `file` from `offset` on, and ends the response.
    fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()>;

    /// Reads from a request body that is still arriving; 0 is its end.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;
}

/// A request: its head, its connection and its body.
#[derive(Debug)]
pub struct Request<'a> {
    head: &'a Head,
    connection: &'a Connection,
    body: Body<'a>,
}

impl<'a> Request<'a> {
    /// Puts a request together; for servers and for tests.
    #[must_use]
    pub fn new(head: &'a Head, connection: &'a Connection, body: Body<'a>) -> Self {
        Self {
            head,
            connection,
            body,
        }
    }

    /// The method as it was sent: `GET`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.head.method()
    }

    /// The path of the target as it was sent, not decoded, without the query: `/a%20b`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// The query of the target as it was sent, without the question mark; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &'a str {
        self.head.query()
    }

    /// The value of the first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.get(name)
    }

    /// The whole head.
    #[must_use]
    pub fn head(&self) -> &'a Head {
        self.head
    }

    /// The connection that it came on.
    #[must_use]
    pub fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// The body, to read from.
    #[must_use]
    pub fn into_body(self) -> Body<'a> {
        self.body
    }

    /// All three parts.
    #[must_use]
    pub fn into_parts(self) -> (&'a Head, &'a Connection, Body<'a>) {
        (self.head, self.connection, self.body)
    }
}

/// A request's body: [`Read`] it.
///
/// A read fails where the client left before the body was complete: a cut body never looks whole.
pub struct Body<'a>(Source<'a>);

enum Source<'a> {
    Owned(OwnedBody),
    Stream(&'a dyn Exchange),
}

/// A complete request body, which owns itself and may go to another thread: [`Read`] it.
///
/// [`Body::detach`] gives it.
#[derive(Default)]
pub struct OwnedBody(Owned);

#[derive(Default)]
enum Owned {
    #[default]
    Empty,
    Memory(Bytes),
    File {
        file: File,
        left: u64,
    },
}

impl<'a> Body<'a> {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        OwnedBody::default().into()
    }

    /// A complete body in memory.
    #[must_use]
    pub fn memory(bytes: Bytes) -> Self {
        OwnedBody(if bytes.is_empty() {
            Owned::Empty
        } else {
            Owned::Memory(bytes)
        })
        .into()
    }

    /// A complete body in a file: `len` bytes from its start.
    ///
    /// # Errors
    ///
    /// Where the file cannot be wound back.
    pub fn file(mut file: File, len: u64) -> Result<Self> {
        file.seek(SeekFrom::Start(0))
            .map_err(|e| Error::io("cannot rewind a spooled request body", e))?;
        Ok(OwnedBody(Owned::File { file, left: len }).into())
    }

    /// A body that is still arriving, read through its exchange.
    #[must_use]
    pub fn stream(exchange: &'a dyn Exchange) -> Self {
        Self(Source::Stream(exchange))
    }

    /// Whether it is known that there is nothing (more) to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Source::Owned(body) => body.is_empty(),
            Source::Stream(_) => false,
        }
    }

    /// The body without its borrow of the exchange: what is in memory or in a file owns itself.
    ///
    /// # Errors
    ///
    /// Gives a body back that is still arriving.
    pub fn detach(self) -> Result<OwnedBody, Self> {
        match self.0 {
            Source::Owned(body) => Ok(body),
            Source::Stream(_) => Err(self),
        }
    }
}

impl From<OwnedBody> for Body<'_> {
    fn from(body: OwnedBody) -> Self {
        Self(Source::Owned(body))
    }
}

impl OwnedBody {
    /// Whether there is nothing (more) to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Owned::Empty => true,
            Owned::Memory(bytes) => bytes.is_empty(),
            Owned::File { left, .. } => *left == 0,
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Owned(body) => body.read(buffer),
            Source::Stream(exchange) => Ok(exchange.read(buffer)?),
        }
    }
}

impl Read for OwnedBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Owned::Empty => Ok(0),
            Owned::Memory(bytes) => {
                let n = buffer.len().min(bytes.len());
                buffer[..n].copy_from_slice(&bytes.split_to(n));
                Ok(n)
            }
            Owned::File { file, left } => {
                let room = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let n = file.read(&mut buffer[..room])?;
                if n == 0 && room > 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "a spooled request body was cut",
                    ));
                }
                *left -= n as u64;
                Ok(n)
            }
        }
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Owned(body) => body.fmt(f),
            Source::Stream(_) => f.write_str("Body::stream"),
        }
    }
}

impl fmt::Debug for OwnedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Owned::Empty => "Body::empty",
            Owned::Memory(_) => "Body::memory",
            Owned::File { .. } => "Body::file",
        })
    }
}

/// Answers one request, once.
pub struct Responder<'a> {
    exchange: &'a dyn Exchange,
}

/// The receipt for one complete response. Nothing but a finished [`Responder`] makes one.
#[derive(Debug)]
#[must_use = "a service proves with it that it has answered"]
pub struct Sent(());

impl<'a> Responder<'a> {
    /// A responder for an exchange; for servers and for tests.
    #[must_use]
    pub fn new(exchange: &'a dyn Exchange) -> Self {
        Self { exchange }
    }

    /// The exchange that it would answer, for a service that puts one of its own before another service's.
    #[must_use]
    pub fn into_exchange(self) -> &'a dyn Exchange {
        self.exchange
    }

    /// Answers with a text in UTF-8.
    pub fn text(self, status: u16, text: impl AsRef<[u8]>) -> Result<Sent> {
        self.send(
            status,
            &[("content-type", "text/plain; charset=utf-8")],
            text.as_ref(),
        )
    }

    /// Answers with a body that is complete.
    pub fn send(self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<Sent> {
        self.begin(status, headers, Some(body.len() as u64))?
            .finish_with(body)
    }

    /// Starts an answer whose body is written piece by piece.
    pub fn stream(self, status: u16, headers: &[(&str, &str)]) -> Result<BodyWriter<'a>> {
        self.begin(status, headers, None)
    }

    /// Sends an interim response before the answer: `103` with `Link` headers lets a browser fetch while the
    /// answer is made (RFC 8297). Clients of HTTP/1.0 get none.
    ///
    /// # Errors
    ///
    /// A status not within 102 to 199, a header that cannot be sent, or a client that has gone.
    pub fn inform<'h>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        self.exchange.inform(status, &mut headers.into_iter())
    }

    /// Starts an answer from bytes: with a reason phrase of its own (empty for the standard one), and the
    /// length where it is known.
    pub fn start<'h>(
        self,
        status: u16,
        reason: &[u8],
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<BodyWriter<'a>> {
        self.exchange
            .begin(status, reason, &mut headers.into_iter(), len)?;
        Ok(BodyWriter {
            exchange: self.exchange,
        })
    }

    fn begin(
        self,
        status: u16,
        headers: &[(&str, &str)],
        len: Option<u64>,
    ) -> Result<BodyWriter<'a>> {
        self.start(
            status,
            b"",
            headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            len,
        )
    }
}

impl fmt::Debug for Responder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// Writes a response's body: [`Write`] to it, then [`finish`](Self::finish).
///
/// A writer that is dropped unfinished leaves the response cut, and the connection with it.
pub struct BodyWriter<'a> {
    exchange: &'a dyn Exchange,
}

impl BodyWriter<'_> {
    /// Ends the response.
    pub fn finish(self) -> Result<Sent> {
        self.finish_with(&[])
    }

    /// Ends the response with a last block, which may leave in the same write.
    pub fn finish_with(self, bytes: &[u8]) -> Result<Sent> {
        self.exchange.write_last(bytes)?;
        Ok(Sent(()))
    }

    /// Ends the response with `len` bytes of `file`, from `offset` on.
    pub fn send_file(self, file: File, offset: u64, len: u64) -> Result<Sent> {
        self.exchange.send_file(file, offset, len)?;
        Ok(Sent(()))
    }
}

impl Write for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.exchange.write(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: every block is on its way when `write` returns (PEP 3333, "Buffering and Streaming").
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for BodyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyWriter")
    }
}
