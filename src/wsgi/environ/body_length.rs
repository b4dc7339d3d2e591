//! `CONTENT_LENGTH`, and the codings that the body still has.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::h1::{BodyLength, Head};

/// Sets the length that the parsed head gives, which accounts for repeated fields. A chunked body that was collected
/// has the `collected` length, and the codings before `chunked`, which were not undone.
pub(super) fn set_length(
    environ: &Bound<'_, PyDict>,
    head: &Head,
    collected: Option<u64>,
) -> PyResult<()> {
    let py = environ.py();
    let length = match head.length() {
        BodyLength::Known(length) => Some(length),
        BodyLength::Empty => head.get("content-length").map(|_| 0),
        BodyLength::Chunked => collected,
    };
    if let Some(length) = length {
        let mut digits = itoa::Buffer::new();
        environ.set_item(intern!(py, "CONTENT_LENGTH"), digits.format(length))?;
    }
    if head.length() == BodyLength::Chunked && collected.is_some() {
        let left = remaining_codings(head);
        if !left.is_empty() {
            let left = PyString::new(py, &left);
            environ.set_item(intern!(py, "HTTP_TRANSFER_ENCODING"), left)?;
        }
    }
    Ok(())
}

/// The codings that a collected body still has: all but `chunked` (RFC 9112 §7.1.3).
fn remaining_codings(head: &Head) -> String {
    let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
    let fields = head
        .fields()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"transfer-encoding"));
    let values: Vec<_> = fields
        .map(|(_, value)| String::from_utf8_lossy(value))
        .collect();
    let codings = values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let left: Vec<_> = codings
        .filter(|coding| !is(coding, "chunked") && !is(coding, "identity"))
        .collect();
    left.join(", ")
}
