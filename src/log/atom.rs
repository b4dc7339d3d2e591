//! [`Atom`]: one value of an access log's line, and [`LogRecord`], which writes it.
//!
//! | atom | value |
//! |---|---|
//! | h | the client's IP address; `-` on a Unix socket, where Gunicorn writes nothing |
//! | l | `-` |
//! | u | the user of Basic authentication (RFC 7617), or `-` |
//! | t | the time when the line is recorded, in brackets |
//! | r | method, target and version as they were sent; `-` where no head could be read |
//! | m, U, q, H | method, decoded path, query, version |
//! | s | the status; `-` where the client left before there was one |
//! | b, B | bytes of the body that were sent |
//! | f, a | the fields `Referer` and `User-Agent`, or `-` |
//! | T, D, M, L | duration in whole seconds, in microseconds, in milliseconds, and in seconds with six decimals |
//! | p | the process id, as in `<4711>` |
//! | {name}i, {name}o, {name}e | a field of the request, a field that the application has set, a variable of the environ |
//! | request_id | the id that the setting `request_id` asks for; without it the field `X-Request-Id` of the request, or else that of the response |
//! | first_byte | seconds from the complete head to the response's head |
//! | queue | seconds for which the complete request waited for its call |

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::{escape, user};
use crate::access::Access;
use crate::h1::{Head, Version};
use crate::service::Address;

/// One value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// Text of the format itself.
    Text(String),
    Client,
    User,
    Time,
    Request,
    Method,
    Path,
    Query,
    Protocol,
    Status,
    Bytes,
    Referer,
    UserAgent,
    Seconds,
    Microseconds,
    Milliseconds,
    Decimal,
    Pid,
    /// A field of the request, by its name in lower case.
    RequestField(String),
    /// A field of the response, by its name in lower case.
    ResponseField(String),
    /// A variable of the environ.
    Variable(String),
    RequestId,
    FirstByte,
    Queue,
    /// What Gunicorn always writes as `-`.
    Dash,
}

impl Atom {
    /// The atom of that name; an unknown one is `-`.
    pub(super) fn named(name: &str) -> Self {
        let braced = name
            .strip_prefix('{')
            .and_then(|rest| rest.rsplit_once('}'));
        match (name, braced) {
            (_, Some((field, "i"))) => Self::RequestField(field.to_ascii_lowercase()),
            (_, Some((field, "o"))) => Self::ResponseField(field.to_ascii_lowercase()),
            (_, Some((variable, "e"))) => Self::Variable(variable.to_owned()),
            ("h", _) => Self::Client,
            ("u", _) => Self::User,
            ("t", _) => Self::Time,
            ("r", _) => Self::Request,
            ("m", _) => Self::Method,
            ("U", _) => Self::Path,
            ("q", _) => Self::Query,
            ("H", _) => Self::Protocol,
            ("s", _) => Self::Status,
            ("b" | "B", _) => Self::Bytes,
            ("f", _) => Self::Referer,
            ("a", _) => Self::UserAgent,
            ("T", _) => Self::Seconds,
            ("D", _) => Self::Microseconds,
            ("M", _) => Self::Milliseconds,
            ("L", _) => Self::Decimal,
            ("p", _) => Self::Pid,
            ("request_id", _) => Self::RequestId,
            ("first_byte", _) => Self::FirstByte,
            ("queue", _) => Self::Queue,
            _ => Self::Dash,
        }
    }
}

/// What a line is made of.
#[derive(Debug)]
pub(super) struct LogRecord<'l, 'a> {
    pub(super) access: &'l Access<'a>,
    /// The time in brackets.
    pub(super) time: &'l str,
}

