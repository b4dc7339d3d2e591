//! [`Client`], a raw HTTP/1.1 client, and [`Browser`], which keeps cookies and follows redirects.
//!
//! Written for tests: it takes nothing for granted, and panics on what no client could understand.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use super::{Address, PATIENCE};

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    /// What came, from `taken` on not asked for yet.
    received: Vec<u8>,
    taken: usize,
}

/// Why there is no whole response.
#[derive(Debug)]
pub(crate) enum Broken {
    /// An error of the socket.
    Io(io::Error),
    /// The connection has ended, after so many bytes that were not asked for yet.
    Cut(usize),
    /// What came is no response, or more than one.
    Malformed(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Cut(received) => write!(f, "the end at {received}"),
            Self::Malformed(what) => f.write_str(what),
        }
    }
}

impl Broken {
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == ErrorKind::ConnectionReset)
    }
}

/// A response.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The only value of that name, in any case.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} more than once: {self:?}");
        value
    }

    /// All values of that name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The same response, if its status is this one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{:?}\n{text}", self.headers);
        self
    }
}

impl Client {
    /// Connects by TCP.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::tcp(TcpStream::connect(address).expect("the server listens"))
    }

    pub(crate) fn tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self::new(Stream::Tcp(stream))
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            taken: 0,
        }
    }

    /// A second client on the same connection, for another thread.
    pub(crate) fn second(&self) -> Self {
        let stream = self.socket().try_clone().expect("a descriptor is free");
        Self::new(Stream::Tcp(stream))
    }

    /// The socket of a client that connected by TCP.
    pub(crate) fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Unix(_) => panic!("a Unix socket"),
        }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the server takes it");
        self
    }

    /// Sends bytes to a server that may have gone.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Stream::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// Sends no more.
    pub(crate) fn end_output(&mut self) -> &mut Self {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        self
    }

    /// Sends the head of a GET.
    #[track_caller]
    pub(crate) fn send_get(&mut self, target: &str) -> &mut Self {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// A GET and its response; the connection stays open if the server lets it.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send_get(target).response()
    }

    /// A GET that asks for the connection's end, and its response, after which nothing came.
    #[track_caller]
    pub(crate) fn get_last(mut self, target: &str) -> Response {
        let response = self.send_last(target).response();
        self.expect_end();
        response
    }

    /// Sends the head of a GET that asks for the connection's end.
    #[track_caller]
    pub(crate) fn send_last(&mut self, target: &str) -> &mut Self {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        ))
    }

    /// A POST of a body of known length, and its response.
    #[track_caller]
    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> Response {
        let length = body.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ));
        self.send(body).response()
    }

    /// Reads the next response, which is not one to HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let response = self.try_response();
        self.must(response)
    }

    /// Reads a response's head: all of a response to HEAD.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Response {
        let head = self.try_head();
        self.must(head)
    }

    /// Reads one chunk; `None` for the last one.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let chunk = self.try_chunk();
        self.must(chunk)
    }

    /// Reads that many bytes.
    #[track_caller]
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let taken = self.try_take(len);
        self.must(taken)
    }

    /// Reads until what came ends so, as text.
    #[track_caller]
    pub(crate) fn read_until(&mut self, end: &str) -> String {
        let end = end.as_bytes();
        let mut looked = 0;
        loop {
            let received = &self.received[self.taken + looked..];
            if let Some(at) = memchr::memmem::find(received, end) {
                let text = self.take(looked + at + end.len());
                return String::from_utf8(text).expect("text");
            }
            looked += received.len().saturating_sub(end.len());
            let filled = self.fill();
            self.must(filled);
        }
    }

    /// Reads to the end of the connection, which is not reset, as text.
    #[track_caller]
    pub(crate) fn read_all(&mut self) -> String {
        let rest = self.try_rest();
        String::from_utf8(self.must(rest)).expect("text")
    }

    /// Reads to the end of the connection, whether it is closed or reset.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        match self.try_rest() {
            Err(broken) if broken.is_reset() => {
                self.take_received(self.received.len() - self.taken)
            }
            rest => self.must(rest),
        }
    }

    /// The server has closed the connection, and sent nothing more.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    #[track_caller]
    fn must<T>(&self, outcome: Result<T, Broken>) -> T {
        let shown = &self.received[self.taken..];
        let shown = String::from_utf8_lossy(&shown[..shown.len().min(500)]);
        outcome.unwrap_or_else(|broken| panic!("{broken}, after {shown:?}"))
    }

    /// Waits until something has come.
    pub(crate) fn try_begin(&mut self) -> Result<(), Broken> {
        if self.received.is_empty() {
            self.fill()?;
        }
        Ok(())
    }

    /// Reads the next response, which is not one to HEAD.
    pub(crate) fn try_response(&mut self) -> Result<Response, Broken> {
        let mut response = self.try_head()?;
        if response.status < 200 || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.try_chunk()? {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse();
            let length = length.map_err(|_| Broken::Malformed(format!("{response:?}")))?;
            response.body = self.try_take(length)?;
        } else {
            response.body = self.try_rest()?;
        }
        Ok(response)
    }

    fn try_head(&mut self) -> Result<Response, Broken> {
        let first = self.line()?;
        let mut parts = first.splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (version, status, reason) = (part(), part(), part());
        let malformed = |line: &str| Broken::Malformed(format!("{line:?} in a head"));
        let mut response = Response {
            version,
            status: status.parse().map_err(|_| malformed(&first))?,
            reason,
            ..Response::default()
        };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(response);
            }
            let (name, value) = line.split_once(": ").ok_or_else(|| malformed(&line))?;
            response.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    fn try_chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let line = self.line()?;
        let malformed = || Broken::Malformed(format!("the chunk {line:?}"));
        let size = usize::from_str_radix(&line, 16).map_err(|_| malformed())?;
        let chunk = self.try_take(size)?;
        if !self.line()?.is_empty() {
            return Err(malformed());
        }
        Ok((size > 0).then_some(chunk))
    }

    fn try_take(&mut self, len: usize) -> Result<Vec<u8>, Broken> {
        while self.received.len() - self.taken < len {
            self.fill()?;
        }
        Ok(self.take_received(len))
    }

    /// Reads to the end of the connection, which is not reset.
    pub(crate) fn try_rest(&mut self) -> Result<Vec<u8>, Broken> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(Broken::Cut(received)) => return Ok(self.take_received(received)),
                Err(broken) => return Err(broken),
            }
        }
    }

    fn line(&mut self) -> Result<String, Broken> {
        let mut looked = 0;
        loop {
            let received = &self.received[self.taken + looked..];
            if let Some(end) = memchr::memmem::find(received, b"\r\n") {
                let mut line = self.take_received(looked + end + 2);
                line.truncate(looked + end);
                return Ok(line.into_iter().map(char::from).collect());
            }
            looked += received.len().saturating_sub(1);
            self.fill()?;
        }
    }

    fn take_received(&mut self, len: usize) -> Vec<u8> {
        let taken = self.received[self.taken..self.taken + len].to_vec();
        self.taken += len;
        if self.taken == self.received.len() {
            self.received.clear();
            self.taken = 0;
        }
        taken
    }

    /// At least one byte more.
    fn fill(&mut self) -> Result<(), Broken> {
        let mut buffer = [0; 16 * 1024];
        let got = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut buffer),
            Stream::Unix(stream) => stream.read(&mut buffer),
        };
        match got.map_err(Broken::Io)? {
            0 => Err(Broken::Cut(self.received.len() - self.taken)),
            got => {
                self.received.extend_from_slice(&buffer[..got]);
                Ok(())
            }
        }
    }
}

