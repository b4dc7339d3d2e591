//! [`ValueParser`]: how one kind of value is written as text, and read from it.
//!
//! A parser knows neither a setting's name nor the origin of the text.

mod class;
mod number;
mod tls;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use self::number::{bytes, integer, time};
use crate::net::{ClientAddress, Networks, ProxyProtocol};

/// The policies for header fields with an underscore in their names. WSGI cannot tell such a name from one with a
/// hyphen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderMap {
    /// Such a field is dropped.
    Drop,
    /// A request with such a field is refused.
    Refuse,
    /// Such a field is taken, and joined with the one that has a hyphen.
    Dangerous,
}

/// How changed files are noticed (`reload`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadEngine {
    /// By events of the system, where it gives any, and by a look once a second.
    Auto,
    /// By a look once a second.
    Poll,
    /// By events of the system (inotify(7)) alone.
    Inotify,
}

/// Which requests have an id (`X-Request-Id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestIdMode {
    /// None has one; the field is one like any other.
    Off,
    /// Each has one: a trusted forwarder's, or a new one.
    On,
    /// The same, and each response has it, too.
    Send,
}

pub(super) use class::CLASS;
pub use class::WorkerClass;
pub(super) use tls::{CERT_REQS, TLS_VERSION};
pub use tls::{CertReqs, TlsVersion};

/// Why a text is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParseProblem {
    /// A number, but below zero.
    Negative,
    /// What was expected instead.
    Expected(&'static str),
    /// A value of Gunicorn's that is not served.
    Refused {
        /// The reason, as a clause.
        why: &'static str,
        /// The settings to write instead, with their values.
        instead: &'static [(&'static str, &'static str)],
    },
}

/// A kind of value.
pub(super) struct ValueParser<T> {
    /// What stands for a value in a usage line.
    pub(super) metavar: &'static str,
    /// The value that a text gives.
    pub(super) parse: fn(&OsStr) -> Result<T, ParseProblem>,
    /// The text that gives the value; empty for none.
    pub(super) show: fn(&T) -> String,
}

/// Any text.
pub(super) const TEXT: ValueParser<String> = ValueParser {
    metavar: "TEXT",
    parse: |value| Ok(text(value, "UTF-8 text")?.to_owned()),
    show: Clone::clone,
};

/// An address to listen on, which is parsed where it is bound.
pub(super) const ADDRESS: ValueParser<String> = ValueParser {
    metavar: "ADDRESS",
    ..TEXT
};

/// A path; any bytes are one.
pub(super) const PATH: ValueParser<PathBuf> = ValueParser {
    metavar: "PATH",
    parse: |value| {
        if value.is_empty() {
            Err(ParseProblem::Expected("a path"))
        } else {
            Ok(PathBuf::from(value))
        }
    },
    show: |path| path.display().to_string(),
};

/// Paths with commas between them.
pub(super) const PATHS: ValueParser<Vec<PathBuf>> = ValueParser {
    metavar: "PATH[,PATH]",
    parse: |value| {
        let parts = value.as_bytes().split(|byte| *byte == b',');
        Ok(parts
            .map(<[u8]>::trim_ascii)
            .filter(|part| !part.is_empty())
            .map(|part| PathBuf::from(OsStr::from_bytes(part)))
            .collect())
    },
    show: |paths| {
        let paths: Vec<_> = paths.iter().map(PATH.show).collect();
        paths.join(",")
    },
};

/// A variable of the environment.
pub(super) const PAIR: ValueParser<(OsString, OsString)> = ValueParser {
    metavar: "NAME=VALUE",
    parse: |value| {
        let expected = ParseProblem::Expected("NAME=VALUE");
        let bytes = value.as_bytes();
        let at = bytes
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or(expected)?;
        if at == 0 || bytes.contains(&0) {
            return Err(expected);
        }
        let part = |bytes| OsStr::from_bytes(bytes).to_owned();
        Ok((part(&bytes[..at]), part(&bytes[at + 1..])))
    },
    show: |(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()),
};

/// A log's destination; `-` is a stream of the process.
pub(super) const LOG: ValueParser<PathBuf> = ValueParser {
    metavar: "FILE",
    ..PATH
};

