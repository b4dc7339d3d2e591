//! The environ of a request (PEP 3333, "environ Variables"): a copy of its listener's template, and what
//! differs from it.
//! Trusts nothing that the request says about the connection: what a forwarder may say, its reactor has heard.
//!
//! Usual values (`GET`, `/`, `HTTP/1.1`, no query) are in the template, and are not set again.

use std::net::SocketAddr;

use percent_encoding::percent_decode_str;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::body::Failure;
use super::error_stream::ErrorStream;
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::names::{Kind, Names};
use crate::error::Error;
use crate::h1::{BodyLength, Head, Version};
use crate::python::ffi;
use crate::service::{Address, ConnectionInfo, Scheme, ServiceContext};

/// The value of `SERVER_SOFTWARE`.
pub(super) const SOFTWARE: &str = concat!("oxicorn/", env!("CARGO_PKG_VERSION"));

/// Addresses that a thread remembers.
const PEERS: usize = 64;

/// The environs of one application.
#[derive(Debug)]
pub(super) struct Templates {
    listeners: Vec<Template>,
    /// For a connection whose listener the site did not name.
    elsewhere: Template,
    /// The path under which the application lives, without a slash at its end.
    script_name: Vec<u8>,
}

#[derive(Debug)]
struct Template {
    dict: Py<PyDict>,
    /// Whether `SERVER_NAME` and `SERVER_PORT` are in it.
    has_server: bool,
}

/// A request's body, as far as the environ tells of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'i> {
    /// What reads it, if it has one.
    pub(super) input: Option<&'i Py<Input>>,
    /// Its length, where it has come as a whole.
    pub(super) collected: Option<u64>,
}

/// What a thread remembers between requests.
#[derive(Debug, Default)]
pub(super) struct Memory {
    names: Names,
    peers: Vec<Option<Peer>>,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    host: Py<PyString>,
    port: Py<PyString>,
}

impl Templates {
    /// The environs at `site`, for an application that lives under `script_name`.
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
                set_server(&dict, &host_of(ip), &ip.port().to_string())?;
            }
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
            elsewhere: template(None)?,
            script_name: script_name.as_bytes().to_vec(),
        })
    }

    /// The environ of a request.
    pub(super) fn environ<'py>(
        &self,
        py: Python<'py>,
        memory: &mut Memory,
        head: &Head,
        connection: &ConnectionInfo,
        content: &Content<'_>,
    ) -> Result<Bound<'py, PyDict>, Failure> {
        let template = self
            .listeners
            .get(connection.listener)
            .unwrap_or(&self.elsewhere);
        let environ = template.dict.bind(py).copy()?;
        if let Some(input) = content.input {
            environ.set_item(intern!(py, "wsgi.input"), input)?;
        }
        if head.method() != "GET" {
            environ.set_item(intern!(py, "REQUEST_METHOD"), head.method())?;
        }
        if head.version() != Version::HTTP_11 {
            let version = head.version().to_string();
            environ.set_item(intern!(py, "SERVER_PROTOCOL"), version)?;
        }
        if connection.scheme == Scheme::Https {
            environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
        }
        self.set_target(&environ, head, connection)?;
        memory.set_peer(&environ, &connection.peer)?;
        if connection.peer != connection.direct || connection.proxied.is_some() {
            set_announced(&environ, connection)?;
        }
        memory.set_fields(&environ, head, content.collected.is_some())?;
        set_length(&environ, head, content.collected)?;
        if !template.has_server {
            set_server_from_request(&environ, head, connection)?;
        }
        Ok(environ)
    }

    fn set_target(
        &self,
        environ: &Bound<'_, PyDict>,
        head: &Head,
        connection: &ConnectionInfo,
    ) -> Result<(), Failure> {
        let py = environ.py();
        let target = head.target();
        let script_name = match forwarded_script_name(head, connection) {
            Some(name) => {
                environ.set_item(intern!(py, "SCRIPT_NAME"), ffi::latin1(py, name)?)?;
                name
            }
            None => &self.script_name,
        };
        if target == "/" && script_name.is_empty() {
            return Ok(());
        }
        let (path, query) = (head.path(), head.query());
        if !query.is_empty() {
            environ.set_item(intern!(py, "QUERY_STRING"), query)?;
        }
        let uri = PyString::new(py, target);
        environ.set_item(intern!(py, "RAW_URI"), &uri)?;
        let path_info = intern!(py, "PATH_INFO");
        if script_name.is_empty() && !path.contains('%') {
            if path == target {
                environ.set_item(path_info, uri)?;
            } else if path != "/" {
                environ.set_item(path_info, path)?;
            }
            return Ok(());
        }
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        let rest = below(&decoded, script_name).ok_or_else(|| {
            Error::new(format!(
                "the path {path} is not below SCRIPT_NAME, which is {}",
                String::from_utf8_lossy(script_name)
            ))
        })?;
        environ.set_item(path_info, ffi::latin1(py, rest)?)?;
        Ok(())
    }
}

