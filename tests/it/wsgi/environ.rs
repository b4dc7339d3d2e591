//! What an application finds in its environ: PEP 3333 and Gunicorn's additions to it.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;

use crate::support::{Address, Client, Serve, Server};

/// The `repr` of each value.
type Environ = BTreeMap<String, String>;

fn serve() -> Server {
    Serve::app("probe:app").start()
}

#[track_caller]
fn environ(client: &mut Client, request: &str) -> Environ {
    let response = client.send(request).response().expect(200);
    serde_json::from_str(response.text()).expect("it is JSON")
}

#[track_caller]
fn assert_has(environ: &Environ, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(
            environ.get(*key).map(String::as_str),
            Some(*value),
            "{key} of {environ:#?}"
        );
    }
}

fn port(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.port().to_string(),
        Address::Unix(path) => panic!("{} has no port", path.display()),
    }
}

// Gunicorn: E1, E4, E6, E8, E11, E13, E22, E23
#[test]
fn environ_has_what_pep_3333_requires() {
    let server = serve();
    let request = "GET /environ?a=1&b=%20 HTTP/1.1\r\nHost: example.org:81\r\n\r\n";
    let environ = environ(&mut server.client(), request);
    assert_has(
        &environ,
        &[
            ("wsgi.version", "(1, 0)"),
            ("wsgi.url_scheme", "'http'"),
            ("wsgi.multithread", "False"),
            ("wsgi.multiprocess", "False"),
            ("wsgi.run_once", "False"),
            ("wsgi.input_terminated", "True"),
            ("REQUEST_METHOD", "'GET'"),
            ("SCRIPT_NAME", "''"),
            ("PATH_INFO", "'/environ'"),
            ("QUERY_STRING", "'a=1&b=%20'"),
            ("RAW_URI", "'/environ?a=1&b=%20'"),
            ("SERVER_PROTOCOL", "'HTTP/1.1'"),
            ("REMOTE_ADDR", "'127.0.0.1'"),
            // The listener's own address: never what the client says.
            ("SERVER_NAME", "'127.0.0.1'"),
            ("SERVER_PORT", &format!("'{}'", port(server.address()))),
            ("HTTP_HOST", "'example.org:81'"),
        ],
    );
    for key in ["wsgi.input", "wsgi.errors", "wsgi.file_wrapper"] {
        assert!(environ.contains_key(key), "no {key} in {environ:#?}");
    }
    assert!(
        environ["SERVER_SOFTWARE"].starts_with("'oxicorn/"),
        "{environ:#?}"
    );
    assert!(
        environ["REMOTE_PORT"]
            .trim_matches('\'')
            .parse::<u16>()
            .is_ok(),
        "{environ:#?}"
    );
    assert!(!environ.contains_key("CONTENT_TYPE") && !environ.contains_key("CONTENT_LENGTH"));
    server.stop();
}

// Gunicorn: E7
#[test]
fn multiprocess_is_told_where_there_are_several_workers() {
    let server = Serve::app("probe:app").workers(2).start();
    let environ = environ(
        &mut server.client(),
        "GET /environ HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_has(
        &environ,
        &[("wsgi.multiprocess", "True"), ("wsgi.multithread", "False")],
    );
    server.stop();
}

// Gunicorn: E2, E14, E15, E16
#[test]
fn request_line_reaches_the_environ_in_every_form() {
    let server = serve();
    let mut client = server.client();
    for (line, raw, path, query, protocol) in [
        (
            "GET //environ HTTP/1.1",
            "//environ",
            "//environ",
            "",
            "HTTP/1.1",
        ),
        (
            "GET /environ?# HTTP/1.1",
            "/environ?#",
            "/environ",
            "",
            "HTTP/1.1",
        ),
        (
            "GET /environ?a#b HTTP/1.1",
            "/environ?a#b",
            "/environ",
            "a",
            "HTTP/1.1",
        ),
        (
            "GET /%65nviron?%65 HTTP/1.1",
            "/%65nviron?%65",
            "/environ",
            "%65",
            "HTTP/1.1",
        ),
        (
            "GET http://h:1/environ?a HTTP/1.1",
            "http://h:1/environ?a",
            "/environ",
            "a",
            "HTTP/1.1",
        ),
        (
            "GET https://h/environ HTTP/1.1",
            "https://h/environ",
            "/environ",
            "",
            "HTTP/1.1",
        ),
    ] {
        let environ = environ(&mut client, &format!("{line}\r\nHost: h:1\r\n\r\n"));
        let quoted = |text: &str| format!("'{text}'");
        assert_has(
            &environ,
            &[
                ("RAW_URI", &quoted(raw)),
                ("PATH_INFO", &quoted(path)),
                ("QUERY_STRING", &quoted(query)),
                ("SERVER_PROTOCOL", &quoted(protocol)),
                ("wsgi.url_scheme", "'http'"),
            ],
        );
    }
    client.send("GET /environ HTTP/1.0\r\n\r\n");
    let environ: Environ = serde_json::from_str(client.response().text()).expect("it is JSON");
    assert_has(&environ, &[("SERVER_PROTOCOL", "'HTTP/1.0'")]);
    server.stop();
}