/// How severe a message is, in any case.
pub(super) const LEVEL: ValueParser<String> = ValueParser {
    metavar: "LEVEL",
    parse: |value| {
        let expected = "one of debug, info, warning, error, critical";
        let level = text(value, expected)?.to_ascii_lowercase();
        match level.trim() {
            // Python's logging has the same short names.
            "warn" => Ok("warning".to_owned()),
            "fatal" => Ok("critical".to_owned()),
            level @ ("debug" | "info" | "warning" | "error" | "critical") => Ok(level.to_owned()),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: Clone::clone,
};

/// A switch.
pub(super) const FLAG: ValueParser<bool> = ValueParser {
    metavar: "BOOL",
    parse: |value| {
        let expected = "true or false";
        match text(value, expected)?.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "y" | "on" => Ok(true),
            "false" | "0" | "no" | "n" | "off" => Ok(false),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: ToString::to_string,
};

/// Which PROXY headers are looked for, in any case; Gunicorn's truth values have a meaning too.
pub(super) const PROXY: ValueParser<ProxyProtocol> = ValueParser {
    metavar: "MODE",
    parse: |value| {
        let expected = "one of off, v1, v2, auto";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "off" | "false" => Ok(ProxyProtocol::Off),
            "v1" => Ok(ProxyProtocol::V1),
            "v2" => Ok(ProxyProtocol::V2),
            "auto" | "true" => Ok(ProxyProtocol::Auto),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: |mode| {
        let mode = match mode {
            ProxyProtocol::Off => "off",
            ProxyProtocol::V1 => "v1",
            ProxyProtocol::V2 => "v2",
            ProxyProtocol::Auto => "auto",
        };
        mode.to_owned()
    },
};

/// By which field forwarders tell the client's address.
pub(super) const CLIENT_ADDRESS: ValueParser<ClientAddress> = ValueParser {
    metavar: "FIELD",
    parse: |value| {
        let expected = "one of off, x-forwarded-for, forwarded";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "off" => Ok(ClientAddress::Off),
            "x-forwarded-for" => Ok(ClientAddress::XForwardedFor),
            "forwarded" => Ok(ClientAddress::Forwarded),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: |mode| mode.field().unwrap_or("off").to_owned(),
};

/// The value of a header field, or nothing.
pub(super) const FIELD_VALUE: ValueParser<String> = ValueParser {
    parse: |value| {
        let expected = "visible ASCII and blanks";
        let text = text(value, expected)?.trim();
        let fits = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        fits.then(|| text.to_owned())
            .ok_or(ParseProblem::Expected(expected))
    },
    ..TEXT
};

/// Names of header fields with commas between them.
pub(super) const NAMES: ValueParser<String> = ValueParser {
    metavar: "NAME[,NAME]",
    ..TEXT
};

/// Header fields with the value that counts, and commas between them.
pub(super) const FIELDS: ValueParser<Vec<(String, String)>> = ValueParser {
    metavar: "NAME=VALUE[,NAME=VALUE]",
    parse: |value| {
        let expected = "NAME=VALUE[,NAME=VALUE]";
        let fields = text(value, expected)?.split(',').map(str::trim);
        fields
            .filter(|field| !field.is_empty())
            .map(|field| match field.split_once('=') {
                Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
                _ => Err(ParseProblem::Expected(expected)),
            })
            .collect()
    },
    show: |fields| {
        let fields = fields.iter().map(|(name, value)| format!("{name}={value}"));
        fields.collect::<Vec<_>>().join(",")
    },
};

/// Addresses and networks with commas between them.
pub(super) const NETWORKS: ValueParser<Networks> = ValueParser {
    metavar: "IP[,NETWORK]",
    parse: |value| {
        let expected = "addresses, networks without bits for hosts, or *";
        let parsed = text(value, expected)?.parse();
        parsed.map_err(|_| ParseProblem::Expected(expected))
    },
    show: ToString::to_string,
};

/// What becomes of header names with an underscore, in any case.
pub(super) const HEADER_MAP: ValueParser<HeaderMap> = ValueParser {
    metavar: "POLICY",
    parse: |value| {
        let expected = "one of drop, refuse, dangerous";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "drop" => Ok(HeaderMap::Drop),
            "refuse" => Ok(HeaderMap::Refuse),
            "dangerous" => Ok(HeaderMap::Dangerous),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: |policy| format!("{policy:?}").to_ascii_lowercase(),
};

/// How changed files are noticed, in any case.
pub(super) const RELOAD_ENGINE: ValueParser<ReloadEngine> = ValueParser {
    metavar: "ENGINE",
    parse: |value| {
        let expected = "one of auto, poll, inotify";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "auto" => Ok(ReloadEngine::Auto),
            "poll" => Ok(ReloadEngine::Poll),
            "inotify" => Ok(ReloadEngine::Inotify),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: |engine| format!("{engine:?}").to_ascii_lowercase(),
};

/// Which requests have an id, in any case.
pub(super) const REQUEST_IDS: ValueParser<RequestIdMode> = ValueParser {
    metavar: "MODE",
    parse: |value| {
        let expected = "one of off, on, send";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "off" | "false" => Ok(RequestIdMode::Off),
            "on" | "true" => Ok(RequestIdMode::On),
            "send" => Ok(RequestIdMode::Send),
            _ => Err(ParseProblem::Expected(expected)),
        }
    },
    show: |mode| format!("{mode:?}").to_ascii_lowercase(),
};

/// A number of things.
pub(super) const COUNT: ValueParser<usize> = ValueParser {
    metavar: "INT",
    parse: integer,
    show: ToString::to_string,
};

/// A number of things that is at least one.
pub(super) const AT_LEAST_ONE: ValueParser<usize> = ValueParser {
    parse: |value| match integer(value)? {
        0 => Err(ParseProblem::Expected("a number above 0")),
        number => Ok(number),
    },
    ..COUNT
};

/// A number of things as `listen(2)` takes it.
pub(super) const COUNT_32: ValueParser<u32> = ValueParser {
    metavar: "INT",
    parse: integer,
    show: ToString::to_string,
};

/// A file mode creation mask (umask(2)).
pub(super) const UMASK: ValueParser<u32> = ValueParser {
    metavar: "MASK",
    parse: |value| permissions(value, "a mask from 0 to 0777"),
    show: |mask| format!("{mask:#o}"),
};

/// The permissions of a file (chmod(2)).
pub(super) const MODE: ValueParser<u32> = ValueParser {
    parse: |value| permissions(value, "permissions from 0 to 0777"),
    ..UMASK
};

/// A number of things that are counted over time.
pub(super) const COUNT_64: ValueParser<u64> = ValueParser {
    metavar: "INT",
    parse: integer,
    show: ToString::to_string,
};

/// A number of bytes in memory.
pub(super) const BYTES: ValueParser<usize> = ValueParser {
    metavar: "BYTES",
    parse: bytes,
    ..COUNT
};

/// A number of bytes of a file, or per second.
pub(super) const BYTES_64: ValueParser<u64> = ValueParser {
    metavar: "BYTES",
    parse: bytes,
    ..COUNT_64
};

/// A time in seconds, which may be 0.
pub(super) const SECONDS: ValueParser<Duration> = ValueParser {
    metavar: "SECONDS",
    parse: time,
    show: |time| time.as_secs_f64().to_string(),
};

/// A time in seconds, in which something must be possible.
pub(super) const DEADLINE: ValueParser<Duration> = ValueParser {
    parse: |value| match time(value)? {
        Duration::ZERO => Err(ParseProblem::Expected("a time longer than 0 seconds")),
        time => Ok(time),
    },
    ..SECONDS
};

/// A number that begins with 0 is octal, as everywhere but in Python.
fn permissions(value: &OsStr, expected: &'static str) -> Result<u32, ParseProblem> {
    let text = text(value, expected)?.trim();
    let octal = text.len() > 1 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let number = match text.strip_prefix('0') {
        Some(digits) if octal => u32::from_str_radix(digits, 8).ok(),
        _ => integer(value).ok(),
    };
    number
        .filter(|number| *number <= 0o777)
        .ok_or(ParseProblem::Expected(expected))
}

fn text<'v>(value: &'v OsStr, expected: &'static str) -> Result<&'v str, ParseProblem> {
    value.to_str().ok_or(ParseProblem::Expected(expected))
}

#[cfg(test)]
mod tests;