impl LogRecord<'_, '_> {
    /// Adds an atom's value.
    pub(super) fn write(&self, out: &mut Vec<u8>, atom: &Atom) {
        let access = self.access;
        let head = access.head;
        match atom {
            Atom::Text(text) => out.extend_from_slice(text.as_bytes()),
            Atom::Client => client(out, access),
            Atom::User => user::basic(out, head.and_then(|head| head.get("authorization"))),
            Atom::Time => out.extend_from_slice(self.time.as_bytes()),
            Atom::Request => request(out, access),
            Atom::Method => or_dash(out, head.map(Head::method_bytes)),
            Atom::Path => path(out, access),
            Atom::Query => or_dash(out, head.map(Head::query_bytes)),
            Atom::Protocol => match head {
                Some(head) => protocol(out, head.version()),
                None => out.push(b'-'),
            },
            Atom::Status => match access.status {
                0 => out.push(b'-'),
                status => number(out, status.into()),
            },
            Atom::Bytes => number(out, access.sent),
            Atom::Referer => joined(out, access, "referer"),
            Atom::UserAgent => joined(out, access, "user-agent"),
            Atom::Seconds => number(out, access.elapsed().as_secs()),
            Atom::Microseconds => number(out, micros(access.elapsed())),
            Atom::Milliseconds => number(out, micros(access.elapsed()) / 1000),
            Atom::Decimal => decimal(out, access.elapsed()),
            Atom::Pid => drop(write!(out, "<{}>", access.pid)),
            Atom::RequestField(name) => or_dash(out, last_field(access, name)),
            Atom::ResponseField(name) => or_dash(out, access.recorded.response_field(name)),
            Atom::Variable(name) => or_dash(out, access.recorded.variable(name)),
            Atom::RequestId => or_dash(out, request_id(access)),
            Atom::FirstByte => match access.first_byte() {
                Some(time) => decimal(out, time),
                None => out.push(b'-'),
            },
            Atom::Queue => match access.queued() {
                Some(time) => decimal(out, time),
                None => out.push(b'-'),
            },
            Atom::Dash => out.push(b'-'),
        }
    }
}

/// Adds the client's IP address, or `-`.
pub(super) fn client(out: &mut Vec<u8>, access: &Access<'_>) {
    match access.client() {
        Address::Ip(peer) => match peer.ip() {
            // Several times as fast as by its `Display`.
            IpAddr::V4(ip) => {
                for (at, octet) in ip.octets().into_iter().enumerate() {
                    if at > 0 {
                        out.push(b'.');
                    }
                    number(out, octet.into());
                }
            }
            // Writing to memory cannot fail.
            IpAddr::V6(ip) => drop(write!(out, "{ip}")),
        },
        Address::Unix(_) | Address::Hidden => out.push(b'-'),
    }
}

fn request(out: &mut Vec<u8>, access: &Access<'_>) {
    let Some(head) = access.head else {
        return out.push(b'-');
    };
    escape::quoted(out, head.method_bytes());
    out.push(b' ');
    escape::quoted(out, head.target_bytes());
    out.push(b' ');
    protocol(out, head.version());
}

fn protocol(out: &mut Vec<u8>, version: Version) {
    if version == Version::HTTP_11 {
        return out.extend_from_slice(b"HTTP/1.1");
    }
    out.extend_from_slice(b"HTTP/");
    number(out, version.major.into());
    out.push(b'.');
    number(out, version.minor.into());
}

/// Adds the path as the environ has it; where no application has seen it, the one of the target, decoded.
fn path(out: &mut Vec<u8>, access: &Access<'_>) {
    if let Some(path) = access.recorded.variable("PATH_INFO") {
        return escape::quoted(out, path);
    }
    let Some(head) = access.head else {
        return out.push(b'-');
    };
    let mut rest = head.path_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        escape::quoted(out, &rest[..at]);
        let digit = |at: usize| char::from(*rest.get(at)?).to_digit(16);
        if let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) {
            escape::quoted(out, &[(high * 16 + low) as u8]);
            rest = &rest[at + 3..];
        } else {
            out.push(b'%');
            rest = &rest[at + 1..];
        }
    }
    escape::quoted(out, rest);
}

/// The last field of that name in the request.
pub(super) fn last_field<'a>(access: &Access<'a>, name: &str) -> Option<&'a [u8]> {
    let fields = access.head?.fields();
    let named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| value).last()
}

/// The request's id where the server has made or taken one; else what a client, or the application, has said.
pub(super) fn request_id<'a>(access: &Access<'a>) -> Option<&'a [u8]> {
    if let Some(id) = &access.request.id {
        return Some(id.as_bytes());
    }
    let sent = last_field(access, "x-request-id");
    sent.or_else(|| access.recorded.response_field("x-request-id"))
}

/// Adds the values of all fields of that name, with commas between them as in the environ.
fn joined(out: &mut Vec<u8>, access: &Access<'_>, name: &str) {
    let mut separator: &[u8] = b"";
    for (field, value) in access.head.into_iter().flat_map(Head::fields) {
        if field.eq_ignore_ascii_case(name.as_bytes()) {
            out.extend_from_slice(separator);
            escape::quoted(out, value);
            separator = b",";
        }
    }
    if separator.is_empty() {
        out.push(b'-');
    }
}

fn or_dash(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => escape::quoted(out, value),
        None => out.push(b'-'),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Adds seconds with six decimals.
fn decimal(out: &mut Vec<u8>, time: Duration) {
    let _ = write!(out, "{}.{:06}", time.as_secs(), time.subsec_micros());
}

pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
