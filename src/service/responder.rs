//! [`Responder`]: how a service answers.
//!
//! A second answer, or half of one that passes for whole, cannot be written down: a [`Responded`] is made here alone.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ptr;

use super::{Exchange, Upgraded};
use crate::error::{Error, Result};

/// Answers one request, once.
///
/// ```
/// use oxicorn::{Request, Responded, Responder, Result};
///
/// fn pages(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
///     match request.path() {
///         "/" => reply.header("cache-control", "no-cache").text(200, "Welcome\n"),
///         "/old" => reply.redirect(301, "/"),
///         "/ping" => reply.status(204),
///         _ => reply.text(404, "no such page\n"),
///     }
/// }
/// ```
pub struct Responder<'a>(AmendedExchange<'a>);

/// An exchange with more fields in the head of its response.
struct AmendedExchange<'a> {
    exchange: &'a dyn Exchange,
    fields: Vec<Field>,
}

/// A field beside those that the answer has by itself.
struct Field {
    name: Vec<u8>,
    value: Vec<u8>,
    /// True if it takes the place of others of its name.
    replaces: bool,
}

/// The receipt for one complete response. Nothing but a finished [`Responder`] makes one.
///
/// ```
/// use oxicorn::{MakeService, testing::Client};
///
/// let hello = oxicorn::service::service_fn(|_, reply| reply.text(200, "hello\n"));
/// let noted = hello.wrap(|request, reply, next| {
///     let responded = next.call(request, reply)?;
///     assert_eq!((responded.status(), responded.sent()), (200, 6));
///     Ok::<_, oxicorn::Error>(responded)
/// });
/// Client::new(noted)?.get("/").send();
/// # Ok::<(), oxicorn::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a service proves with it that it has answered"]
pub struct Responded {
    status: u16,
    sent: u64,
}

impl Responded {
    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Tells how many bytes of a body the service gave. Of those, HEAD and a status without content send none.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

impl<'a> Responder<'a> {
    /// A responder for an exchange; for servers and for tests.
    #[must_use]
    pub fn new(exchange: &'a dyn Exchange) -> Self {
        Self(AmendedExchange {
            exchange,
            fields: Vec::new(),
        })
    }

    /// The exchange that it would answer, for a service that puts one of its own before another service's.
    #[must_use]
    pub fn into_exchange(self) -> impl Exchange + use<'a> {
        self.0
    }

