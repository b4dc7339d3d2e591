//! [`ClientResponse`]: what a client in memory has got.

use std::borrow::Cow;
use std::fmt;

use crate::error::Error;
#[cfg(feature = "json")]
use crate::error::Result;

/// The response to a [`ClientRequest`](super::ClientRequest).
pub struct ClientResponse {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_complete: bool,
    error: Option<Error>,
}

impl ClientResponse {
    /// Reads a head that this crate has written.
    pub(super) fn new(head: &[u8], body: Vec<u8>, is_complete: bool, error: Option<Error>) -> Self {
        let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines
            .next()
            .and_then(|line| line.split(|&byte| byte == b' ').nth(1));
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let headers = lines.filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        });
        Self {
            status: status.unwrap_or_default(),
            headers: headers.collect(),
            body,
            is_complete,
            error,
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers, those of framing among them; without `Server` and `Date`, which a server adds.
    #[must_use]
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The value of the first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The body, as far as it was sent.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as a text in UTF-8; what is none becomes U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read from JSON.
    ///
    /// # Errors
    ///
    /// A body that is not this JSON.
    #[cfg(feature = "json")]
    pub fn json<'r, T: serde::Deserialize<'r>>(&'r self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::with_source(format!("the response is not this JSON: {error}"), error)
        })
    }

    /// Whether the response was sent to its end. If not, a server cuts the connection, so that the client sees it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What the service has failed with, which a server logs: its error or its panic. [`Error::report`] shows the causes,
    /// such as a traceback of Python's.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

impl fmt::Debug for ClientResponse {
    /// All that helps to see why a test fails.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}{}",
            self.status,
            if self.is_complete { "" } else { ", cut" }
        )?;
        for (name, value) in self.headers() {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(value))?;
        }
        writeln!(f, "\n{}", self.text())?;
        match &self.error {
            Some(error) => writeln!(f, "the service has failed: {}", error.report()),
            None => Ok(()),
        }
    }
}
