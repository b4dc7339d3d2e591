//! The environ of a request (PEP 3333, "environ Variables"): a copy of its listener's template, and the values that
//! differ from it.
//!
//! Usual values (`GET`, `/`, `HTTP/1.1`, no query) are in the template, and are not set again. Headers about the
//! connection are not used here: the reactor has applied those of trusted forwarders.

mod body_length;
mod cache;
mod path;
mod prototype;
mod server_name;
#[cfg(test)]
mod tests;
mod tls;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::error_stream::ErrorStream;
use super::failure::Failure;
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::thread_cache::CallObjects;
use crate::h1::Version;
use crate::python::{ffi, gunicorn_names};
use crate::service::{Address, ConnectionInfo, Request, Scheme, ServiceContext};
pub(super) use cache::EnvironCache;
use prototype::Origin;

/// The value of `SERVER_SOFTWARE`.
pub(super) const SOFTWARE: &str = concat!("oxicorn/", env!("CARGO_PKG_VERSION"));

/// The templates of one application: a template for each listener.
#[derive(Debug)]
pub(super) struct EnvironTemplates {
    listeners: Vec<Template>,
    /// For a connection whose listener the service's context does not name.
    other: Template,
    /// The path under which the application lives, without a slash at its end.
    script_name: Vec<u8>,
}

#[derive(Debug)]
struct Template {
    dict: Py<PyDict>,
    /// True if `SERVER_NAME` and `SERVER_PORT` are in it.
    has_server: bool,
}

/// The request's body, as far as the environ describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyInfo<'i> {
    /// The object that reads it; `None` where there is no body.
    pub(super) input: Option<&'i Py<Input>>,
    /// Its length in bytes, where all of it has arrived.
    pub(super) collected: Option<u64>,
}

impl EnvironTemplates {
    /// The templates for an application that lives under `script_name`.
    pub(super) fn new(
        py: Python<'_>,
        context: &ServiceContext<'_>,
        script_name: &str,
    ) -> PyResult<Self> {
        let script_name = script_name.trim_end_matches('/');
        let base = base(py, context, script_name)?;
        let template = |address: Option<&Address>| -> PyResult<Template> {
            let dict = base.copy()?;
            let ip = address.and_then(Address::ip);
            if let Some(ip) = ip {
                server_name::set_address(&dict, ip)?;
            }
            reserve(&dict)?;
            Ok(Template {
                dict: dict.unbind(),
                has_server: ip.is_some(),
            })
        };
        Ok(Self {
            listeners: context
                .listeners
                .iter()
                .map(|address| template(Some(address)))
                .collect::<PyResult<_>>()?,
            other: template(None)?,
            script_name: script_name.as_bytes().to_vec(),
        })
    }

    /// The environ of a request, with the `objects` of its call. They are the ones that the thread keeps beside `cache`,
    /// which is told to [forget](EnvironCache::forget) them when they are replaced.
    ///
    /// # Errors
    ///
    /// A path that is not below `SCRIPT_NAME`, and failures of Python.
    pub(super) fn environ<'py>(
        &self,
        py: Python<'py>,
        cache: &mut EnvironCache,
        objects: &CallObjects,
        request: &Request<'_>,
        body: &BodyInfo<'_>,
    ) -> Result<Bound<'py, PyDict>, Failure> {
        let (head, connection) = (request.head(), request.connection());
        let template = self
            .listeners
            .get(connection.listener)
            .unwrap_or(&self.other);
        let client = request.client();
        let origin = Origin::of(request, template, body);
        let copied = match &origin {
            Some(origin) => cache.copy(py, origin)?,
            None => None,
        };
        let (environ, has_target) = if let Some(copied) = copied {
            copied
        } else {
            let environ = template.dict.bind(py).copy()?;
            environ.set_item(intern!(py, "wsgi.early_hints"), &objects.early_hints)?;
            environ.set_item(intern!(py, "wsgi.errors"), &objects.errors)?;
            cache.set_peer(&environ, client)?;
            cache.set_fields(&environ, head, body.collected.is_some())?;
            body_length::set_length(&environ, head, body.collected)?;
            if let Some(origin) = &origin {
                cache.note(origin, &environ)?;
            }
            (environ, false)
        };
        if !has_target {
            path::set_target(&environ, request, &self.script_name)?;
            if let Some(origin) = &origin {
                cache.note_target(origin, &environ)?;
            }
        }
        if let Some(input) = body.input {
            environ.set_item(intern!(py, "wsgi.input"), input)?;
        }
        if head.method_bytes() != b"GET" {
            environ.set_item(intern!(py, "REQUEST_METHOD"), head.method())?;
        }
        if head.version() != Version::HTTP_11 {
            let version = head.version().to_string();
            environ.set_item(intern!(py, "SERVER_PROTOCOL"), version)?;
        }
        if request.scheme() == Scheme::Https {
            environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
        }
        if *client != connection.direct || connection.proxied.is_some() {
            set_proxied(&environ, connection)?;
        }
        if let Some(id) = &request.info().id {
            set_request_id(&environ, id)?;
        }
        if let Some(tls) = &connection.tls {
            tls::set_tls(&environ, tls)?;
        }
        if !template.has_server {
            server_name::set_from_request(&environ, head, connection, request.info())?;
        }
        Ok(environ)
    }
}

