//! What a reactor is told once: limits, bounds and deadlines.

use std::path::PathBuf;
use std::time::Duration;

use super::ErrorPage;
use crate::error::{Error, Result};
use crate::h1;
use crate::net::{ClientAddress, Networks, ProxyProtocol};

/// The bounds of a [`Reactor`](super::Reactor). Sizes are bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The bounds of a request's head, and what of it is taken beyond the RFC. Its `forwarder_headers` are
    /// for trusted forwarders only.
    pub http: h1::Config,
    /// How many connections there may be, at least one. Past it a new connection takes the place of one that has had
    /// its last answer, that is idle, or whose client is slow; where there is none, it waits.
    pub worker_connections: usize,
    /// How long a connection may stay idle between requests; zero closes it after each response.
    pub keepalive: Duration,
    /// How long a head may take to arrive, from the connection's start or from the head's first byte.
    pub head_timeout: Duration,
    /// How long a body may pause while it arrives.
    pub body_timeout: Duration,
    /// How many bytes a second a body must bring on average, once [`body_grace`](Self::body_grace) is over;
    /// 0 for any number.
    pub body_rate: u64,
    /// From a head's end: how long its body may be slower than [`body_rate`](Self::body_rate).
    pub body_grace: Duration,
    /// How long a client may take nothing of its response.
    pub send_timeout: Duration,
    /// How many bytes a second it must take on average of what is pending for it, once
    /// [`send_grace`](Self::send_grace) is over; 0 for any number.
    pub send_rate: u64,
    /// How long a client may be slower than [`send_rate`](Self::send_rate).
    pub send_grace: Duration,
    /// How long a call may take to answer; `None` for any time. A call that takes longer is given up: its
    /// client gets a 504, or is cut off from a response that has begun, and what it writes later fails.
    pub request_timeout: Option<Duration>,
    /// How long a client may be silent after an answer that ends its connection; and how long the rest of a body may
    /// take to arrive, after an answer that did not wait for it.
    pub linger: Duration,
    /// How long a client may go on sending after an answer that ends its connection, at
    /// [`body_rate`](Self::body_rate): what comes is thrown away, so that the client sees its answer.
    pub linger_limit: Duration,
    /// Once the reactor drains: how long a client may take to begin a last request, or pause within one.
    pub drain_idle: Duration,
    /// How much of a request's body stays in memory; what exceeds it goes to a file.
    pub body_buffer: usize,
    /// The largest request body; `None` for no limit.
    pub limit_request_body: Option<u64>,
    /// How much the files of all request bodies and responses may hold together, a body's from its first byte in one
    /// to the end of its call; `None` for no limit. Past it a body that needs a file is a 503; past three quarters
    /// of it the oldest response is given up that its call has left there.
    pub spool_total: Option<u64>,
    /// Whether a service is called before the request's body is complete, and reads while it arrives.
    pub stream_request_body: bool,
    /// How much of a response stays in memory while its client is slow; what exceeds it goes to a file.
    pub response_buffer: usize,
    /// How much of a response may go to that file before the service itself has to wait.
    pub response_spool: u64,
    /// The folder of the files of bodies and responses, which have no name there.
    pub tmp_upload_dir: PathBuf,
    /// The value of the `Server` line, in visible ASCII; empty for none.
    pub server: String,
    /// Whether [`Responder::send_informational`](crate::Responder::send_informational) sends anything. A proxy or a client that does not know
    /// interim responses takes one for the response, and what follows for that of the next request (RFC 8297
    /// section 3).
    pub early_hints: bool,
    /// The pages of the server's own answers.
    pub error_page: ErrorPage,
    /// Which PROXY headers a connection may begin with. None is always fine.
    pub proxy_protocol: ProxyProtocol,
    /// Who may send them: a stranger's header is a 403.
    pub proxy_allow_ips: Networks,
    /// Whose word on their clients counts: the scheme, the address, the `forwarder_headers`.
    pub forwarded_allow_ips: Networks,
    /// Header fields by which those tell the scheme: names, in any case, with the value that means `https`.
    pub secure_scheme_headers: Vec<(String, String)>,
    /// By which header field those tell the client's address.
    pub client_address: ClientAddress,
}

impl Config {
    /// Refuses what could not be sent.
    pub(crate) fn check(&self) -> Result<()> {
        let fits = self.server.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        fits.then_some(()).ok_or_else(|| {
            let server = self.server.escape_debug();
            Error::config(format!("the Server line cannot be \"{server}\""))
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: h1::Config {
                leniency: h1::Leniency {
                    forwarder_headers: h1::Names::new("SCRIPT_NAME,PATH_INFO"),
                    ..h1::Leniency::default()
                },
                ..h1::Config::default()
            },
            worker_connections: 1000,
            keepalive: Duration::from_secs(2),
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            body_rate: 500,
            body_grace: Duration::from_secs(20),
            send_timeout: Duration::from_secs(30),
            send_rate: 500,
            send_grace: Duration::from_secs(20),
            request_timeout: None,
            linger: Duration::from_secs(5),
            linger_limit: Duration::from_secs(30),
            drain_idle: Duration::from_secs(1),
            body_buffer: 64 * 1024,
            limit_request_body: Some(1024 * 1024 * 1024),
            spool_total: Some(4 * 1024 * 1024 * 1024),
            stream_request_body: false,
            response_buffer: 1024 * 1024,
            response_spool: 64 * 1024 * 1024,
            tmp_upload_dir: std::env::temp_dir(),
            server: "oxicorn".to_owned(),
            early_hints: false,
            error_page: ErrorPage::default(),
            proxy_protocol: ProxyProtocol::Off,
            proxy_allow_ips: Networks::loopback(),
            forwarded_allow_ips: Networks::loopback(),
            secure_scheme_headers: secure_scheme_headers(),
            client_address: ClientAddress::Off,
        }
    }
}

/// Gunicorn's.
fn secure_scheme_headers() -> Vec<(String, String)> {
    let headers = [
        ("X-FORWARDED-PROTOCOL", "ssl"),
        ("X-FORWARDED-PROTO", "https"),
        ("X-FORWARDED-SSL", "on"),
    ];
    headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}
