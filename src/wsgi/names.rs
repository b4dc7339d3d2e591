//! [`HeaderNames`]: header names and values as Python strings, kept from one request to the next.
//!
//! The table is bounded in size whatever clients send, and nothing that a client sends is ever interned, since some
//! versions of Python never free interned strings.
//!
//! The table is direct-mapped: a name's slot holds its key (`HTTP_USER_AGENT`) and its last value, since the headers of
//! one client repeat. A name replaces another one that has its slot.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::python::ffi;

/// Slots of the table: a power of two, for the mask.
const SLOTS: usize = 128;
/// The longest name that is kept, in bytes.
const LONGEST_NAME: usize = 64;
/// The longest value that is kept, in bytes.
const LONGEST_VALUE: usize = 256;

/// How the environ shows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderKind {
    /// `HTTP_NAME`; repeated values are joined with a comma (RFC 9110 §5.3).
    Field,
    /// The same, but pairs of a cookie are joined with a semicolon (RFC 9113 §8.2.3).
    Cookie,
    /// `CONTENT_TYPE`, without a prefix.
    ContentType,
    /// `CONTENT_LENGTH`, made from the parsed head.
    ContentLength,
    /// `HTTP_TRANSFER_ENCODING`, shown as it came only where the body is read as it arrives.
    TransferEncoding,
    /// `HTTP_TRACEPARENT` and `HTTP_TRACESTATE`: shown if the first is well formed (W3C Trace Context §3.2, §3.3).
    Trace,
    /// Not shown: `Proxy`, which many programs take from `HTTP_PROXY` as their own setting (CVE-2016-5385).
    Hidden,
}

impl HeaderKind {
    fn of(name: &[u8]) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            5 if is("proxy") => Self::Hidden,
            6 if is("cookie") => Self::Cookie,
            10 if is("tracestate") => Self::Trace,
            11 if is("traceparent") => Self::Trace,
            12 if is("content-type") => Self::ContentType,
            14 if is("content-length") => Self::ContentLength,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            _ => Self::Field,
        }
    }
}

/// A header as it goes into an environ.
#[derive(Debug)]
pub(super) struct Header<'py> {
    pub(super) kind: HeaderKind,
    pub(super) key: Bound<'py, PyString>,
    pub(super) value: Bound<'py, PyString>,
    /// True if the request has had the key before; `None` where the environ must be asked.
    pub(super) repeated: Option<bool>,
}

#[derive(Debug)]
pub(super) struct HeaderNames {
    slots: Box<[Option<Slot>]>,
    /// The number of the current request.
    request: u64,
    /// True if the request has a name with an underscore, whose key may be that of another name, too.
    ambiguous: bool,
}

#[derive(Debug)]
struct Slot {
    name: Box<[u8]>,
    kind: HeaderKind,
    key: Py<PyString>,
    bytes: Vec<u8>,
    value: Option<Py<PyString>>,
    /// The last request that had the name.
    seen: u64,
}

impl Default for HeaderNames {
    fn default() -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(SLOTS).collect(),
            request: 0,
            ambiguous: false,
        }
    }
}

impl HeaderNames {
    pub(super) fn begin_request(&mut self) {
        self.request += 1;
        self.ambiguous = false;
    }

    /// The strings for a header; `None` where the environ does not show it as one.
    pub(super) fn get<'py>(
        &mut self,
        py: Python<'py>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<Option<Header<'py>>> {
        // The protocol lets such a name through only where the settings allow it.
        let underscored = name.contains(&b'_');
        self.ambiguous |= underscored;
        if name.is_empty() || name.len() > LONGEST_NAME || underscored {
            let kind = HeaderKind::of(name);
            if kind == HeaderKind::Hidden {
                return Ok(None);
            }
            let header = Header {
                kind,
                key: key(py, name, kind)?,
                value: ffi::latin1(py, value)?,
                repeated: None,
            };
            return Ok(Some(header));
        }
        let place = &mut self.slots[place(name)];
        let known = place.as_ref().is_some_and(|slot| slot.is(name));
        let slot = match place {
            Some(slot) if known => slot,
            _ => place.insert(Slot::new(py, name)?),
        };
        if matches!(slot.kind, HeaderKind::Hidden | HeaderKind::ContentLength) {
            return Ok(None);
        }
        let repeated = (known && !self.ambiguous).then_some(slot.seen == self.request);
        slot.seen = self.request;
        Ok(Some(Header {
            kind: slot.kind,
            key: slot.key.bind(py).clone(),
            value: slot.value(py, value)?,
            repeated,
        }))
    }
}