/// A form's fields as `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b' ' => "+".to_owned(),
                _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

/// Keeps cookies, sends forms and follows redirects, each request on a connection of its own.
pub(crate) struct Browser {
    address: Address,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            cookies: BTreeMap::new(),
        }
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, "", &[])
    }

    /// Sends a form, and follows where the answer leads.
    #[track_caller]
    pub(crate) fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        let kind = "application/x-www-form-urlencoded";
        self.request("POST", target, kind, form(fields).as_bytes())
    }

    /// Uploads a file with a form, and follows where the answer leads.
    #[track_caller]
    pub(crate) fn upload(
        &mut self,
        target: &str,
        fields: &[(&str, &str)],
        (name, content): (&str, &[u8]),
    ) -> Response {
        let mut body = Vec::new();
        for (name, value) in fields {
            let part = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}");
            body.extend_from_slice(format!("--boundary\r\n{part}\r\n").as_bytes());
        }
        let part = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        body.extend_from_slice(format!("--boundary\r\n{part}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--boundary--\r\n");
        self.request(
            "POST",
            target,
            "multipart/form-data; boundary=boundary",
            &body,
        )
    }

    #[track_caller]
    fn request(&mut self, method: &str, target: &str, kind: &str, body: &[u8]) -> Response {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        if !self.cookies.is_empty() {
            let cookies: Vec<_> = self
                .cookies
                .iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect();
            head += "Cookie: ";
            head += &cookies.join("; ");
            head += "\r\n";
        }
        if method == "POST" {
            let length = body.len().to_string();
            for (name, value) in [("Content-Type", kind), ("Content-Length", &length)] {
                head.extend([name, ": ", value, "\r\n"]);
            }
        }
        let mut client = self.address.client();
        let response = client.send(head + "\r\n").send(body).response();
        for cookie in response.all("set-cookie") {
            let pair = cookie
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='));
            let (name, value) = pair.unwrap_or_else(|| panic!("{cookie:?}"));
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        match response.header("location") {
            // RFC 9110 §15.4.4: a redirected POST becomes a GET.
            Some(next) if response.status / 100 == 3 => self.get(next),
            _ => response,
        }
    }
}