/// Reserves room in `dict`, and so in its copies, for the keys of most requests. Growing a copy costs a twentieth of a
/// small request.
fn reserve(dict: &Bound<'_, PyDict>) -> PyResult<()> {
    let (key, value) = (intern!(dict.py(), "REMOTE_ADDR"), intern!(dict.py(), ""));
    // A dictionary has room for 21 insertions, those of removed keys included, and then grows to one for 42. Its last
    // insertion is that of a key of its own, since a removed one would lengthen each search in the copies.
    for _ in dict.len()..=21 {
        dict.del_item(key)?;
        dict.set_item(key, value)?;
    }
    Ok(())
}

/// The values that all requests have in common.
fn base<'py>(
    py: Python<'py>,
    context: &ServiceContext<'_>,
    script_name: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let environ = PyDict::new(py);
    let set =
        |key: &str, value: Bound<'py, PyAny>| environ.set_item(PyString::intern(py, key), value);
    let text = |key: &str, value: &str| set(key, PyString::intern(py, value).into_any());
    let flag = |key: &str, value: bool| set(key, value.into_pyobject(py)?.to_owned().into_any());
    set("wsgi.version", (1, 0).into_pyobject(py)?.into_any())?;
    text("wsgi.url_scheme", "http")?;
    set("wsgi.input", Bound::new(py, Input::empty())?.into_any())?;
    flag("wsgi.input_terminated", true)?;
    set(
        "wsgi.errors",
        Bound::new(py, ErrorStream::without_request())?.into_any(),
    )?;
    flag("wsgi.multithread", context.threads > 1)?;
    flag("wsgi.multiprocess", context.workers > 1)?;
    flag("wsgi.run_once", false)?;
    set("wsgi.file_wrapper", py.get_type::<FileWrapper>().into_any())?;
    text("SERVER_SOFTWARE", &gunicorn_names::software(py, SOFTWARE)?)?;
    text("REQUEST_METHOD", "GET")?;
    set(
        "SCRIPT_NAME",
        ffi::latin1(py, script_name.as_bytes())?.into_any(),
    )?;
    text("PATH_INFO", "/")?;
    text("RAW_URI", "/")?;
    text("QUERY_STRING", "")?;
    text("SERVER_PROTOCOL", "HTTP/1.1")?;
    text("REMOTE_ADDR", "")?;
    Ok(environ)
}

/// Sets the request's id, also in the place of one that came from a stranger.
fn set_request_id(environ: &Bound<'_, PyDict>, id: &str) -> PyResult<()> {
    let py = environ.py();
    let id = PyString::new(py, id);
    environ.set_item(intern!(py, "oxicorn.request_id"), &id)?;
    environ.set_item(intern!(py, "HTTP_X_REQUEST_ID"), id)
}

/// Sets the peer of a connection whose client is another, and the addresses of a PROXY header (Gunicorn's keys).
#[cold]
fn set_proxied(environ: &Bound<'_, PyDict>, connection: &ConnectionInfo) -> PyResult<()> {
    let py = environ.py();
    if let Some(direct) = connection.direct.ip() {
        environ.set_item(intern!(py, "oxicorn.peer_addr"), direct.ip().to_string())?;
        environ.set_item(intern!(py, "oxicorn.peer_port"), direct.port().to_string())?;
    }
    let Some(proxied) = connection.proxied else {
        return Ok(());
    };
    environ.set_item(intern!(py, "PROXY_PROTOCOL"), proxied.protocol)?;
    if let Some(destination) = proxied.destination {
        environ.set_item(intern!(py, "PROXY_ADDR"), destination.ip().to_string())?;
        environ.set_item(intern!(py, "PROXY_PORT"), destination.port().to_string())?;
    }
    Ok(())
}
