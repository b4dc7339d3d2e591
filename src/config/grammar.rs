//! How a setting's value is written: one [`Grammar`] for each kind of value, from text and back.
//!
//! A grammar knows neither a setting's name nor where the text comes from.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{HeaderMap, WorkerClass};
use crate::net::{ClientAddress, Networks, ProxyProtocol};

/// Why a text is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// A number, but below zero.
    Negative,
    /// What was expected instead.
    Expected(&'static str),
}

/// A kind of value.
pub(super) struct Grammar<T> {
    /// What stands for a value in a usage line.
    pub(super) metavar: &'static str,
    /// The value that a text gives.
    pub(super) parse: fn(&OsStr) -> Result<T, Problem>,
    /// The text that gives the value; empty for none.
    pub(super) show: fn(&T) -> String,
}

/// Any text.
pub(super) const TEXT: Grammar<String> = Grammar {
    metavar: "TEXT",
    parse: |value| Ok(text(value, "UTF-8 text")?.to_owned()),
    show: Clone::clone,
};

/// An address to listen on, which is parsed where it is bound.
pub(super) const ADDRESS: Grammar<String> = Grammar {
    metavar: "ADDRESS",
    ..TEXT
};

/// A path; any bytes are one.
pub(super) const PATH: Grammar<PathBuf> = Grammar {
    metavar: "PATH",
    parse: |value| {
        if value.is_empty() {
            Err(Problem::Expected("a path"))
        } else {
            Ok(PathBuf::from(value))
        }
    },
    show: |path| path.display().to_string(),
};

