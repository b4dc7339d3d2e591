//! [`Request`]: what a service is asked.

use std::any::Any;
use std::borrow::Cow;
#[cfg(feature = "json")]
use std::io::Read;

use percent_encoding::percent_decode_str;

use super::{Address, Body, ConnectionInfo, RequestInfo, Scheme, trace_parent};
#[cfg(feature = "json")]
use crate::error::{Error, Result};
use crate::h1::{Head, Version};

/// A request: its head, its connection and its body.
///
/// ```
/// use oxicorn::{Request, Responded, Responder, Result};
///
/// fn search(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
///     let words = request.query_pairs().find(|(name, _)| name == "q").map(|(_, words)| words);
///     reply.text(200, format!("{} asks for {words:?}\n", request.client()))
/// }
/// ```
#[derive(Debug)]
pub struct Request<'a> {
    head: &'a Head,
    connection: &'a ConnectionInfo,
    info: &'a RequestInfo,
    body: Body<'a>,
    /// How much of the path routers have taken off.
    mounted: usize,
    values: Vec<Box<dyn Any>>,
}

impl<'a> Request<'a> {
    /// Puts a request together, without a forwarder's facts; for servers and for tests.
    #[must_use]
    pub fn new(head: &'a Head, connection: &'a ConnectionInfo, body: Body<'a>) -> Self {
        Self {
            head,
            connection,
            info: RequestInfo::NONE,
            body,
            mounted: 0,
            values: Vec::new(),
        }
    }

    /// The same request, with a forwarder's facts.
    #[must_use]
    pub fn with_info(self, info: &'a RequestInfo) -> Self {
        Self { info, ..self }
    }

    /// The same request, with another body: for a service that puts one in the place of what came.
    #[must_use]
    pub fn with_body(self, body: Body<'a>) -> Self {
        Self { body, ..self }
    }

    /// The same request, below `more` bytes of its path.
    pub(crate) fn mounted_at(mut self, more: usize) -> Self {
        self.mounted += more;
        self
    }

    /// Gives the request a value for the services behind this one: a user that was let in, a number for the logs.
    #[must_use]
    pub fn with_value<T: 'static>(mut self, value: T) -> Self {
        self.values.push(Box::new(value));
        self
    }

    /// The value of this type that the request was given last.
    #[must_use]
    pub fn value<T: 'static>(&self) -> Option<&T> {
        let mut values = self.values.iter().rev();
        values.find_map(|value| value.downcast_ref())
    }

    /// The method as it was sent: `GET`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.head.method()
    }

    /// The path of the target as it was sent, not decoded, without the query: `/a%20b`. Below a
    /// [`Router`](super::Router) it is what follows the [mount](Self::mount), and `/` where nothing does.
    #[must_use]
    pub fn path(&self) -> &'a str {
        match &self.head.path()[self.mounted..] {
            "" if self.mounted > 0 => "/",
            path => path,
        }
    }

    /// The part of the path that routers have taken off, as it was sent; empty without one.
    #[must_use]
    pub fn mount(&self) -> &'a str {
        &self.head.path()[..self.mounted]
    }

    /// The [mount](Self::mount) as bytes.
    #[cfg(feature = "wsgi")]
    pub(crate) fn mount_bytes(&self) -> &'a [u8] {
        &self.head.path_bytes()[..self.mounted]
    }

    /// The query of the target as it was sent, without the question mark; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &'a str {
        self.head.query()
    }

    /// The pairs of the query, decoded as those of a form (WHATWG URL, `application/x-www-form-urlencoded`): a plus is a
    /// blank, and bytes that are not UTF-8 become U+FFFD.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        form_pairs(self.query())
    }

    /// The version of HTTP that the client has asked in.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// All headers, in the order in which they came. Names are as they were sent.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let fields = self.head.fields();
        // A name is a token, and so ASCII (RFC 9110 §5.1).
        fields.map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The value of the first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.get(name)
    }

    /// The `traceparent` of W3C Trace Context, if the request has one that is well formed: to be handed on to what is called
    /// for this request, with the field `tracestate`.
    #[must_use]
    pub fn trace_parent(&self) -> Option<&'a str> {
        trace_parent::of(self.head)
    }

    /// The whole head.
    #[must_use]
    pub fn head(&self) -> &'a Head {
        self.head
    }

    /// The connection that it came on.
    #[must_use]
    pub fn connection(&self) -> &'a ConnectionInfo {
        self.connection
    }

    /// Returns what forwarders tell of this request, beside its connection.
    #[must_use]
    pub fn info(&self) -> &'a RequestInfo {
        self.info
    }

    /// The client that connected, or the one that a PROXY header announced. [`client`](Self::client) asks trusted
    /// forwarders too.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        &self.connection.peer
    }

    /// The client: the one that a trusted forwarder names, else the connection's
    /// [peer](Self::peer).
    #[must_use]
    pub fn client(&self) -> &'a Address {
        self.info.client(self.connection)
    }

    /// The scheme that the client uses.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.info.scheme
    }

    /// The body, read from JSON (RFC 8259), whatever its content type.
    ///
    /// # Errors
    ///
    /// A body that is not this JSON is a [bad request](Error::bad_request): 400, if the service passes the error on. So is
    /// a body that cannot be read to its end.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(mut self) -> Result<T> {
        let mut text = Vec::new();
        self.body.read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::bad_request(format!("the body is not what was expected: {error}"))
        })
    }

    /// The body, to read from.
    #[must_use]
    pub fn into_body(self) -> Body<'a> {
        self.body
    }

    /// The body, for a service that still needs the rest; the request then has none.
    #[must_use]
    pub fn take_body(&mut self) -> Body<'a> {
        std::mem::replace(&mut self.body, Body::empty())
    }
}

/// The pairs of a form or a query, decoded.
fn form_pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (form_text(name), form_text(value))
    })
}

fn form_text(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8_lossy();
    }
    let text = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_as_a_form_is() {
        let pairs: Vec<_> = form_pairs("a=1&&b=x+y%2Bz&c&=d&%C3%BC=%FF&a=2=3").collect();
        let expected = [
            ("a", "1"),
            ("b", "x y+z"),
            ("c", ""),
            ("", "d"),
            ("ü", "\u{fffd}"),
            ("a", "2=3"),
        ];
        let found = pairs.iter().map(|(name, value)| (&**name, &**value));
        assert!(found.eq(expected), "{pairs:?}");
    }
}
