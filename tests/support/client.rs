//! [`Client`], a raw HTTP/1.1 client, and [`Browser`], which keeps cookies and follows redirects.
//!
//! Written for tests: it takes nothing for granted, and panics on what no client could understand.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use super::{Address, PATIENCE};

trait Stream: Read + Write + Send {
    fn end_output(&self);
}

impl Stream for TcpStream {
    fn end_output(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Stream for UnixStream {
    fn end_output(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// One connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
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
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self::new(Box::new(stream))
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self::new(Box::new(stream))
    }

    fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the server takes it");
        self
    }

    /// Sends bytes to a server that may have gone.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends no more.
    pub(crate) fn end_output(&mut self) -> &mut Self {
        self.stream.end_output();
        self
    }

    /// A GET and its response; the connection stays open if the server lets it.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .response()
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
        let mut response = self.head();
        if response.status < 200 || matches!(response.status, 204 | 304) {
            return response;
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().expect("a length");
            response.body = self.take(length);
        } else {
            response.body = self.rest();
        }
        response
    }

    /// Reads a response's head: all of a response to HEAD.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Response {
        let first = self.line();
        let mut parts = first.splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (version, status, reason) = (part(), part(), part());
        let mut response = Response {
            version,
            status: status.parse().unwrap_or_else(|_| panic!("{first:?}")),
            reason,
            ..Response::default()
        };
        loop {
            let line = self.line();
            if line.is_empty() {
                return response;
            }
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            response.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Reads one chunk; `None` for the last one.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line();
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("size {size:?}"));
        let chunk = self.take(size);
        assert_eq!(self.line(), "", "a chunk ends with its size");
        (size > 0).then_some(chunk)
    }

    /// Reads that many bytes.
    #[track_caller]
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        while self.received.len() < len {
            assert!(self.fill() > 0, "cut: {:?}", self.shown());
        }
        self.received.drain(..len).collect()
    }

    /// Reads to the end of the connection, whether it is closed or reset.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.received)
    }

    /// The server has closed the connection, and sent nothing more.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    #[track_caller]
    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(2).position(|w| w == b"\r\n") {
                let line = self.take(end + 2);
                return line[..end].iter().map(|b| char::from(*b)).collect();
            }
            assert!(self.fill() > 0, "cut: {:?}", self.shown());
        }
    }

    #[track_caller]
    fn fill(&mut self) -> usize {
        let mut buffer = [0; 16 * 1024];
        let got = match self.stream.read(&mut buffer) {
            Ok(got) => got,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => 0,
            Err(e) => panic!("{e}, after {:?}", self.shown()),
        };
        self.received.extend_from_slice(&buffer[..got]);
        got
    }

    fn shown(&self) -> String {
        let shown = &self.received[..self.received.len().min(500)];
        String::from_utf8_lossy(shown).into_owned()
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
