use std::ffi::CString;

use super::super::thread_cache::ThreadCache;
use super::path::strip_script_name;
use super::server_name::split_host;
use super::*;
use crate::h1::Head;
use crate::python::testing::with_python;
use crate::service::{Body, Proxied, Request, RequestInfo};
use crate::wsgi::testing::{connection, head, ip};

/// What an expression over `e`, the environ of a request, is worth.
struct Case<'a> {
    listeners: &'a [Address],
    script_name: &'a str,
    connection: ConnectionInfo,
    request: RequestInfo,
    body: BodyInfo<'a>,
}

const NO_BODY: BodyInfo<'static> = BodyInfo {
    input: None,
    collected: Some(0),
};

impl Case<'_> {
    fn value(&self, head: &Head, expression: &str) -> Result<String, String> {
        with_python(|py| {
            let templates =
                EnvironTemplates::new(py, &ServiceContext::new(self.listeners), self.script_name)
                    .unwrap();
            let mut cache = ThreadCache::default();
            let objects = cache.take_objects(py).unwrap();
            let request = Request::new(head, &self.connection, Body::empty());
            let request = request.with_info(&self.request);
            let mut environ =
                || templates.environ(py, &mut cache.environ, &objects, &request, &self.body);
            let first = environ().map_err(|failure| format!("{failure:?}"))?;
            // What is remembered must not change the next environ.
            for _ in 0..2 {
                let next = environ().map_err(|failure| format!("{failure:?}"))?;
                assert!(first.eq(&next).unwrap());
            }
            let names = PyDict::new(py);
            names.set_item("e", first).unwrap();
            let expression = CString::new(expression).unwrap();
            let value = py.eval(&expression, Some(&names), None).unwrap();
            Ok(value.repr().unwrap().to_string())
        })
    }
}

fn case(head: &Head, expression: &str) -> String {
    let listeners = [ip("127.0.0.1:8000")];
    let case = Case {
        listeners: &listeners,
        script_name: "",
        connection: connection(),
        request: RequestInfo::default(),
        body: NO_BODY,
    };
    case.value(head, expression).unwrap()
}

fn get(target: &str) -> Head {
    head("GET", target, &[])
}

// Gunicorn: E26
#[test]
fn a_plain_request_has_the_keys_that_it_should() {
    assert_eq!(
        case(&get("/"), "sorted(k for k in e if k.isupper())"),
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
        assert_eq!(case(&get("/"), expression), value, "{expression}");
    }
}

#[test]
fn an_environ_has_room_for_more_keys() {
    let grows = "(lambda size: [e.update({str(n): n}) for n in range(12)] and e.__sizeof__() > size)(e.__sizeof__())";
    assert_eq!(case(&get("/"), grows), "False");
}

// Gunicorn: E67
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
        assert_eq!(case(&get(target), expression), value);
    }
    let options = head("OPTIONS", "*", &[]);
    assert_eq!(
        case(&options, "(e['REQUEST_METHOD'], e['PATH_INFO'])"),
        "('OPTIONS', '*')"
    );
}

#[test]
fn an_old_version_is_shown() {
    let old = Head::new("GET", "/", Version::HTTP_10, []).unwrap();
    assert_eq!(case(&old, "e['SERVER_PROTOCOL']"), "'HTTP/1.0'");
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
        assert_eq!(case(&head, expression), value, "{expression}");
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
        case(
            &head,
            "sum(v == '1,2' for k, v in e.items() if k.startswith('HTTP_X'))"
        ),
        "301"
    );
}

// Gunicorn: E19
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
        let case = Case {
            listeners: &[],
            script_name: "",
            connection: connection(),
            request: RequestInfo::default(),
            body: BodyInfo {
                input: None,
                collected,
            },
        };
        assert_eq!(case.value(&head, expression).unwrap(), wanted, "{head:?}");
    }
}

#[test]
fn a_script_name_is_taken_off_at_a_boundary() {
    let case = Case {
        listeners: &[],
        script_name: "/pre/",
        connection: connection(),
        request: RequestInfo::default(),
        body: NO_BODY,
    };
    let expression = "(e['SCRIPT_NAME'], e['PATH_INFO'], e['RAW_URI'])";
    for (target, value) in [
        ("/pre/x?y", "('/pre', '/x', '/pre/x?y')"),
        ("/pre", "('/pre', '', '/pre')"),
        ("/%70re/%78", "('/pre', '/x', '/%70re/%78')"),
    ] {
        assert_eq!(case.value(&get(target), expression).unwrap(), value);
    }
    for target in ["/prefixed", "/", "/other"] {
        let refused = case.value(&get(target), expression).unwrap_err();
        assert!(
            refused.contains("not below SCRIPT_NAME, which is /pre"),
            "{refused}"
        );
    }
}

