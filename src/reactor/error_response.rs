//! [`ErrorResponse`]: an answer of the server's own, and [`ErrorPage`], the callback that gives it its page.
//!
//! Whatever the callback does, exactly one well-formed answer comes of it: a page that cannot be sent and a
//! callback that panics are logged, and the built-in page goes out in their place.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::BytesMut;

use super::response::Response;

use crate::h1::{self, Head, Page};
use crate::service::ConnectionInfo;
use crate::trace;

/// After how many seconds a client that got a 503 may try again: time for some uploads to end.
const RETRY_AFTER: &[u8] = b"Retry-After: 5\r\n";

/// A response of the server's own: a request is refused, or its service has failed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ErrorResponse<'a> {
    /// The status that belongs to it, 400 to 599.
    pub status: u16,
    /// The explanation for the client; it may quote the client's input and is not escaped. It is empty where a service
    /// has failed: that is for the log.
    pub text: &'a str,
    /// The request's head; `None` where none could be parsed.
    pub head: Option<&'a Head>,
    /// The connection that it came on; `None` for the 504 of a call that took too long, which is made before
    /// there is any request: nothing could be made when it is needed.
    pub connection: Option<&'a ConnectionInfo>,
    /// The request's [id](crate::service::RequestInfo::id), for the client to name. `None` without one, and for that 504.
    pub request_id: Option<&'a str>,
}

/// Makes the pages of the server's own answers.
///
/// By default it is [`h1::error_page`]. Framing, `Server`, `Date` and `Connection: close` are the server's;
/// the page decides on status, reason phrase, content type and body. It is called on the worker's threads,
/// without Python's lock held, and should not block.
///
/// ```
/// use oxicorn::h1::Page;
/// use oxicorn::reactor::{Config, ErrorPage};
///
/// let mut config = Config::default();
/// config.error_page = ErrorPage::new(|error| {
///     let json = format!("{{\"status\": {}}}\n", error.status);
///     Page::new(error.status, "application/json", json)
/// });
/// ```
#[derive(Clone)]
pub struct ErrorPage(Arc<Make>);

type Make = dyn Fn(&ErrorResponse<'_>) -> Page + Send + Sync;

impl ErrorPage {
    /// Pages made by `make`.
    pub fn new(make: impl Fn(&ErrorResponse<'_>) -> Page + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }
}

impl Default for ErrorPage {
    fn default() -> Self {
        Self::new(plain)
    }
}

impl fmt::Debug for ErrorPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorPage")
    }
}

fn plain(error: &ErrorResponse<'_>) -> Page {
    match error.request_id {
        None => h1::error_page(error.status, error.text),
        Some(id) => h1::error_page(
            error.status,
            format!("{} (request {id})", error.text).trim(),
        ),
    }
}

impl ErrorResponse<'_> {
    /// Has `http` write the whole response to `out`, with `lines` among the head's and the page of `pages`.
    pub(super) fn encode(
        &self,
        pages: &ErrorPage,
        lines: &[u8],
        http: &mut h1::Conn,
        out: &mut BytesMut,
    ) -> Response {
        let made = catch_unwind(AssertUnwindSafe(|| (pages.0)(self)));
        let page = made.unwrap_or_else(|_| {
            trace::error!("the error page for status {} panicked", self.status);
            plain(self)
        });
        self.encode_page(&page, lines, http, out)
            .unwrap_or_else(|failure| {
                trace::error!("an error page cannot be sent: {failure}");
                self.encode_page(&plain(self), lines, http, out)
                    .unwrap_or_default()
            })
    }

    fn encode_page(
        &self,
        page: &Page,
        lines: &[u8],
        http: &mut h1::Conn,
        out: &mut BytesMut,
    ) -> Result<Response, h1::EncodeError> {
        let head_only = self.head.is_some_and(|head| head.method_bytes() == b"HEAD");
        let retry: &[u8] = if page.status() == 503 {
            RETRY_AFTER
        } else {
            b""
        };
        http.refuse(out, &[lines, retry].concat(), page)?;
        let sent = if head_only { 0 } else { page.body().len() };
        Ok(Response::whole(page.status(), sent as u64))
    }
}