// Gunicorn: E17
#[test]
fn path_is_decoded_to_bytes_and_shown_as_latin_1() {
    let server = Serve::app("shows_path:app").start();
    let mut client = server.client();
    for (target, path) in [
        ("/a%20b", r"'/a b'"),
        ("/%C3%BC", r"'/Ã¼'"),
        ("/%ff", r"'/ÿ'"),
        ("/100%", r"'/100%'"),
        ("/a%2Fb", r"'/a/b'"),
        ("/%0A", r"'/\n'"),
        ("/+", r"'/+'"),
    ] {
        assert_eq!(client.get(target).expect(200).text(), path, "{target}");
    }
    // The asterisk form, and an absolute form without a path: RFC 9112 section 3.2.
    client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "'*'");
    for (target, path) in [("GET http://h", "'/'"), ("OPTIONS http://h", "'*'")] {
        client.send(format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(client.response().expect(200).text(), path, "{target}");
    }
    server.stop();
}

// Gunicorn: E19, E20, P12
#[test]
fn headers_reach_the_environ_under_their_names() {
    let server = serve();
    let environ = environ(
        &mut server.client(),
        "POST /environ HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\
         X-Two-Words: value  with  spaces \r\nX-Repeated: 1\r\nX-Repeated: 2\r\nX-Bytes: \u{fc}\r\n\
         Cookie: a=1\r\nCookie: b=2\r\nScript-Name: /x\r\nPath-Info: /other\r\nRemote-User: me\r\n\r\nhi",
    );
    assert_has(
        &environ,
        &[
            ("CONTENT_TYPE", "'text/x'"),
            ("CONTENT_LENGTH", "'2'"),
            ("HTTP_X_TWO_WORDS", "'value  with  spaces'"),
            ("HTTP_X_REPEATED", "'1,2'"),
            ("HTTP_X_BYTES", "'Ã¼'"),
            // RFC 6265 section 5.4: what was split for HTTP/2 is joined with "; ".
            ("HTTP_COOKIE", "'a=1; b=2'"),
            ("SCRIPT_NAME", "''"),
            ("HTTP_SCRIPT_NAME", "'/x'"),
            ("PATH_INFO", "'/environ'"),
            ("HTTP_PATH_INFO", "'/other'"),
            ("HTTP_REMOTE_USER", "'me'"),
        ],
    );
    for absent in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "REMOTE_USER"] {
        assert!(!environ.contains_key(absent), "{absent} in {environ:#?}");
    }
    server.stop();
}

// Gunicorn: E20
#[test]
fn proxy_header_does_not_become_http_proxy() {
    let server = serve();
    let request = "GET /environ HTTP/1.1\r\nHost: a\r\nProxy: http://evil\r\n\r\n";
    let environ = environ(&mut server.client(), request);
    assert!(!environ.contains_key("HTTP_PROXY"), "{environ:#?}");
    server.stop();
}

// Gunicorn: E18, E33, P37
#[test]
fn script_name_of_the_process_is_taken_off_the_path() {
    let server = Serve::app("probe:app").env("SCRIPT_NAME", "/pre").start();
    let mut client = server.client();
    let environ = environ(&mut client, "GET /pre/environ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(
        &environ,
        &[
            ("SCRIPT_NAME", "'/pre'"),
            ("PATH_INFO", "'/environ'"),
            ("RAW_URI", "'/pre/environ'"),
        ],
    );
    // A boundary of segments: "/prefixed" is not below "/pre".
    client.get("/prefixed").expect(500);
    server.stderr().wait_for("SCRIPT_NAME");
    server.stop();
}