#[test]
fn a_scheme_is_the_connections_and_gives_the_usual_port() {
    let unix = Address::Unix(Some("/run/x.sock".into()));
    let mut case = Case {
        listeners: std::slice::from_ref(&unix),
        script_name: "",
        connection: ConnectionInfo::new(Address::Unix(None), 0, unix.clone()),
        request: RequestInfo::default(),
        body: NO_BODY,
    };
    case.request.scheme = Scheme::Https;
    assert_eq!(
        case.value(&get("/"), "(e['wsgi.url_scheme'], e['SERVER_PORT'])")
            .unwrap(),
        "('https', '443')"
    );
}

#[test]
fn a_server_without_a_port_goes_by_the_host_that_was_asked_for() {
    let unix = Address::Unix(Some("/run/x.sock".into()));
    let case = Case {
        listeners: std::slice::from_ref(&unix),
        script_name: "",
        connection: ConnectionInfo::new(Address::Unix(None), 0, unix.clone()),
        request: RequestInfo::default(),
        body: NO_BODY,
    };
    let expression = "(e['SERVER_NAME'], e['SERVER_PORT'], e['REMOTE_ADDR'], 'REMOTE_PORT' in e)";
    for (host, value) in [
        ("shop.example", "('shop.example', '80', '', False)"),
        ("shop.example:81", "('shop.example', '81', '', False)"),
        ("[::1]:82", "('[::1]', '82', '', False)"),
    ] {
        let head = head("GET", "/", &[("host", host.as_bytes())]);
        assert_eq!(case.value(&head, expression).unwrap(), value);
    }
    let bare = Head::new("GET", "/", Version::HTTP_10, []).unwrap();
    assert_eq!(
        case.value(&bare, expression).unwrap(),
        "('/run/x.sock', '', '', False)"
    );
}

// Gunicorn: E24
#[test]
fn an_announced_client_is_shown_with_its_balancer() {
    let mut connection = connection();
    connection.peer = ip("203.0.113.9:5");
    connection.proxied = Some(Proxied {
        protocol: "TCP4",
        source: connection.peer.ip(),
        destination: Some("198.51.100.1:443".parse().unwrap()),
    });
    let mut case = Case {
        listeners: &[],
        script_name: "",
        connection,
        request: RequestInfo::default(),
        body: NO_BODY,
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
        assert_eq!(case.value(&get("/"), expression).unwrap(), value);
    }
    case.connection.peer = case.connection.direct.clone();
    case.connection.proxied = Some(Proxied {
        protocol: "LOCAL",
        source: None,
        destination: None,
    });
    let expression = "(e['REMOTE_ADDR'], e['PROXY_PROTOCOL'], 'PROXY_ADDR' in e)";
    assert_eq!(
        case.value(&get("/"), expression).unwrap(),
        "('192.0.2.7', 'LOCAL', False)"
    );
}

#[test]
fn an_ipv6_listener_has_brackets_an_unknown_one_asks_the_socket() {
    let listeners = [ip("[::1]:8000")];
    let mut case = Case {
        listeners: &listeners,
        script_name: "",
        connection: connection(),
        request: RequestInfo::default(),
        body: NO_BODY,
    };
    let expression = "(e['SERVER_NAME'], e['SERVER_PORT'])";
    assert_eq!(
        case.value(&get("/"), expression).unwrap(),
        "('[::1]', '8000')"
    );
    case.connection.listener = 7;
    assert_eq!(
        case.value(&get("/"), expression).unwrap(),
        "('127.0.0.1', '8000')"
    );
}

#[test]
fn a_script_name_ends_at_a_boundary() {
    assert_eq!(strip_script_name(b"/pre/x", b"/pre"), Some(&b"/x"[..]));
    assert_eq!(strip_script_name(b"/pre", b"/pre"), Some(&b""[..]));
    assert_eq!(strip_script_name(b"/prefixed", b"/pre"), None);
    assert_eq!(strip_script_name(b"*", b""), Some(&b"*"[..]));
}

#[test]
fn a_host_splits_outside_its_brackets() {
    assert_eq!(split_host("[::1]:80"), ("[::1]", Some("80")));
    assert_eq!(split_host("[::1]"), ("[::1]", None));
    assert_eq!(split_host("a.example:8000"), ("a.example", Some("8000")));
    assert_eq!(split_host("a.example"), ("a.example", None));
    assert_eq!(split_host("a:"), ("a", None));
}