impl Slot {
    fn new(py: Python<'_>, name: &[u8]) -> PyResult<Self> {
        let kind = HeaderKind::of(name);
        Ok(Self {
            name: name.into(),
            kind,
            key: key(py, name, kind)?.unbind(),
            bytes: Vec::new(),
            value: None,
            seen: 0,
        })
    }

    fn is(&self, name: &[u8]) -> bool {
        *self.name == *name || self.name.eq_ignore_ascii_case(name)
    }

    fn value<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
        if let Some(value) = &self.value {
            if self.bytes == bytes {
                return Ok(value.bind(py).clone());
            }
        }
        let value = ffi::latin1(py, bytes)?;
        if bytes.len() <= LONGEST_VALUE {
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
            self.value = Some(value.clone().unbind());
        }
        Ok(value)
    }
}

/// The index of a name's slot: from its length and four of its characters, in any case.
fn place(name: &[u8]) -> usize {
    let n = name.len();
    let at = |index: usize| usize::from(name[index] | 0x20);
    (n * 29 + at(0) * 3 + at(n / 2) * 7 + at(n - 1) * 13 + at(n.saturating_sub(2)) * 17) % SLOTS
}

/// The environ's key for a header: `HTTP_` and the name in capitals, with `_` for `-` (RFC 3875 §4.1.18).
fn key<'py>(py: Python<'py>, name: &[u8], kind: HeaderKind) -> PyResult<Bound<'py, PyString>> {
    let mut key = Vec::with_capacity(name.len() + 5);
    if kind != HeaderKind::ContentType {
        key.extend_from_slice(b"HTTP_");
    }
    key.extend(name.iter().map(|byte| match byte {
        b'-' => b'_',
        other => other.to_ascii_uppercase(),
    }));
    ffi::latin1(py, &key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::testing::with_python;

    #[test]
    fn the_usual_headers_do_not_share_slots() {
        let usual = [
            "Host",
            "User-Agent",
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Connection",
            "Cookie",
            "Referer",
            "Origin",
            "Content-Type",
            "Content-Length",
            "Cache-Control",
            "Sec-Fetch-Site",
            "Sec-Fetch-Mode",
            "Sec-Fetch-Dest",
            "Sec-Fetch-User",
            "Upgrade-Insecure-Requests",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "X-Real-IP",
            "Authorization",
            "X-Requested-With",
            "If-None-Match",
            "If-Modified-Since",
            "Sec-CH-UA",
            "Sec-CH-UA-Mobile",
            "Sec-CH-UA-Platform",
            "DNT",
            "Priority",
        ];
        let mut taken: Vec<usize> = usual.iter().map(|name| place(name.as_bytes())).collect();
        taken.sort_unstable();
        taken.dedup();
        assert!(usual.len() - taken.len() <= 3, "{} slots", taken.len());
    }

    #[test]
    fn names_with_an_underscore_make_the_environ_be_asked() {
        with_python(|py| {
            let mut names = HeaderNames::default();
            for (fields, expected) in [
                (&["X-A", "X-B", "X-A"][..], &[None, None, Some(true)][..]),
                (&["X-A", "X_A", "X-B"], &[Some(false), None, None]),
                (&["X_A", "X-A"], &[None, None]),
                (&["X-A", "X-B"], &[Some(false), Some(false)]),
            ] {
                names.begin_request();
                for (name, repeated) in fields.iter().zip(expected) {
                    let header = names.get(py, name.as_bytes(), b"").unwrap().unwrap();
                    assert_eq!(header.repeated, *repeated, "{name} of {fields:?}");
                    assert_eq!(
                        header.key.to_string(),
                        name.replace('-', "_").replace("X_", "HTTP_X_")
                    );
                }
            }
        });
    }

    #[test]
    fn a_place_is_the_same_in_any_case_and_within_the_table() {
        assert_eq!(place(b"Host"), place(b"hOST"));
        for name in [&b"a"[..], b"ab", b"abc", &[0xff; 64]] {
            assert!(place(name) < SLOTS);
        }
    }
}
