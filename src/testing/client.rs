//! [`Client`]: calls a service in memory, as a server would after it has read the request.
//!
//! Requests and responses go through the protocol that a server has (`h1`), so what it refuses, drops and adds is refused,
//! dropped and added here. No socket, thread or clock is involved.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::memory::MemoryExchange;
use super::response::ClientResponse;
use crate::error::{Error, Kind, Result};
use crate::h1::{Conn, ConnConfig, Event, Head, ResponseState, error_page};
use crate::service::{
    Address, Body, ConnectionInfo, MakeService, Request, Responder, Service, ServiceContext,
};

/// What a form and a query leave as it is (WHATWG URL, `application/x-www-form-urlencoded`).
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// A client of one service, which it has made and calls by itself: for tests.
///
/// Any number of clients live beside each other, and one can be used by many threads if its service can. A WSGI
/// application is called in this process, whose interpreter all clients share: the first one starts it if there is none.
/// Nothing is told to a service when its client is dropped ([`Service::retire`]).
///
/// ```
/// use oxicorn::testing::Client;
/// use oxicorn::{Request, Responded, Responder, Result};
///
/// fn greet(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
///     let name = request.query_pairs().find(|(name, _)| name == "name");
///     let (_, name) = name.ok_or_else(|| oxicorn::Error::bad_request("who is there?"))?;
///     reply.text(200, format!("Hello, {name}\n"))
/// }
///
/// let client = Client::new(greet)?;
/// let answer = client.get("/").query([("name", "Ada")]).send();
/// assert_eq!((answer.status(), &*answer.text()), (200, "Hello, Ada\n"));
/// assert_eq!(client.get("/").send().status(), 400);
/// # Ok::<(), oxicorn::Error>(())
/// ```
pub struct Client<S> {
    service: S,
    connection: ConnectionInfo,
    cookies: Option<Mutex<Vec<(String, String)>>>,
}

impl<S: Service> Client<S> {
    /// A client of the service that `make` makes, here and now.
    ///
    /// # Errors
    ///
    /// Where the service cannot be made.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a server takes it in the same way"
    )]
    pub fn new(make: impl MakeService<Service = S>) -> Result<Self> {
        let local = Address::Ip(([127, 0, 0, 1], 80).into());
        let listeners = [local.clone()];
        let mut context = ServiceContext::new(&listeners);
        // Tests call it on as many as they like.
        context.threads = 2;
        let peer = Address::Ip(([127, 0, 0, 1], 49152).into());
        Ok(Self {
            service: make.make(&context)?,
            connection: ConnectionInfo::new(peer, 0, local),
            cookies: None,
        })
    }

    /// Keeps the cookies of responses, and sends them with later requests: all of them, whatever their path and domain
    /// are. One with a `Max-Age` of 0 is deleted (RFC 6265 §5.2.2).
    #[must_use]
    pub fn with_cookies(self) -> Self {
        Self {
            cookies: Some(Mutex::default()),
            ..self
        }
    }

    /// Sends its requests from this address, and not from `127.0.0.1`.
    #[must_use]
    pub fn from_peer(mut self, peer: Address) -> Self {
        self.connection.direct = peer.clone();
        self.connection.peer = peer;
        self
    }

    /// The value of a cookie that is kept.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.cookies()?;
        let found = cookies.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &S {
        &self.service
    }

    /// A GET of a path, with a query if it has one.
    pub fn get(&self, target: &str) -> ClientRequest<'_, S> {
        self.request("GET", target)
    }

    /// A HEAD of a path.
    pub fn head(&self, target: &str) -> ClientRequest<'_, S> {
        self.request("HEAD", target)
    }

    /// A POST to a path.
    pub fn post(&self, target: &str) -> ClientRequest<'_, S> {
        self.request("POST", target)
    }

    /// A PUT of a path.
    pub fn put(&self, target: &str) -> ClientRequest<'_, S> {
        self.request("PUT", target)
    }

    /// A DELETE of a path.
    pub fn delete(&self, target: &str) -> ClientRequest<'_, S> {
        self.request("DELETE", target)
    }

    /// A request with any method. The target is sent as it is: it is percent-encoded already.
    pub fn request(&self, method: &str, target: &str) -> ClientRequest<'_, S> {
        ClientRequest {
            client: self,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    fn cookies(&self) -> Option<MutexGuard<'_, Vec<(String, String)>>> {
        let cookies = self.cookies.as_ref()?;
        Some(cookies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep_cookies(&self, response: &ClientResponse) {
        let Some(mut cookies) = self.cookies() else {
            return;
        };
        for (_, value) in response
            .headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        {
            let value = String::from_utf8_lossy(value);
            let mut parts = value.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            cookies.retain(|(known, _)| known != name);
            let is_over = parts.any(|part| part.eq_ignore_ascii_case("max-age=0"));
            if !is_over {
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

/// A request of a [`Client`], to be completed and [sent](Self::send).
#[must_use = "it is sent by `send`"]
pub struct ClientRequest<'c, S> {
    client: &'c Client<S>,
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

impl<S: Service> ClientRequest<'_, S> {
    /// Adds a header. A `Host` takes the place of `localhost`.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds pairs to the query.
    pub fn query<'p>(mut self, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let mark = if self.target.contains('?') { '&' } else { '?' };
        self.target.push(mark);
        self.target.push_str(&form(pairs));
        self
    }

    /// Gives it a body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Gives it a form as the body, `application/x-www-form-urlencoded`.
    pub fn form<'p>(self, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        self.header("content-type", "application/x-www-form-urlencoded")
            .body(form(pairs))
    }

    /// Gives it JSON as the body.
    ///
    /// # Panics
    ///
    /// A value that JSON cannot express.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json(self, value: &(impl serde::Serialize + ?Sized)) -> Self {
        let text =
            serde_json::to_vec(value).unwrap_or_else(|error| panic!("this is no JSON: {error}"));
        self.header("content-type", "application/json").body(text)
    }

    /// Has it answered. A request that a server would refuse gets the response that the server would give.
    ///
    /// # Panics
    ///
    /// A header with a line break, which would be two.
    #[track_caller]
    pub fn send(self) -> ClientResponse {
        let client = self.client;
        let response = call(
            &client.service,
            &client.connection,
            &self.encode(),
            &self.body,
        );
        client.keep_cookies(&response);
        response
    }

    /// The request's head.
    #[track_caller]
    fn encode(&self) -> Vec<u8> {
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target).into_bytes()];
        let mut field =
            |name: &str, value: &[u8]| lines.push([name.as_bytes(), b": ", value].concat());
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            field("Host", b"localhost");
        }
        if !self.body.is_empty() && !has("content-length") {
            field("Content-Length", self.body.len().to_string().as_bytes());
        }
        let cookies = self
            .client
            .cookies()
            .map(|cookies| cookies.clone())
            .unwrap_or_default();
        if !cookies.is_empty() {
            let pairs = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            field("Cookie", pairs.collect::<Vec<_>>().join("; ").as_bytes());
        }
        for (name, value) in &self.headers {
            field(name, value);
        }
        let breaks = |line: &Vec<u8>| line.contains(&b'\r') || line.contains(&b'\n');
        if let Some(line) = lines.iter().find(|line| breaks(line)) {
            panic!(
                "there is a line break in {:?}",
                String::from_utf8_lossy(line)
            );
        }
        let mut head = lines.join(&b"\r\n"[..]);
        head.extend_from_slice(b"\r\n\r\n");
        head
    }
}