    /// The exchange without the fields that were added: for what is recorded beside the answer.
    #[cfg(feature = "wsgi")]
    pub(crate) fn exchange(&self) -> &'a dyn Exchange {
        self.0.exchange
    }

    /// Adds a field to the answer, whichever service gives it. Fields of the same name stay: `Set-Cookie`, `Vary`.
    #[must_use]
    pub fn header(self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.with(name.into(), value.into(), false)
    }

    /// Adds a field to the answer, in the place of all others of the same name: those that the answer has by itself, and
    /// those that were added before or are added after it. Of several such calls for a name the first one counts, so that
    /// a service does not undo what a middleware in front of it has set.
    #[must_use]
    pub fn replace_header(self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.with(name.into(), value.into(), true)
    }

    fn with(mut self, name: Vec<u8>, value: Vec<u8>, replaces: bool) -> Self {
        self.0.fields.push(Field {
            name,
            value,
            replaces,
        });
        self
    }

    /// Answers with a status alone, without a body.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn status(self, status: u16) -> Result<Responded> {
        self.send(status, &[], b"")
    }

    /// Sends the client to another place: 301 or 308 for good, 302 or 307 for now, 303 to one that it is to GET
    /// (RFC 9110 §15.4). `location` is a URI, or a reference that is relative to the request's.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn redirect(self, status: u16, location: impl AsRef<str>) -> Result<Responded> {
        self.send(status, &[("location", location.as_ref())], b"")
    }

    /// Answers with a value as JSON (RFC 8259).
    ///
    /// # Errors
    ///
    /// A value that JSON cannot express, and those of [`send`](Self::send).
    #[cfg(feature = "json")]
    pub fn json(self, status: u16, value: &(impl serde::Serialize + ?Sized)) -> Result<Responded> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::with_source(format!("this is no JSON: {error}"), error))?;
        self.send(status, &[("content-type", "application/json")], &text)
    }

    /// Answers with a text in UTF-8.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn text(self, status: u16, text: impl AsRef<[u8]>) -> Result<Responded> {
        self.send(
            status,
            &[("content-type", "text/plain; charset=utf-8")],
            text.as_ref(),
        )
    }

    /// Answers with a body that is complete.
    ///
    /// # Errors
    ///
    /// A status or a header that cannot be sent, or a client that has gone.
    pub fn send(self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<Responded> {
        self.open(status, headers, Some(body.len() as u64))?
            .finish_with(body)
    }

    /// Starts an answer whose body is written piece by piece.
    ///
    /// # Errors
    ///
    /// A status or a header that cannot be sent, or a client that has gone.
    pub fn stream(self, status: u16, headers: &[(&str, &str)]) -> Result<BodyWriter<'a>> {
        self.open(status, headers, None)
    }

    /// Sends an interim response before the answer: `103` with `Link` headers lets a browser fetch while the
    /// answer is made (RFC 8297). HTTP/1.0 and HEAD get none, and a server sends none unless it is told to
    /// ([`early_hints`](crate::config::Settings::early_hints)).
    ///
    /// # Errors
    ///
    /// A status not within 102 to 199, a header that cannot be sent, or a client that has gone.
    pub fn send_informational<'h>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let headers = &mut headers.into_iter();
        self.0.exchange.send_informational(status, headers)
    }

    /// Looks whether the client is still there.
    ///
    /// # Errors
    ///
    /// Fails if the client has gone, or has at least ended its output.
    pub fn look(&self) -> Result<()> {
        self.0.exchange.look()
    }

    /// Takes the connection over in the place of an answer, to go on in the protocol that the request
    /// [asks for](crate::h1::Head::upgrades): the socket is the call's, which may keep it for long, and counts as a call
    /// until it returns. With `switching`, a 101 with these fields is sent before; without, nothing is. Only a
    /// [`ThreadedWorker`](crate::ThreadedWorker) can spare a thread for it, and no encrypted connection has a socket to
    /// give.
    ///
    /// A worker that leaves shuts the socket down in the last two seconds of its `graceful_timeout`, so that the call ends.
    ///
    /// # Errors
    ///
    /// Those of [`Exchange::take_over`], with the responder: it can still answer, unless the client has gone.
    pub fn take_over<'h>(
        self,
        switching: Option<&mut dyn Iterator<Item = (&'h [u8], &'h [u8])>>,
    ) -> Result<(Upgraded, Responded), (Self, Error)> {
        match self.0.take_over(switching) {
            Ok(upgraded) => {
                let (status, sent) = (101, 0);
                Ok((upgraded, Responded { status, sent }))
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Starts an answer from bytes: with a reason phrase of its own (empty for the standard one), and the
    /// length where it is known.
    ///
    /// # Errors
    ///
    /// A status or a header that cannot be sent, or a client that has gone.
    pub fn start<'h>(
        self,
        status: u16,
        reason: &[u8],
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<BodyWriter<'a>> {
        let headers = &mut headers.into_iter();
        self.0.begin(status, reason, headers, len)?;
        Ok(BodyWriter {
            exchange: self.0.exchange,
            status,
            sent: 0,
        })
    }

    fn open(
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

impl Exchange for AmendedExchange<'_> {
    #[inline]
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        if self.fields.is_empty() {
            return self.exchange.begin(status, reason, headers, len);
        }
        let replacing = |name: &[u8]| {
            let mut own = self.fields.iter();
            own.find(|field| field.replaces && field.name.eq_ignore_ascii_case(name))
        };
        let kept = headers.filter(|(name, _)| replacing(name).is_none());
        // A closure, for the names to live no longer than the fields.
        let kept = kept.map(|(name, value): (&[u8], &[u8])| (name, value));
        let own = self.fields.iter();
        let own = own.filter(|field| replacing(&field.name).is_none_or(|it| ptr::eq(it, *field)));
        let own = own.map(|field| (&*field.name, &*field.value));
        self.exchange
            .begin(status, reason, &mut kept.chain(own), len)
    }

    fn send_informational<'h>(
        &self,
        status: u16,
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        self.exchange.send_informational(status, headers)
    }

    fn record_variable(&self, name: &str, value: &[u8]) {
        self.exchange.record_variable(name, value);
    }

    fn look(&self) -> Result<()> {
        self.exchange.look()
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        self.exchange.write(bytes)
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        self.exchange.write_last(bytes)
    }

    fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()> {
        self.exchange.send_file(file, offset, len)
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.exchange.read(buffer)
    }

    fn may_take_over(&self) -> Result<(), &'static str> {
        self.exchange.may_take_over()
    }

    fn take_over<'h>(
        &self,
        switching: Option<&mut dyn Iterator<Item = (&'h [u8], &'h [u8])>>,
    ) -> Result<Upgraded> {
        let Some(headers) = switching else {
            return self.exchange.take_over(None);
        };
        let own = self.fields.iter();
        let own = own.map(|field| (&*field.name, &*field.value));
        // A closure, for the names to live no longer than the fields.
        let headers = headers.map(|(name, value): (&[u8], &[u8])| (name, value));
        self.exchange.take_over(Some(&mut headers.chain(own)))
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
///
/// ```
/// use std::io::Write;
///
/// use oxicorn::{Request, Responded, Responder, Result};
///
/// fn count(_: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
///     let mut body = reply.stream(200, &[("content-type", "text/plain")])?;
///     for number in 1..=3 {
///         writeln!(body, "{number}")?;
///     }
///     body.finish()
/// }
/// ```
pub struct BodyWriter<'a> {
    exchange: &'a dyn Exchange,
    status: u16,
    sent: u64,
}

impl BodyWriter<'_> {
    /// Looks whether the client is still there, where there is nothing to write for now.
    ///
    /// # Errors
    ///
    /// Fails if the client has gone, or has at least ended its output.
    pub fn look(&self) -> Result<()> {
        self.exchange.look()
    }

    /// Ends the response.
    ///
    /// # Errors
    ///
    /// Those of [`finish_with`](Self::finish_with).
    pub fn finish(self) -> Result<Responded> {
        self.finish_with(&[])
    }

    /// Ends the response with a last block, which may leave in the same write.
    ///
    /// # Errors
    ///
    /// A client that has gone, or a body that is not as long as the response's head says.
    pub fn finish_with(self, bytes: &[u8]) -> Result<Responded> {
        self.exchange.write_last(bytes)?;
        Ok(self.responded(bytes.len() as u64))
    }

    /// Ends the response with `len` bytes of `file`, from `offset` on.
    ///
    /// # Errors
    ///
    /// Those of [`finish_with`](Self::finish_with), or a file that cannot be read so far.
    pub fn send_file(self, file: File, offset: u64, len: u64) -> Result<Responded> {
        self.exchange.send_file(file, offset, len)?;
        Ok(self.responded(len))
    }

    fn responded(&self, last: u64) -> Responded {
        Responded {
            status: self.status,
            sent: self.sent + last,
        }
    }
}

impl Write for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.exchange.write(bytes)?;
        self.sent += bytes.len() as u64;
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