/// Paths with commas between them.
pub(super) const PATHS: Grammar<Vec<PathBuf>> = Grammar {
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
pub(super) const PAIR: Grammar<(OsString, OsString)> = Grammar {
    metavar: "NAME=VALUE",
    parse: |value| {
        let expected = Problem::Expected("NAME=VALUE");
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
pub(super) const LOG: Grammar<PathBuf> = Grammar {
    metavar: "FILE",
    ..PATH
};

/// How severe a message is, in any case.
pub(super) const LEVEL: Grammar<String> = Grammar {
    metavar: "LEVEL",
    parse: |value| {
        let expected = "one of debug, info, warning, error, critical";
        let level = text(value, expected)?.to_ascii_lowercase();
        match level.as_str() {
            "debug" | "info" | "warning" | "error" | "critical" => Ok(level),
            _ => Err(Problem::Expected(expected)),
        }
    },
    show: Clone::clone,
};

/// A switch.
pub(super) const FLAG: Grammar<bool> = Grammar {
    metavar: "BOOL",
    parse: |value| {
        let expected = "true or false";
        let text = text(value, expected)?.to_ascii_lowercase();
        text.parse().map_err(|_| Problem::Expected(expected))
    },
    show: ToString::to_string,
};

/// Which PROXY headers are looked for, in any case; Gunicorn's truth values have a meaning too.
pub(super) const PROXY: Grammar<ProxyProtocol> = Grammar {
    metavar: "MODE",
    parse: |value| {
        let expected = "one of off, v1, v2, auto";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "off" | "false" => Ok(ProxyProtocol::Off),
            "v1" => Ok(ProxyProtocol::V1),
            "v2" => Ok(ProxyProtocol::V2),
            "auto" | "true" => Ok(ProxyProtocol::Auto),
            _ => Err(Problem::Expected(expected)),
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
pub(super) const CLIENT_ADDRESS: Grammar<ClientAddress> = Grammar {
    metavar: "FIELD",
    parse: |value| {
        let expected = "one of off, x-forwarded-for, forwarded";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "off" => Ok(ClientAddress::Off),
            "x-forwarded-for" => Ok(ClientAddress::XForwardedFor),
            "forwarded" => Ok(ClientAddress::Forwarded),
            _ => Err(Problem::Expected(expected)),
        }
    },
    show: |mode| mode.field().unwrap_or("off").to_owned(),
};

/// The value of a header field, or nothing.
pub(super) const FIELD_VALUE: Grammar<String> = Grammar {
    parse: |value| {
        let expected = "visible ASCII and blanks";
        let text = text(value, expected)?.trim();
        let fits = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        fits.then(|| text.to_owned())
            .ok_or(Problem::Expected(expected))
    },
    ..TEXT
};

/// Names of header fields with commas between them.
pub(super) const NAMES: Grammar<String> = Grammar {
    metavar: "NAME[,NAME]",
    ..TEXT
};

/// Header fields with the value that counts, and commas between them.
pub(super) const FIELDS: Grammar<Vec<(String, String)>> = Grammar {
    metavar: "NAME=VALUE[,NAME=VALUE]",
    parse: |value| {
        let expected = "NAME=VALUE[,NAME=VALUE]";
        let fields = text(value, expected)?.split(',').map(str::trim);
        fields
            .filter(|field| !field.is_empty())
            .map(|field| match field.split_once('=') {
                Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
                _ => Err(Problem::Expected(expected)),
            })
            .collect()
    },
    show: |fields| {
        let fields = fields.iter().map(|(name, value)| format!("{name}={value}"));
        fields.collect::<Vec<_>>().join(",")
    },
};

/// Addresses and networks with commas between them.
pub(super) const NETWORKS: Grammar<Networks> = Grammar {
    metavar: "IP[,NETWORK]",
    parse: |value| {
        let expected = "addresses, networks without bits for hosts, or *";
        let parsed = text(value, expected)?.parse();
        parsed.map_err(|_| Problem::Expected(expected))
    },
    show: ToString::to_string,
};

/// What becomes of header names with an underscore, in any case.
pub(super) const HEADER_MAP: Grammar<HeaderMap> = Grammar {
    metavar: "POLICY",
    parse: |value| {
        let expected = "one of drop, refuse, dangerous";
        match text(value, expected)?.to_ascii_lowercase().as_str() {
            "drop" => Ok(HeaderMap::Drop),
            "refuse" => Ok(HeaderMap::Refuse),
            "dangerous" => Ok(HeaderMap::Dangerous),
            _ => Err(Problem::Expected(expected)),
        }
    },
    show: |policy| format!("{policy:?}").to_ascii_lowercase(),
};

/// A kind of worker.
pub(super) const CLASS: Grammar<WorkerClass> = Grammar {
    metavar: "CLASS",
    parse: |value| match value.to_str() {
        Some("sync") => Ok(WorkerClass::Sync),
        Some("gthread") => Ok(WorkerClass::Gthread),
        _ => Err(Problem::Expected("one of sync, gthread")),
    },
    show: |class| {
        let name = match class {
            WorkerClass::Sync => "sync",
            WorkerClass::Gthread => "gthread",
        };
        name.to_owned()
    },
};

/// A number of things.
pub(super) const COUNT: Grammar<usize> = Grammar {
    metavar: "INT",
    parse: integer,
    show: ToString::to_string,
};

/// The same, and one at least.
pub(super) const SOME: Grammar<usize> = Grammar {
    parse: |value| match integer(value)? {
        0 => Err(Problem::Expected("a number above 0")),
        number => Ok(number),
    },
    ..COUNT
};

/// The same, as `listen(2)` takes it.
pub(super) const COUNT_32: Grammar<u32> = Grammar {
    metavar: "INT",
    parse: integer,
    show: ToString::to_string,
};

/// A file mode creation mask (umask(2)). A number that begins with 0 is octal, as everywhere but in Python.
pub(super) const UMASK: Grammar<u32> = Grammar {
    metavar: "MASK",
    parse: |value| {
        let expected = "a mask from 0 to 0777";
        let text = text(value, expected)?.trim();
        let octal = text.len() > 1 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mask = match text.strip_prefix('0') {
            Some(digits) if octal => u32::from_str_radix(digits, 8).ok(),
            _ => integer(value).ok(),
        };
        mask.filter(|mask| *mask <= 0o777)
            .ok_or(Problem::Expected(expected))
    },
    show: |mask| format!("{mask:#o}"),
};

/// A number of bytes.
pub(super) const BYTES: Grammar<usize> = Grammar {
    metavar: "BYTES",
    ..COUNT
};

/// The same of a file, or a second.
pub(super) const BYTES_64: Grammar<u64> = Grammar {
    metavar: "BYTES",
    parse: integer,
    show: ToString::to_string,
};

/// A number of bytes; 0 is no limit.
pub(super) const LIMIT: Grammar<Option<u64>> = Grammar {
    metavar: "BYTES",
    parse: |value| Ok(Some(integer(value)?).filter(|limit| *limit > 0)),
    show: |limit| limit.unwrap_or(0).to_string(),
};

/// A time in seconds, which may be 0.
pub(super) const SECONDS: Grammar<Duration> = Grammar {
    metavar: "SECONDS",
    parse: seconds,
    show: |time| time.as_secs_f64().to_string(),
};

/// A time in seconds, in which something must be possible.
pub(super) const DEADLINE: Grammar<Duration> = Grammar {
    parse: |value| match seconds(value)? {
        Duration::ZERO => Err(Problem::Expected("a time longer than 0 seconds")),
        time => Ok(time),
    },
    ..SECONDS
};

fn text<'v>(value: &'v OsStr, expected: &'static str) -> Result<&'v str, Problem> {
    value.to_str().ok_or(Problem::Expected(expected))
}

/// An integer as Python's `int(text, 0)` reads it, in the range of its type.
fn integer<N: TryFrom<u64>>(value: &OsStr) -> Result<N, Problem> {
    const EXPECTED: &str = "a whole number";
    let (negative, magnitude) = signed(text(value, EXPECTED)?.trim());
    let number = digits(magnitude).ok_or(Problem::Expected(EXPECTED))?;
    if negative && number > 0 {
        return Err(Problem::Negative);
    }
    N::try_from(number).map_err(|_| Problem::Expected("a smaller number"))
}

/// A number of seconds: an integer as above, or a decimal fraction.
fn seconds(value: &OsStr) -> Result<Duration, Problem> {
    let expected = Problem::Expected("a number of seconds");
    let (negative, magnitude) = signed(text(value, "a number of seconds")?.trim());
    let time = match digits(magnitude) {
        Some(whole) => Duration::from_secs(whole),
        None if magnitude
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.') =>
        {
            let fraction = magnitude.parse().map_err(|_| expected)?;
            Duration::try_from_secs_f64(fraction).map_err(|_| expected)?
        }
        None => return Err(expected),
    };
    if negative && !time.is_zero() {
        return Err(Problem::Negative);
    }
    Ok(time)
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// An unsigned integer of Python's source language: `0x`, `0o` and `0b` in either case, and single
/// underscores between digits (PEP 515). Unlike there, and like its `int()`, leading zeros mean nothing.
fn digits(text: &str) -> Option<u64> {
    let (radix, body) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        _ => (10, text),
    };
    let body = if radix == 10 {
        body
    } else {
        body.strip_prefix('_').unwrap_or(body)
    };
    let mut groups = body.split('_');
    if !groups.all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return None;
    }
    u64::from_str_radix(&body.replace('_', ""), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Result<usize, Problem> {
        (COUNT.parse)(OsStr::new(text))
    }

    fn time(text: &str) -> Result<Duration, Problem> {
        (SECONDS.parse)(OsStr::new(text))
    }

    #[test]
    fn integers_are_written_as_in_python() {
        for (text, wanted) in [
            ("0", 0),
            ("-0", 0),
            ("+7", 7),
            (" 12 ", 12),
            ("010", 10),
            ("1_000", 1000),
            ("0x1F", 31),
            ("0X_ff", 255),
            ("0o17", 15),
            ("0b1_01", 5),
        ] {
            assert_eq!(count(text), Ok(wanted), "{text}");
        }
        for text in [
            "", "-", "x", "1.5", "1__0", "_1", "1_", "0x", "0x_", "0b2", "1e3", "+-1", "１",
        ] {
            assert!(matches!(count(text), Err(Problem::Expected(_))), "{text}");
        }
    }

    #[test]
    fn a_mask_is_written_as_for_gunicorn() {
        let mask = |text: &str| (UMASK.parse)(OsStr::new(text));
        for (text, wanted) in [
            ("0", 0),
            ("0022", 0o22),
            ("022", 0o22),
            ("0o22", 0o22),
            ("0xFF", 0xff),
            ("18", 0o22),
            ("0777", 0o777),
        ] {
            assert_eq!(mask(text), Ok(wanted), "{text}");
        }
        for text in ["", "-1", "0888", "01000", "u=rwx"] {
            assert!(mask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_negative_number_is_told_from_no_number() {
        assert_eq!(count("-1"), Err(Problem::Negative));
        assert_eq!(count("-0x10"), Err(Problem::Negative));
        assert_eq!(time("-0.5"), Err(Problem::Negative));
        assert!(matches!(count("-x"), Err(Problem::Expected(_))));
    }

    #[test]
    fn a_number_too_large_for_its_setting_is_refused() {
        let big = OsStr::new("4294967296");
        assert!((COUNT_32.parse)(big).is_err());
        assert!((COUNT.parse)(big).is_ok());
        assert!(count("18446744073709551616").is_err());
    }

    #[test]
    fn seconds_may_be_fractional() {
        assert_eq!(time("2"), Ok(Duration::from_secs(2)));
        assert_eq!(time("0x10"), Ok(Duration::from_secs(16)));
        assert_eq!(time("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(time(".5"), Ok(Duration::from_millis(500)));
        for text in ["", ".", "inf", "nan", "1e3", "1.2.3", "2s", "1_0.5"] {
            assert!(matches!(time(text), Err(Problem::Expected(_))), "{text}");
        }
    }

    #[test]
    fn zero_is_a_value_or_no_limit_or_refused_as_the_setting_has_it() {
        let zero = OsStr::new("0");
        assert_eq!((LIMIT.parse)(zero), Ok(None));
        assert_eq!((SECONDS.parse)(zero), Ok(Duration::ZERO));
        assert!((DEADLINE.parse)(zero).is_err());
    }

    #[test]
    fn a_header_fields_value_cannot_end_its_line() {
        for (text, value) in [("", ""), (" a/1 (b) ", "a/1 (b)")] {
            assert_eq!((FIELD_VALUE.parse)(OsStr::new(text)), Ok(value.to_owned()));
        }
        for text in ["a\r\nb: c", "a\nb", "a\tb", "a\0", "caf\u{e9}"] {
            assert!((FIELD_VALUE.parse)(OsStr::new(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_may_be_any_bytes_but_text_must_be_text() {
        let bytes = OsStr::from_bytes(b"/a\xff");
        assert_eq!((PATH.parse)(bytes), Ok(PathBuf::from(bytes)));
        assert!((TEXT.parse)(bytes).is_err());
        assert!((PATH.parse)(OsStr::new("")).is_err());
    }

    #[test]
    fn a_variable_has_a_name_and_may_have_an_empty_value() {
        let pair = |name: &str, value: &str| Ok((name.into(), value.into()));
        assert_eq!((PAIR.parse)(OsStr::new("A=b=c")), pair("A", "b=c"));
        assert_eq!((PAIR.parse)(OsStr::new("A=")), pair("A", ""));
        assert!((PAIR.parse)(OsStr::new("=b")).is_err());
        assert!((PAIR.parse)(OsStr::new("A")).is_err());
    }

    #[test]
    fn paths_are_separated_by_commas() {
        assert_eq!(
            (PATHS.parse)(OsStr::new("a, b/c,,")),
            Ok(vec![PathBuf::from("a"), PathBuf::from("b/c")])
        );
    }

    #[test]
    fn an_unknown_worker_class_names_the_choices() {
        assert_eq!((CLASS.parse)(OsStr::new("sync")), Ok(WorkerClass::Sync));
        let wrong = (CLASS.parse)(OsStr::new("gevent"));
        assert_eq!(wrong, Err(Problem::Expected("one of sync, gthread")));
    }

    #[test]
    fn a_level_may_be_in_any_case_an_unknown_one_lists_choices() {
        assert_eq!((LEVEL.parse)(OsStr::new("DEBUG")), Ok("debug".to_owned()));
        let Err(Problem::Expected(expected)) = (LEVEL.parse)(OsStr::new("loud")) else {
            panic!("accepted");
        };
        assert!(expected.contains("warning"));
    }
}