fn form<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, FORM).to_string();
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Has the service answer a request, as a server's connection does.
fn call(
    service: &impl Service,
    connection: &ConnectionInfo,
    head: &[u8],
    body: &Bytes,
) -> ClientResponse {
    let mut conn = Conn::server(ConnConfig::default());
    conn.receive(head);
    conn.receive(body);
    conn.end_of_input();
    let (head, body) = match request(&mut conn) {
        Ok(request) => request,
        Err((status, text)) => return refusal(conn, status, &text, None),
    };
    let exchange = MemoryExchange::new(conn);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let request = Request::new(&head, connection, Body::memory(body));
        service.call(request, Responder::new(&exchange))
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(Error::panicked("the service", &*panic)));
    let (conn, sent) = exchange.into_parts();
    let error = match (outcome, conn.response()) {
        (Ok(_), ResponseState::Complete) => None,
        (Ok(_), _) => Some(Error::of(
            Kind::Response,
            "the service gave another exchange's receipt",
        )),
        (Err(error), _) => Some(error),
    };
    if conn.response() != ResponseState::Due {
        let is_complete = conn.response() == ResponseState::Complete;
        return ClientResponse::new(&sent.head, sent.body, is_complete, error);
    }
    let bad = error.as_ref().filter(|error| error.is_bad_request());
    let (status, text) = bad.map_or((500, String::new()), |error| (400, error.to_string()));
    refusal(conn, status, &text, error)
}

/// What the client has sent, or the status and the text with which it is refused.
fn request(conn: &mut Conn) -> Result<(Head, Bytes), (u16, String)> {
    let refused = |error: crate::h1::ParseError| (error.status(), error.to_string());
    let Event::Request(head) = conn.next_event().map_err(refused)? else {
        return Err((400, "the request has no end".to_owned()));
    };
    let mut body = BytesMut::new();
    loop {
        match conn.next_event().map_err(refused)? {
            Event::Data(data) => body.extend_from_slice(&data),
            Event::ExpectContinue => {}
            Event::EndOfBody => return Ok((head, body.freeze())),
            Event::NeedMore if body.is_empty() && head.length() == crate::h1::BodyLength::Empty => {
                return Ok((head, Bytes::new()));
            }
            Event::NeedMore | Event::Closed(_) | Event::Request(_) => {
                return Err((400, "the body is shorter than announced".to_owned()));
            }
        }
    }
}

/// The server's own answer.
fn refusal(mut conn: Conn, status: u16, text: &str, error: Option<Error>) -> ClientResponse {
    let mut out = BytesMut::new();
    let failure = conn.refuse(&mut out, b"", &error_page(status, text)).err();
    debug_assert!(failure.is_none(), "{failure:?}");
    let end = out.windows(4).position(|window| window == b"\r\n\r\n");
    let body = out.split_off(end.map_or(out.len(), |end| end + 4));
    ClientResponse::new(&out, body.to_vec(), true, error)
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for ClientRequest<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}
