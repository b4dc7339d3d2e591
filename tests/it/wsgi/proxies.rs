//! What balancers and forwarders may say of a client, and who believes it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::support::{Address, Client, Serve, Server, eventually};

const GET: &str = "GET /environ HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// The `repr` of each value of the environ that a request gives.
#[track_caller]
fn environ(client: &mut Client, request: impl AsRef<[u8]>) -> BTreeMap<String, String> {
    let response = client.send(request).response().expect(200);
    serde_json::from_str(response.text()).expect("it is JSON")
}

// Gunicorn: E24
#[test]
fn client_that_a_balancer_announces_is_the_client_everywhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("access");
    let server = Serve::app("probe:app")
        .args(["--proxy-protocol", "--access-logfile"])
        .args([&log])
        .start();
    let mut client = server.client();
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
    // The connection's second request has no header, and the same client.
    for request in [format!("{header}{GET}"), GET.to_owned()] {
        let environ = environ(&mut client, request);
        for (key, value) in [
            ("REMOTE_ADDR", "'192.0.2.7'"),
            ("REMOTE_PORT", "'4711'"),
            ("PROXY_PROTOCOL", "'TCP4'"),
            ("PROXY_ADDR", "'198.51.100.1'"),
            ("PROXY_PORT", "'443'"),
            ("oxicorn.peer_addr", "'127.0.0.1'"),
        ] {
            assert_eq!(environ[key], value, "{key} of {environ:#?}");
        }
    }
    eventually("two lines with the client", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        (text.matches("192.0.2.7 - - [").count() == 2).then_some(())
    });
}

// Gunicorn: S47, E35
#[test]
fn proxy_header_of_a_stranger_is_forbidden() {
    let server = Serve::app("probe:app")
        .args(["--proxy-protocol=v1", "--proxy-allow-from", "10.0.0.0/8"])
        .start();
    let mut stranger = server.client();
    stranger.send(format!("PROXY UNKNOWN\r\n{GET}"));
    stranger.response().expect(403);
    let plain = environ(&mut server.client(), GET);
    assert_eq!(plain["REMOTE_ADDR"], "'127.0.0.1'");
    assert!(!plain.contains_key("PROXY_PROTOCOL"));
}

/// A request with these lines, and what the application sees of it.
#[track_caller]
fn seen(client: &mut Client, target: &str, lines: &str) -> BTreeMap<String, String> {
    environ(
        client,
        format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n"),
    )
}

// Gunicorn: E2, E30
#[test]
fn trusted_forwarder_tells_the_scheme_of_each_request() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    for (lines, scheme) in [
        ("X-Forwarded-Proto: https\r\n", "'https'"),
        ("", "'http'"),
        ("X-Forwarded-Proto: http\r\n", "'http'"),
        ("X-Forwarded-Ssl: on\r\n", "'https'"),
    ] {
        let environ = seen(&mut client, "/environ", lines);
        assert_eq!(environ["wsgi.url_scheme"], scheme, "{lines}");
    }
    client.send(
        "GET /environ HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
    );
    let refused = client.response().expect(400);
    assert!(refused.text().contains("Contradictory scheme headers"));
}

// Gunicorn: S41
#[test]
fn scheme_is_told_by_the_fields_of_the_setting_alone() {
    let server = Serve::app("probe:app")
        .args(["--secure-scheme-headers", "X-Over=tls"])
        .start();
    let mut client = server.client();
    for (lines, scheme) in [
        ("X-Over: tls\r\n", "'https'"),
        ("X-Forwarded-Proto: https\r\n", "'http'"),
    ] {
        let environ = seen(&mut client, "/environ", lines);
        assert_eq!(environ["wsgi.url_scheme"], scheme, "{lines}");
    }
}

// Gunicorn: S42, E28, E29, E31, E33
#[test]
fn strangers_word_is_a_field_like_any_other() {
    let server = Serve::app("probe:app")
        .args(["--client-address", "x-forwarded-for"])
        .env("FORWARDED_ALLOW_IPS", "10.0.0.0/8")
        .start();
    let lines = "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\nX-Forwarded-For: 192.0.2.7\r\n\
                 SCRIPT_NAME: /environ\r\n";
    let environ = seen(&mut server.client(), "/environ", lines);
    for (key, value) in [
        ("wsgi.url_scheme", "'http'"),
        ("HTTP_X_FORWARDED_PROTO", "'https'"),
        ("HTTP_X_FORWARDED_FOR", "'192.0.2.7'"),
        ("REMOTE_ADDR", "'127.0.0.1'"),
        ("SCRIPT_NAME", "''"),
    ] {
        assert_eq!(environ[key], value, "{key} of {environ:#?}");
    }
    assert!(!environ.contains_key("HTTP_SCRIPT_NAME"));
}

// Gunicorn: S83
#[test]
fn underscores_are_taken_in_the_names_of_the_setting() {
    let server = Serve::app("probe:app")
        .args(["--forwarder-headers", "REMOTE_USER"])
        .start();
    let lines = "SCRIPT_NAME: /environ\r\nREMOTE_USER: ann\r\n";
    let environ = seen(&mut server.client(), "/environ", lines);
    assert_eq!(environ["HTTP_REMOTE_USER"], "'ann'");
    assert_eq!(environ["SCRIPT_NAME"], "''");
}