// Gunicorn: E22, E23
#[test]
fn unix_clients_have_no_address_and_the_server_is_named_by_host() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let server = Serve::app("probe:app")
        .bind([format!("unix:{}", path.display())])
        .start();
    let mut client = Client::unix(UnixStream::connect(&path).expect("it listens"));
    let seen = environ(
        &mut client,
        "GET /environ HTTP/1.1\r\nHost: example.org:81\r\n\r\n",
    );
    assert_has(
        &seen,
        &[
            ("REMOTE_ADDR", "''"),
            ("SERVER_NAME", "'example.org'"),
            ("SERVER_PORT", "'81'"),
        ],
    );
    assert!(!seen.contains_key("REMOTE_PORT"), "{seen:#?}");
    let seen = environ(
        &mut client,
        "GET /environ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    );
    assert_has(
        &seen,
        &[("SERVER_NAME", "'example.org'"), ("SERVER_PORT", "'80'")],
    );
    let seen = environ(
        &mut client,
        "GET /environ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    );
    assert_has(
        &seen,
        &[("SERVER_NAME", "'[::1]'"), ("SERVER_PORT", "'80'")],
    );
    server.stop();
}

// Gunicorn: E3
#[test]
fn input_reads_as_python_files_do() {
    let server = Serve::app("reads:app").start();
    let mut client = server.client();
    let body = b"one\ntwo\r\nthree\n\nlast";
    for (call, result) in [
        ("read()", r"b'one\ntwo\r\nthree\n\nlast'"),
        ("read(-1)", r"b'one\ntwo\r\nthree\n\nlast'"),
        ("read(None)", r"b'one\ntwo\r\nthree\n\nlast'"),
        ("read(5)", r"b'one\nt'"),
        ("read(0)", "b''"),
        ("readline()", r"b'one\n'"),
        ("readline(2)", "b'on'"),
        ("readline(None)", r"b'one\n'"),
        (
            "readlines()",
            r"[b'one\n', b'two\r\n', b'three\n', b'\n', b'last']",
        ),
        ("readlines(5)", r"[b'one\n', b'two\r\n']"),
        ("__iter__().__next__()", r"b'one\n'"),
        ("read('x')", "TypeError"),
    ] {
        let target = format!("/?{call}");
        assert_eq!(
            client.post(&target, body).expect(200).text(),
            result,
            "{call}"
        );
    }
    for (call, result) in [
        ("read()", "b''"),
        ("readline()", "b''"),
        ("readlines()", "[]"),
    ] {
        assert_eq!(
            client.get(&format!("/?{call}")).expect(200).text(),
            result,
            "{call}"
        );
    }
    server.stop();
}

// Gunicorn: E9, E57
#[test]
fn file_wrapper_sends_a_file_and_closes_it() {
    let server = Serve::app("wrapped:app").start();
    let mut client = server.client();
    let sent = std::fs::read(crate::support::root().join("Cargo.lock")).expect("it is there");
    for page in ["/file", "/from-offset", "/memory"] {
        let from = if page == "/from-offset" { 100 } else { 0 };
        let target = format!(
            "{page}?{}",
            crate::support::root().join("Cargo.lock").display()
        );
        assert!(
            client.get(&target).expect(200).body == sent[from..],
            "{page}"
        );
        assert_eq!(client.get("/closed").expect(200).text(), "True", "{page}");
    }
    server.stop();
}

#[test]
fn wsgiref_validator_has_no_complaint() {
    let server = Serve::app("validated:app").start();
    let mut client = server.client();
    for _ in 0..2 {
        assert_eq!(client.get("/path?query=1").expect(200).text(), "valid: b''");
        assert_eq!(
            client.post("/path", b"body").expect(200).text(),
            "valid: b'body'"
        );
        client
            .send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .head()
            .expect(200);
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        );
        assert_eq!(client.response().expect(200).text(), "valid: b'hi'");
    }
    let exited = server.stop();
    assert!(
        !exited.stderr.iter().any(|l| l.contains("AssertionError")),
        "{exited:#?}"
    );
}
