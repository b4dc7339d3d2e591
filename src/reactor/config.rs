//! A reactor's configuration: limits, bounds and deadlines.

use std::path::PathBuf;
use std::time::Duration;

use super::ErrorPage;
use super::rate::MinRate;
use crate::config::{HeaderMap, Settings};
use crate::error::{Error, Result};
use crate::h1;
use crate::net::{ClientAddress, Networks, ProxyProtocol};

/// The bounds of a [`Reactor`](super::Reactor). Sizes are bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The bounds of a request's head, and what of it is taken beyond the RFC. Its `forwarder_headers` are
    /// for trusted forwarders only.
    pub http: h1::ConnConfig,
    /// How many connections there may be, at least one. Past it a new connection takes the place of one that has had
    /// its last answer, that is idle, or whose client is slow; where there is none, it waits.
    pub worker_connections: usize,
    /// How long a connection may stay idle between requests; zero closes it after each response. Applied in
    /// `reactor/connection/receive.rs`.
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
    /// The peers that may send them: a header of another peer is a 403.
    pub proxy_allow_ips: Networks,
    /// Whose word on their clients counts: the scheme, the address, the `forwarder_headers`.
    pub forwarded_allow_ips: Networks,
    /// Header fields by which those tell the scheme: names, in any case, with the value that means `https`.
    pub secure_scheme_headers: Vec<(String, String)>,
    /// By which header field those tell the client's address.
    pub client_address: ClientAddress,
}

impl Config {
    /// What a request's body must bring.
    pub(super) fn body_min_rate(&self) -> MinRate {
        MinRate {
            rate: self.body_rate,
            grace: self.body_grace,
        }
    }

    /// What a client must take of its response.
    pub(super) fn send_min_rate(&self) -> MinRate {
        MinRate {
            rate: self.send_rate,
            grace: self.send_grace,
        }
    }

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
        Self::from(&Settings::default())
    }
}

/// What the settings say of a reactor. They say all but the pages.
impl From<&Settings> for Config {
    fn from(settings: &Settings) -> Self {
        let nonzero = |limit| Some(limit).filter(|limit| *limit > 0);
        Self {
            http: http(settings),
            worker_connections: settings.worker_connections,
            keepalive: settings.keepalive,
            head_timeout: settings.head_timeout,
            body_timeout: settings.body_timeout,
            body_rate: settings.body_rate,
            body_grace: settings.body_grace,
            send_timeout: settings.send_timeout,
            send_rate: settings.send_rate,
            send_grace: settings.send_grace,
            request_timeout: Some(settings.request_timeout).filter(|limit| !limit.is_zero()),
            linger: settings.linger,
            linger_limit: settings.linger_limit,
            drain_idle: settings.drain_idle,
            body_buffer: settings.body_buffer,
            limit_request_body: nonzero(settings.limit_request_body),
            spool_total: nonzero(settings.spool_total),
            stream_request_body: settings.stream_request_body,
            response_buffer: settings.response_buffer,
            response_spool: settings.response_spool,
            tmp_upload_dir: settings
                .tmp_upload_dir
                .clone()
                .unwrap_or_else(std::env::temp_dir),
            server: settings.server_header.clone(),
            early_hints: settings.early_hints,
            error_page: ErrorPage::default(),
            proxy_protocol: settings.proxy_protocol,
            proxy_allow_ips: settings.proxy_allow_ips.clone(),
            forwarded_allow_ips: settings.forwarded_allow_ips.clone(),
            secure_scheme_headers: settings.secure_scheme_headers.clone(),
            client_address: settings.client_address,
        }
    }
}

/// The protocol's part of the settings, with Gunicorn's bounds of the bounds.
fn http(settings: &Settings) -> h1::ConnConfig {
    /// The longest request line that a setting allows, and the size of a field where it is 0.
    const LONGEST: usize = 8190;
    /// The most fields that a setting allows.
    const MOST: usize = 32768;
    let nonzero = |n: usize| Some(n).filter(|&n| n > 0);
    h1::ConnConfig {
        limits: h1::Limits {
            request_line: nonzero(settings.limit_request_line)
                .map_or(usize::MAX, |n| n.min(LONGEST)),
            fields: nonzero(settings.limit_request_fields).map_or(MOST, |n| n.min(MOST)),
            field_size: nonzero(settings.limit_request_field_size).unwrap_or(LONGEST),
        },
        leniency: h1::Leniency {
            obsolete_folding: settings.permit_obsolete_folding,
            header_spaces: settings.strip_header_spaces,
            unconventional_method: settings.permit_unconventional_http_method,
            unconventional_version: settings.permit_unconventional_http_version,
            casefold_method: settings.casefold_http_method,
            underscores: match settings.header_map {
                HeaderMap::Drop => h1::Underscores::Drop,
                HeaderMap::Refuse => h1::Underscores::Refuse,
                HeaderMap::Dangerous => h1::Underscores::Dangerous,
            },
            forwarder_headers: h1::Names::new(settings.forwarder_headers.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_head_are_clipped_as_gunicorn_does() {
        for (set, clipped) in [
            ([0, 0, 0], [usize::MAX, 32768, 8190]),
            ([1, 1, 1], [1, 1, 1]),
            ([8191, 32769, 8210], [8190, 32768, 8210]),
        ] {
            let mut settings = Settings::default();
            settings.limit_request_line = set[0];
            settings.limit_request_fields = set[1];
            settings.limit_request_field_size = set[2];
            let limits = http(&settings).limits;
            let found = [limits.request_line, limits.fields, limits.field_size];
            assert_eq!(found, clipped, "{set:?}");
        }
    }
}