/// What all requests have in common.
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
        Bound::new(py, ErrorStream::of_no_request())?.into_any(),
    )?;
    flag("wsgi.multithread", context.threads > 1)?;
    flag("wsgi.multiprocess", context.workers > 1)?;
    flag("wsgi.run_once", false)?;
    set("wsgi.file_wrapper", py.get_type::<FileWrapper>().into_any())?;
    text("SERVER_SOFTWARE", SOFTWARE)?;
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

/// The path under which a trusted forwarder has put the application; of several the last, which is its own.
fn forwarded_script_name<'h>(head: &'h Head, connection: &ConnectionInfo) -> Option<&'h [u8]> {
    if !connection.trusted {
        return None;
    }
    let told = head
        .fields()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"script_name"));
    let (_, mut name) = told.last()?;
    while let Some(shorter) = name.strip_suffix(b"/") {
        name = shorter;
    }
    Some(name)
}

/// The part of a path below a script's name, which it has to start with, at a segment's boundary.
fn below<'p>(path: &'p [u8], script_name: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(script_name)?;
    (script_name.is_empty() || rest.is_empty() || rest[0] == b'/').then_some(rest)
}

/// A host as RFC 3875 §4.1.14 writes it: an IPv6 address in brackets.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn set_server(environ: &Bound<'_, PyDict>, name: &str, port: &str) -> PyResult<()> {
    let py = environ.py();
    let text = |text: &str| ffi::latin1(py, text.as_bytes());
    environ.set_item(intern!(py, "SERVER_NAME"), text(name)?)?;
    environ.set_item(intern!(py, "SERVER_PORT"), text(port)?)
}

/// Who connected where another is taken for the client, and what a PROXY header said (Gunicorn's keys).
#[cold]
fn set_announced(environ: &Bound<'_, PyDict>, connection: &ConnectionInfo) -> PyResult<()> {
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

/// A Unix socket has no host and no port: the request's own word stands in for them, then the path.
fn set_server_from_request(
    environ: &Bound<'_, PyDict>,
    head: &Head,
    connection: &ConnectionInfo,
) -> PyResult<()> {
    if let Some(ip) = connection.local.ip() {
        return set_server(environ, &host_of(ip), &ip.port().to_string());
    }
    let host = head
        .get("host")
        .and_then(|host| std::str::from_utf8(host).ok());
    if let Some((name, port)) = host.filter(|host| !host.is_empty()).map(split_host) {
        let usual = match connection.scheme {
            Scheme::Http => "80",
            Scheme::Https => "443",
        };
        return set_server(environ, name, port.unwrap_or(usual));
    }
    let path = connection.local.path().map(|path| path.to_string_lossy());
    set_server(environ, path.as_deref().unwrap_or_default(), "")
}

/// Splits `Host` into name and port: `[::1]:80` and `[::1]` have their last colon outside the brackets.
fn split_host(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            (name, Some(port).filter(|port| !port.is_empty()))
        }
        _ => (host, None),
    }
}

