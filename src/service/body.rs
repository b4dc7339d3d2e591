//! [`Body`]: a request's body, complete or still arriving.
//!
//! A body that was cut never looks whole: reading it fails.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use super::Exchange;
use crate::error::{Error, Result};

/// A request's body: [`Read`] it.
///
/// A read fails where the client left before the body was complete: a cut body never looks whole.
///
/// ```
/// use std::io::Read;
/// use oxicorn::{Request, Responder, testing::Client};
///
/// let count = |request: Request<'_>, reply: Responder<'_>| {
///     let mut text = String::new();
///     request.into_body().read_to_string(&mut text)?;
///     reply.text(200, text.lines().count().to_string())
/// };
/// let client = Client::new(oxicorn::service::service_fn(count))?;
/// assert_eq!(client.post("/").body("one\ntwo\n").send().text(), "2");
/// # Ok::<(), oxicorn::Error>(())
/// ```
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
    /// Fails if the file cannot be wound back.
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

    /// Tells whether it is known that there is nothing (more) to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Source::Owned(body) => body.is_empty(),
            Source::Stream(_) => false,
        }
    }

    /// Tells how many bytes are left to read; `None` of a body that is still arriving.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match &self.0 {
            Source::Owned(body) => Some(body.left()),
            Source::Stream(_) => None,
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
    /// Tells whether there is nothing (more) to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// Tells how many bytes there are (still) to read.
    #[must_use]
    pub fn left(&self) -> u64 {
        match &self.0 {
            Owned::Empty => 0,
            Owned::Memory(bytes) => bytes.len() as u64,
            Owned::File { left, .. } => *left,
        }
    }

    /// Returns the unread rest, where it is in memory; nothing is copied.
    ///
    /// # Errors
    ///
    /// Gives a body back that is in a file.
    pub fn into_bytes(self) -> Result<Bytes, Self> {
        match self.0 {
            Owned::Empty => Ok(Bytes::new()),
            Owned::Memory(bytes) => Ok(bytes),
            file @ Owned::File { .. } => Err(Self(file)),
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
