//! `SCRIPT_NAME`, `PATH_INFO`, `QUERY_STRING` and `RAW_URI`.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::super::failure::Failure;
use crate::error::Error;
use crate::h1::Head;
use crate::python::ffi;
use crate::service::{ConnectionInfo, Request};

/// Sets the keys of the request's target, where they differ from those of the template's `/`. The application lives under
/// `script_name`, unless a router of this program has mounted it, or else a trusted forwarder says otherwise.
pub(super) fn set_target(
    environ: &Bound<'_, PyDict>,
    request: &Request<'_>,
    script_name: &[u8],
) -> Result<(), Failure> {
    let (py, head) = (environ.py(), request.head());
    let mount: Cow<'_, [u8]> = percent_decode(request.mount_bytes()).into();
    let other = (!mount.is_empty()).then_some(&*mount);
    let other = other.or_else(|| forwarded_script_name(head, request.connection()));
    let script_name = match other {
        Some(name) => {
            environ.set_item(intern!(py, "SCRIPT_NAME"), ffi::latin1(py, name)?)?;
            name
        }
        None => script_name,
    };
    if head.target_bytes() == b"/" && script_name.is_empty() {
        return Ok(());
    }
    let (target, path, query) = (head.target_bytes(), head.path_bytes(), head.query_bytes());
    if !query.is_empty() {
        environ.set_item(intern!(py, "QUERY_STRING"), ffi::latin1(py, query)?)?;
    }
    let uri = ffi::latin1(py, target)?;
    environ.set_item(intern!(py, "RAW_URI"), &uri)?;
    let path_info = intern!(py, "PATH_INFO");
    if script_name.is_empty() && !path.contains(&b'%') {
        if path == target {
            environ.set_item(path_info, uri)?;
        } else if path != b"/" {
            environ.set_item(path_info, ffi::latin1(py, path)?)?;
        }
        return Ok(());
    }
    let decoded: Vec<u8> = percent_decode(path).collect();
    let rest = strip_script_name(&decoded, script_name).ok_or_else(|| {
        Error::new(format!(
            "the path {} is not below SCRIPT_NAME, which is {}",
            head.path(),
            String::from_utf8_lossy(script_name)
        ))
    })?;
    environ.set_item(path_info, ffi::latin1(py, rest)?)?;
    Ok(())
}

/// The `SCRIPT_NAME` that a trusted forwarder has sent; of several the last, which is its own.
fn forwarded_script_name<'h>(head: &'h Head, connection: &ConnectionInfo) -> Option<&'h [u8]> {
    if !connection.trusted {
        return None;
    }
    let sent = head
        .fields()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"script_name"));
    let (_, mut name) = sent.last()?;
    while let Some(shorter) = name.strip_suffix(b"/") {
        name = shorter;
    }
    Some(name)
}

/// The part of a path after the script's name, which must end at a boundary between segments; `None` where the path
/// does not start with it.
pub(super) fn strip_script_name<'p>(path: &'p [u8], script_name: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(script_name)?;
    (script_name.is_empty() || rest.is_empty() || rest[0] == b'/').then_some(rest)
}