impl Memory {
    fn set_peer(&mut self, environ: &Bound<'_, PyDict>, peer: &Address) -> PyResult<()> {
        let Some(address) = peer.ip() else {
            return Ok(());
        };
        let py = environ.py();
        if self.peers.is_empty() {
            self.peers.resize_with(PEERS, || None);
        }
        let place = &mut self.peers[usize::from(address.port()) % PEERS];
        let peer = match place {
            Some(peer) if peer.address == address => peer,
            _ => place.insert(Peer {
                address,
                host: PyString::new(py, &address.ip().to_string()).unbind(),
                port: PyString::new(py, &address.port().to_string()).unbind(),
            }),
        };
        environ.set_item(intern!(py, "REMOTE_ADDR"), &peer.host)?;
        if address.port() == 0 {
            return Ok(());
        }
        environ.set_item(intern!(py, "REMOTE_PORT"), &peer.port)
    }

    /// Sets what the head's fields say. Of a body that was collected its codings are not told: what made a
    /// stream of it is undone.
    fn set_fields(
        &mut self,
        environ: &Bound<'_, PyDict>,
        head: &Head,
        collected: bool,
    ) -> PyResult<()> {
        let py = environ.py();
        self.names.begin();
        for (name, value) in head.fields() {
            let Some(shown) = self.names.show(py, name, value)? else {
                continue;
            };
            if shown.kind == Kind::TransferEncoding && collected {
                continue;
            }
            let repeated = match shown.repeated {
                Some(repeated) => repeated,
                None => environ.contains(&shown.key)?,
            };
            if repeated && shown.kind != Kind::ContentType {
                append(environ, &shown.key, shown.kind, shown.value)?;
            } else {
                environ.set_item(shown.key, shown.value)?;
            }
        }
        Ok(())
    }
}

/// The length that the parsed head tells, which knows about repetition; of a chunked body what was collected of
/// it, and the coding before `chunked` that nobody has undone.
fn set_length(environ: &Bound<'_, PyDict>, head: &Head, collected: Option<u64>) -> PyResult<()> {
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
        let left = codings_left(head);
        if !left.is_empty() {
            let left = PyString::new(py, &left);
            environ.set_item(intern!(py, "HTTP_TRANSFER_ENCODING"), left)?;
        }
    }
    Ok(())
}

