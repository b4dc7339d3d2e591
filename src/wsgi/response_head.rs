//! [`ResponseHead`]: status and headers that an application has given, and the one state of its response.
//! The headers are copied when `start_response` is called: changing the list afterwards changes nothing.
//!
//! ```text
//!   NotCalled ── start_response ──▶ Set ── first block, or the end ──▶ Sent
//!                                   ▲ │
//!                                   └─┘ start_response with exc_info
//! ```

use std::mem;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::python::ffi;

/// Status, reason and header fields. The buffers are used again for other responses.
#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    state: ResponseState,
    status: u16,
    /// The reason phrase, then names and values, without separators.
    text: Vec<u8>,
    /// The end of the reason phrase.
    reason_end: usize,
    /// The end of each name, and of each value.
    field_ends: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ResponseState {
    /// `start_response` was not called yet.
    #[default]
    NotCalled,
    /// The head is set, and another call of `start_response` may replace it.
    Set,
    /// The head was given to the exchange, and cannot be changed.
    Sent,
}

impl ResponseHead {
    pub(super) fn state(&self) -> ResponseState {
        self.state
    }

    pub(super) fn mark_sent(&mut self) {
        self.state = ResponseState::Sent;
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn reason(&self) -> &[u8] {
        &self.text[..self.reason_end]
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = self.reason_end;
        self.field_ends.iter().map(move |&(name_end, value_end)| {
            let from = mem::replace(&mut start, value_end);
            (&self.text[from..name_end], &self.text[name_end..value_end])
        })
    }

    /// The value of the application's own `Content-Length`, if it is a number.
    pub(super) fn content_length(&self) -> Option<u64> {
        let (_, value) = self
            .fields()
            .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }

    pub(super) fn clear(&mut self) {
        self.state = ResponseState::NotCalled;
        self.text.clear();
        self.field_ends.clear();
    }

    /// Sets the head by the arguments of `start_response`, in place of a former one.
    ///
    /// # Errors
    ///
    /// The exception for the application, where an argument is wrong. The head is not set then.
    pub(super) fn set(
        &mut self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.clear();
        push(&mut self.text, status, "the status")?;
        self.status = parse_status(&self.text).ok_or_else(|| {
            PyValueError::new_err(format!(
                "start_response: {} is not a status: three digits, then a space and a reason",
                status
                    .repr()
                    .map_or_else(|_| String::new(), |text| text.to_string()),
            ))
        })?;
        self.text.drain(..self.text.len().min(4));
        self.reason_end = self.text.len();
        if let Ok(list) = headers.cast_exact::<PyList>() {
            for field in list.iter() {
                self.push_field(&field)?;
            }
        } else {
            let fields = headers.try_iter().map_err(|_| {
                wrong_type("the headers", "a list of (name, value) tuples", headers)
            })?;
            for field in fields {
                self.push_field(&field?)?;
            }
        }
        self.state = ResponseState::Set;
        Ok(())
    }

    fn push_field(&mut self, field: &Bound<'_, PyAny>) -> PyResult<()> {
        let mismatch = || wrong_type("a header", "a (name, value) tuple", field);
        if let Ok(pair) = field.cast_exact::<PyTuple>() {
            if pair.len() != 2 {
                return Err(mismatch());
            }
            return self.push_pair(
                pair.get_borrowed_item(0)?.as_any(),
                pair.get_borrowed_item(1)?.as_any(),
            );
        }
        if field.len().ok() != Some(2) {
            return Err(mismatch());
        }
        let item = |index: usize| field.get_item(index).map_err(|_| mismatch());
        self.push_pair(&item(0)?, &item(1)?)
    }

    fn push_pair(&mut self, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        push(&mut self.text, name, "a header's name")?;
        let name_end = self.text.len();
        push(&mut self.text, value, "a header's value")?;
        self.field_ends.push((name_end, self.text.len()));
        Ok(())
    }
}

/// Appends the bytes that a `str` stands for by PEP 3333: one a character.
fn push(text: &mut Vec<u8>, object: &Bound<'_, PyAny>, what: &str) -> PyResult<()> {
    let string = object
        .cast::<PyString>()
        .map_err(|_| wrong_type(what, "str", object))?;
    if let Some(bytes) = ffi::latin1_bytes(string) {
        text.extend_from_slice(bytes);
        return Ok(());
    }
    // `to_str` fails only for lone surrogates.
    for character in string.to_str()?.chars() {
        text.push(u8::try_from(character).map_err(|_| {
            PyValueError::new_err(format!(
                "start_response: {what} holds {character:?}, which is not latin-1 (PEP 3333)"
            ))
        })?);
    }
    Ok(())
}

/// `200 OK`, `200 ` or `200`, with a reason of RFC 9112 §4: HTAB, SP, visible characters, obs-text.
fn parse_status(text: &[u8]) -> Option<u16> {
    let (code, rest) = text.split_at_checked(3)?;
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let &[a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = code else {
        return None;
    };
    let digit = |byte| u16::from(byte - b'0');
    let status = 100 * digit(a) + 10 * digit(b) + digit(c);
    reason.iter().all(visible).then_some(status)
}

fn wrong_type(what: &str, wanted: &str, object: &Bound<'_, PyAny>) -> PyErr {
    let kind = object.get_type();
    let kind = kind.name();
    let kind = kind
        .as_ref()
        .map_or("something else".into(), |name| name.to_string_lossy());
    PyTypeError::new_err(format!(
        "start_response: {what} must be {wanted}, not {kind}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits_and_perhaps_a_reason() {
        assert_eq!(parse_status(b"200 OK"), Some(200));
        assert_eq!(parse_status(b"404"), Some(404));
        assert_eq!(parse_status(b"500 "), Some(500));
        assert_eq!(parse_status(b"299 caf\xe9\ttwo"), Some(299));
        for wrong in [
            &b""[..],
            b"20",
            b"2000",
            b"20x OK",
            b"200OK",
            b"200 a\r\nb: c",
            b"+20 OK",
        ] {
            assert_eq!(parse_status(wrong), None, "{wrong:?}");
        }
    }
}