// Gunicorn: E18, E21, S83, E31
#[test]
fn trusted_forwarder_puts_the_application_below_a_path() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let lines = "SCRIPT_NAME: /shop\r\nPATH_INFO: /other\r\nREMOTE_USER: ann\r\n";
    let environ = seen(&mut client, "/shop/environ", lines);
    for (key, value) in [
        ("SCRIPT_NAME", "'/shop'"),
        ("PATH_INFO", "'/environ'"),
        ("HTTP_SCRIPT_NAME", "'/shop'"),
        ("HTTP_PATH_INFO", "'/other'"),
    ] {
        assert_eq!(environ[key], value, "{key} of {environ:#?}");
    }
    assert!(!environ.contains_key("HTTP_REMOTE_USER"));
    client.send("GET /shopping HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /shop\r\n\r\n");
    client.response().expect(500);
}

/// A client at another of the addresses that this machine has for itself alone.
fn client_at(host: &str, server: &Server) -> Client {
    let Address::Tcp(address) = server.address() else {
        panic!("{:?} is no TCP address", server.address());
    };
    let here: SocketAddr = format!("{host}:0").parse().expect("an address");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
    socket
        .bind(&here.into())
        .expect("all of 127.0.0.0/8 is this machine");
    socket
        .connect(&(*address).into())
        .expect("the server listens");
    Client::tcp(socket.into())
}

// The environs of repeated requests are copied: a stranger gets none of those whose peer is trusted.
#[test]
fn strangers_request_is_no_copy_of_a_trusted_forwarders() {
    let server = Serve::app("probe:app")
        .args([
            "--header-map",
            "dangerous",
            "--forwarded-allow-ips",
            "127.0.0.1",
        ])
        .start();
    let mut trusted = server.client();
    let mut stranger = client_at("127.0.0.2", &server);
    let request = "GET /shop/environ HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /shop\r\n\r\n";
    for _ in 0..2 {
        // To the stranger's request the whole path is the application's, which has no such page.
        for (client, status) in [(&mut trusted, 200), (&mut stranger, 404)] {
            for _ in 0..3 {
                client.send(request).response().expect(status);
            }
        }
    }
}

// Gunicorn: E27
#[test]
fn client_that_trusted_forwarders_name_is_the_requests_client() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (mode, line) in [
        ("x-forwarded-for", "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n"),
        ("forwarded", "Forwarded: for=6.6.6.6, for=192.0.2.7\r\n"),
    ] {
        let log = folder.path().join(mode);
        let server = Serve::app("probe:app")
            .args(["--client-address", mode, "--access-logfile"])
            .args([&log])
            .start();
        let mut client = server.client();
        let told = seen(&mut client, "/environ", line);
        assert_eq!(told["REMOTE_ADDR"], "'192.0.2.7'");
        assert_eq!(told["oxicorn.peer_addr"], "'127.0.0.1'");
        assert!(!told.contains_key("REMOTE_PORT"), "{told:#?}");
        let untold = seen(&mut client, "/environ", "");
        assert_eq!(untold["REMOTE_ADDR"], "'127.0.0.1'");
        assert!(untold.contains_key("REMOTE_PORT"));
        // One that is not named is not taken for the forwarder.
        let hidden = line.replace("192.0.2.7", "unknown");
        let hidden = seen(&mut client, "/environ", &hidden);
        assert_eq!(hidden["REMOTE_ADDR"], "''");
        assert!(!hidden.contains_key("REMOTE_PORT"), "{hidden:#?}");
        assert_eq!(hidden["oxicorn.peer_addr"], "'127.0.0.1'");
        eventually("a line with each client", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let hosts: Vec<_> = text
                .lines()
                .filter_map(|line| line.split(' ').next())
                .collect();
            (hosts == ["192.0.2.7", "127.0.0.1", "-"]).then_some(())
        });
    }
}

// Gunicorn: E27
#[test]
fn clients_own_bytes_before_its_forwarders_choose_no_address() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("s");
    for (mode, own, forwarders) in [
        (
            "x-forwarded-for",
            &b"X-Forwarded-For: \""[..],
            ", 203.0.113.9",
        ),
        ("x-forwarded-for", b"X-Forwarded-For: \xe9", ", 203.0.113.9"),
        ("forwarded", b"Forwarded: for=10.0.0.5", ", for=203.0.113.9"),
    ] {
        for bind in ["127.0.0.1:0".to_owned(), format!("unix:{}", path.display())] {
            let server = Serve::app("probe:app")
                .bind([bind])
                .args(["--client-address", mode])
                .start();
            let request = [
                b"GET /environ HTTP/1.1\r\nHost: a\r\n",
                own,
                forwarders.as_bytes(),
                b"\r\n\r\n",
            ];
            let environ = environ(&mut server.client(), request.concat());
            assert_eq!(environ["REMOTE_ADDR"], "'203.0.113.9'", "{own:?}");
        }
    }
    let server = Serve::app("probe:app")
        .args(["--client-address", "forwarded"])
        .start();
    let mut client = server.client();
    client.send(
        "GET /environ HTTP/1.1\r\nHost: a\r\n\
         Forwarded: for=10.0.0.5;by=\", for=203.0.113.9\r\n\r\n",
    );
    client.response().expect(400);
}

#[test]
fn client_behind_a_balancer_cannot_tell_another_address() {
    let server = Serve::app("probe:app")
        .args(["--proxy-protocol", "--client-address=x-forwarded-for"])
        .start();
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
    let request = GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    let environ = environ(&mut server.client(), format!("{header}{request}"));
    assert_eq!(environ["REMOTE_ADDR"], "'192.0.2.7'");
}