/// The codings that a collected body still has (RFC 9112 §7.1.3 has `chunked` taken off).
fn codings_left(head: &Head) -> String {
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

/// Joins a repeated header's value to what is there.
#[cold]
fn append<'py>(
    environ: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
    kind: Kind,
    value: Bound<'py, PyString>,
) -> PyResult<()> {
    let Some(before) = environ.get_item(key)? else {
        return environ.set_item(key, value);
    };
    let separator = if kind == Kind::Cookie { "; " } else { "," };
    environ.set_item(key, before.add(separator)?.add(value)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::super::testing::{connection, head, ip};
    use super::*;
    use crate::python::testing::with_python;
    use crate::service::Proxied;

    /// What an expression over `e`, the environ of a request, is worth.
    struct Asked<'a> {
        listeners: &'a [Address],
        script_name: &'a str,
        connection: ConnectionInfo,
        content: Content<'a>,
    }

    const NO_BODY: Content<'static> = Content {
        input: None,
        collected: Some(0),
    };

    impl Asked<'_> {
        fn value(&self, head: &Head, expression: &str) -> Result<String, String> {
            with_python(|py| {
                let templates =
                    Templates::new(py, &ServiceContext::new(self.listeners), self.script_name)
                        .unwrap();
                let mut memory = Memory::default();
                let mut environ =
                    || templates.environ(py, &mut memory, head, &self.connection, &self.content);
                let first = environ().map_err(|failure| format!("{failure:?}"))?;
                // What is remembered must not change the next environ.
                let second = environ().map_err(|failure| format!("{failure:?}"))?;
                assert!(first.eq(&second).unwrap());
                let names = PyDict::new(py);
                names.set_item("e", first).unwrap();
                let expression = CString::new(expression).unwrap();
                let value = py.eval(&expression, Some(&names), None).unwrap();
                Ok(value.repr().unwrap().to_string())
            })
        }
    }

    fn asked(head: &Head, expression: &str) -> String {
        let listeners = [ip("127.0.0.1:8000")];
        let asked = Asked {
            listeners: &listeners,
            script_name: "",
            connection: connection(),
            content: NO_BODY,
        };
        asked.value(head, expression).unwrap()
    }

    fn get(target: &str) -> Head {
        head("GET", target, &[])
    }

    #[test]
    fn a_plain_request_has_the_keys_that_it_should() {
        assert_eq!(
            asked(&get("/"), "sorted(k for k in e if k.isupper())"),
            "['HTTP_HOST', 'PATH_INFO', 'QUERY_STRING', 'RAW_URI', 'REMOTE_ADDR', 'REMOTE_PORT', \
             'REQUEST_METHOD', 'SCRIPT_NAME', 'SERVER_NAME', 'SERVER_PORT', 'SERVER_PROTOCOL', \
             'SERVER_SOFTWARE']"
        );
        for (expression, value) in [
            ("type(e) is dict and all(type(k) is str for k in e)", "True"),
            ("e['wsgi.version']", "(1, 0)"),
            ("e['wsgi.url_scheme']", "'http'"),
            (
                "(e['wsgi.input_terminated'], e['wsgi.run_once'])",
                "(True, False)",
            ),
            (
                "(e['wsgi.multithread'], e['wsgi.multiprocess'])",
                "(False, False)",
            ),
            ("e['SERVER_SOFTWARE'].partition('/')[0]", "'oxicorn'"),
            (
                "(e['REMOTE_ADDR'], e['REMOTE_PORT'])",
                "('192.0.2.7', '4711')",
            ),
            (
                "(e['SERVER_NAME'], e['SERVER_PORT'])",
                "('127.0.0.1', '8000')",
            ),
            (
                "(e['REQUEST_METHOD'], e['SERVER_PROTOCOL'])",
                "('GET', 'HTTP/1.1')",
            ),
        ] {
            assert_eq!(asked(&get("/"), expression), value, "{expression}");
        }
    }

    #[test]
    fn a_target_is_shown_raw_and_decoded() {
        let expression = "(e['RAW_URI'], e['PATH_INFO'], e['QUERY_STRING'])";
        for (target, value) in [
            ("/", "('/', '/', '')"),
            ("/a", "('/a', '/a', '')"),
            ("/?x=%20", "('/?x=%20', '/', 'x=%20')"),
            ("//a/../b?c", "('//a/../b?c', '//a/../b', 'c')"),
            ("/%C3%A9%2f%zz", "('/%C3%A9%2f%zz', '/Ã©/%zz', '')"),
            ("http://h/p?q", "('http://h/p?q', '/p', 'q')"),
            ("http://h", "('http://h', '/', '')"),
            ("http://h?q", "('http://h?q', '/', 'q')"),
        ] {
            assert_eq!(asked(&get(target), expression), value);
        }
        let options = head("OPTIONS", "*", &[]);
        assert_eq!(
            asked(&options, "(e['REQUEST_METHOD'], e['PATH_INFO'])"),
            "('OPTIONS', '*')"
        );
    }

    #[test]
    fn an_old_version_is_shown() {
        let old = Head::new("GET", "/", Version::HTTP_10, []).unwrap();
        assert_eq!(asked(&old, "e['SERVER_PROTOCOL']"), "'HTTP/1.0'");
    }

    #[test]
    fn fields_are_joined_and_cookies_stay_cookies() {
        let fields: [(&str, &[u8]); 8] = [
            ("Accept", b"a"),
            ("COOKIE", b"a=1"),
            ("X-Some-Name", b"caf\xe9"),
            ("accept", b"b"),
            ("cookie", b"b=2"),
            ("Proxy", b"http://evil"),
            ("Accept", b"c"),
            ("Content-Type", b"text/plain"),
        ];
        let head = head("GET", "/", &fields);
        for (expression, value) in [
            ("e['HTTP_ACCEPT']", "'a,b,c'"),
            ("e['HTTP_COOKIE']", "'a=1; b=2'"),
            ("e['HTTP_X_SOME_NAME']", "'café'"),
            ("e['CONTENT_TYPE']", "'text/plain'"),
            ("'HTTP_PROXY' in e or 'HTTP_CONTENT_TYPE' in e", "False"),
        ] {
            assert_eq!(asked(&head, expression), value, "{expression}");
        }
    }

    #[test]
    fn many_names_and_long_ones_are_all_shown_and_joined() {
        let long = "x".repeat(100);
        let names: Vec<String> = (0..300).map(|n| format!("x-n{n}")).chain([long]).collect();
        let mut fields: Vec<(&str, &[u8])> = Vec::new();
        for value in [&b"1"[..], b"2"] {
            fields.extend(names.iter().map(|name| (name.as_str(), value)));
        }
        let head = head("GET", "/", &fields);
        assert_eq!(
            asked(
                &head,
                "sum(v == '1,2' for k, v in e.items() if k.startswith('HTTP_X'))"
            ),
            "301"
        );
    }

    #[test]
    fn a_length_is_the_parsed_one_or_that_of_what_was_collected() {
        let expression = "[e.get(k) for k in ('CONTENT_LENGTH', 'HTTP_TRANSFER_ENCODING', \
                          'HTTP_CONTENT_LENGTH', 'wsgi.input_terminated')]";
        let length = |value: &'static [u8]| head("POST", "/", &[("content-length", value)]);
        let chunked = |codings: &'static [u8]| head("POST", "/", &[("Transfer-Encoding", codings)]);
        for (head, collected, wanted) in [
            (length(b"5"), Some(5), "['5', None, None, True]"),
            (length(b"5"), None, "['5', None, None, True]"),
            (length(b"0"), Some(0), "['0', None, None, True]"),
            (length(b"00"), Some(0), "['0', None, None, True]"),
            (head("POST", "/", &[]), Some(0), "[None, None, None, True]"),
            (get("/"), Some(0), "[None, None, None, True]"),
            (chunked(b"chunked"), Some(13), "['13', None, None, True]"),
            (chunked(b"Chunked"), Some(0), "['0', None, None, True]"),
            (
                chunked(b"identity, chunked"),
                Some(1),
                "['1', None, None, True]",
            ),
            (
                chunked(b"gzip, chunked"),
                Some(9),
                "['9', 'gzip', None, True]",
            ),
            (chunked(b"chunked"), None, "[None, 'chunked', None, True]"),
            (
                chunked(b"gzip, chunked"),
                None,
                "[None, 'gzip, chunked', None, True]",
            ),
        ] {
            let asked = Asked {
                listeners: &[],
                script_name: "",
                connection: connection(),
                content: Content {
                    input: None,
                    collected,
                },
            };
            assert_eq!(asked.value(&head, expression).unwrap(), wanted, "{head:?}");
        }
    }

    #[test]
    fn a_script_name_is_taken_off_at_a_boundary() {
        let asked = Asked {
            listeners: &[],
            script_name: "/pre/",
            connection: connection(),
            content: NO_BODY,
        };
        let expression = "(e['SCRIPT_NAME'], e['PATH_INFO'], e['RAW_URI'])";
        for (target, value) in [
            ("/pre/x?y", "('/pre', '/x', '/pre/x?y')"),
            ("/pre", "('/pre', '', '/pre')"),
            ("/%70re/%78", "('/pre', '/x', '/%70re/%78')"),
        ] {
            assert_eq!(asked.value(&get(target), expression).unwrap(), value);
        }
        for target in ["/prefixed", "/", "/other"] {
            let refused = asked.value(&get(target), expression).unwrap_err();
            assert!(
                refused.contains("not below SCRIPT_NAME, which is /pre"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_scheme_is_the_connections_and_gives_the_usual_port() {
        let unix = Address::Unix(Some("/run/x.sock".into()));
        let mut asked = Asked {
            listeners: std::slice::from_ref(&unix),
            script_name: "",
            connection: ConnectionInfo::new(Address::Unix(None), 0, unix.clone()),
            content: NO_BODY,
        };
        asked.connection.scheme = Scheme::Https;
        assert_eq!(
            asked
                .value(&get("/"), "(e['wsgi.url_scheme'], e['SERVER_PORT'])")
                .unwrap(),
            "('https', '443')"
        );
    }

    #[test]
    fn a_server_without_a_port_goes_by_the_host_that_was_asked_for() {
        let unix = Address::Unix(Some("/run/x.sock".into()));
        let asked = Asked {
            listeners: std::slice::from_ref(&unix),
            script_name: "",
            connection: ConnectionInfo::new(Address::Unix(None), 0, unix.clone()),
            content: NO_BODY,
        };
        let expression =
            "(e['SERVER_NAME'], e['SERVER_PORT'], e['REMOTE_ADDR'], 'REMOTE_PORT' in e)";
        for (host, value) in [
            ("shop.example", "('shop.example', '80', '', False)"),
            ("shop.example:81", "('shop.example', '81', '', False)"),
            ("[::1]:82", "('[::1]', '82', '', False)"),
        ] {
            let head = head("GET", "/", &[("host", host.as_bytes())]);
            assert_eq!(asked.value(&head, expression).unwrap(), value);
        }
        let bare = Head::new("GET", "/", Version::HTTP_10, []).unwrap();
        assert_eq!(
            asked.value(&bare, expression).unwrap(),
            "('/run/x.sock', '', '', False)"
        );
    }

    #[test]
    fn an_announced_client_is_shown_with_who_announced_it() {
        let mut connection = connection();
        connection.peer = ip("203.0.113.9:5");
        connection.proxied = Some(Proxied {
            protocol: "TCP4",
            source: connection.peer.ip(),
            destination: Some("198.51.100.1:443".parse().unwrap()),
        });
        let mut asked = Asked {
            listeners: &[],
            script_name: "",
            connection,
            content: NO_BODY,
        };
        for (expression, value) in [
            (
                "(e['REMOTE_ADDR'], e['REMOTE_PORT'])",
                "('203.0.113.9', '5')",
            ),
            (
                "(e['oxicorn.peer_addr'], e['oxicorn.peer_port'])",
                "('192.0.2.7', '4711')",
            ),
            (
                "(e['PROXY_PROTOCOL'], e['PROXY_ADDR'], e['PROXY_PORT'])",
                "('TCP4', '198.51.100.1', '443')",
            ),
        ] {
            assert_eq!(asked.value(&get("/"), expression).unwrap(), value);
        }
        asked.connection.peer = asked.connection.direct.clone();
        asked.connection.proxied = Some(Proxied {
            protocol: "LOCAL",
            source: None,
            destination: None,
        });
        let expression = "(e['REMOTE_ADDR'], e['PROXY_PROTOCOL'], 'PROXY_ADDR' in e)";
        assert_eq!(
            asked.value(&get("/"), expression).unwrap(),
            "('192.0.2.7', 'LOCAL', False)"
        );
    }

    #[test]
    fn an_ipv6_listener_has_brackets_an_unknown_one_asks_the_socket() {
        let listeners = [ip("[::1]:8000")];
        let mut asked = Asked {
            listeners: &listeners,
            script_name: "",
            connection: connection(),
            content: NO_BODY,
        };
        let expression = "(e['SERVER_NAME'], e['SERVER_PORT'])";
        assert_eq!(
            asked.value(&get("/"), expression).unwrap(),
            "('[::1]', '8000')"
        );
        asked.connection.listener = 7;
        assert_eq!(
            asked.value(&get("/"), expression).unwrap(),
            "('127.0.0.1', '8000')"
        );
    }

    #[test]
    fn a_script_name_ends_at_a_boundary() {
        assert_eq!(below(b"/pre/x", b"/pre"), Some(&b"/x"[..]));
        assert_eq!(below(b"/pre", b"/pre"), Some(&b""[..]));
        assert_eq!(below(b"/prefixed", b"/pre"), None);
        assert_eq!(below(b"*", b""), Some(&b"*"[..]));
    }

    #[test]
    fn a_host_splits_outside_its_brackets() {
        assert_eq!(split_host("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_host("[::1]"), ("[::1]", None));
        assert_eq!(split_host("a.example:8000"), ("a.example", Some("8000")));
        assert_eq!(split_host("a.example"), ("a.example", None));
        assert_eq!(split_host("a:"), ("a", None));
    }
}