/// What `REMOTE_ADDR`, `REMOTE_PORT`, `PATH_INFO` and `HTTP_X_A` are in requests of one thread, one after the other.
fn in_a_row(requests: &[(&str, &str, &str)]) -> Vec<String> {
    with_python(|py| {
        let listeners = [ip("127.0.0.1:8000")];
        let templates = EnvironTemplates::new(py, &ServiceContext::new(&listeners), "").unwrap();
        let mut cache = ThreadCache::default();
        let mut seen = Vec::new();
        for (peer, target, field) in requests {
            let objects = cache.take_objects(py).unwrap();
            let head = head("GET", target, &[("x-a", field.as_bytes())]);
            let connection = ConnectionInfo::new(ip(peer), 0, ip("127.0.0.1:8000"));
            let request = Request::new(&head, &connection, Body::empty());
            let environ = templates
                .environ(py, &mut cache.environ, &objects, &request, &NO_BODY)
                .unwrap();
            for (key, object) in [
                ("wsgi.errors", objects.errors.as_any()),
                ("wsgi.early_hints", objects.early_hints.as_any()),
            ] {
                assert!(environ.get_item(key).unwrap().unwrap().is(object), "{key}");
            }
            let keys = ["REMOTE_ADDR", "REMOTE_PORT", "PATH_INFO", "HTTP_X_A"];
            let values = keys.map(|key| environ.get_item(key).unwrap().unwrap().to_string());
            seen.push(values.join(" "));
            // What an application does to its environ stays there.
            environ.set_item("HTTP_X_A", "changed").unwrap();
            environ.set_item("wsgi.errors", 1).unwrap();
            drop(environ);
            cache.recycle_objects(py, objects);
        }
        seen
    })
}

#[test]
fn equal_fields_do_not_make_equal_requests() {
    let (one, other) = ("192.0.2.7:1", "192.0.2.8:2");
    let requests = [
        (one, "/", "a"),
        (one, "/", "a"),
        (one, "/", "a"),
        (other, "/b", "a"),
        (one, "/c", "b"),
        (one, "/", "a"),
    ];
    let expected = requests.map(|(peer, target, field)| {
        let (host, port) = peer.split_once(':').unwrap();
        format!("{host} {port} {target} {field}")
    });
    assert_eq!(in_a_row(&requests), expected);
}

/// The keys and values of a request's environ that are no objects of this server.
fn cgi_keys(
    cache: &mut ThreadCache,
    templates: &EnvironTemplates,
    (head, connection, mounted): &MountedRequest,
) -> Vec<String> {
    with_python(|py| {
        let objects = cache.take_objects(py).unwrap();
        let request = Request::new(head, connection, Body::empty()).mounted_at(*mounted);
        let environ = templates
            .environ(py, &mut cache.environ, &objects, &request, &NO_BODY)
            .unwrap();
        let mut keys: Vec<_> = environ
            .iter()
            .filter(|(key, _)| !key.to_string().starts_with("wsgi."))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        keys.sort();
        drop(environ);
        cache.recycle_objects(py, objects);
        keys
    })
}

/// A head, its connection, and how much of its path is mounted.
type MountedRequest = (Head, ConnectionInfo, usize);

#[test]
fn no_request_shows_the_target_of_another() {
    let by = |trusted| ConnectionInfo {
        trusted,
        ..connection()
    };
    let mut asked: Vec<MountedRequest> = Vec::new();
    for target in ["/", "/a/b", "/a/b?c", "/a/%62?", "/a", "http://h/a/b"] {
        asked.push((get(target), by(false), 0));
        if target.starts_with("/a") {
            asked.push((get(target), by(false), 2));
            asked.push((get(target), by(true), 0));
        }
    }
    let templates = with_python(|py| {
        EnvironTemplates::new(py, &ServiceContext::new(&[ip("127.0.0.1:8000")]), "").unwrap()
    });
    let mut cache = ThreadCache::default();
    for request in &asked {
        let expected = cgi_keys(&mut ThreadCache::default(), &templates, request);
        for before in &asked {
            for _ in 0..3 {
                cgi_keys(&mut cache, &templates, before);
            }
            for _ in 0..3 {
                let found = cgi_keys(&mut cache, &templates, request);
                assert_eq!(found, expected, "behind {before:?}");
            }
        }
    }
}
