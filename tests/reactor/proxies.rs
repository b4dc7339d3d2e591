//! PROXY headers before the first request.

use oxicorn::net::{ClientAddress, ProxyProtocol};
use oxicorn::reactor::Config;
use oxicorn::{Request, Responded, Responder, Result};

use crate::{Serving, config, serve};

/// Answers with who speaks, who connected, and what the PROXY header said.
#[expect(clippy::needless_pass_by_value, reason = "a service's signature")]
fn ends(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    let client = request.client();
    let connection = request.connection();
    let direct = connection.direct.ip().map(|address| address.ip());
    let text = format!("{} from {direct:?} by {:?}", client, connection.proxied);
    reply.text(200, text)
}

fn proxied(trusted: &str) -> Serving {
    let config = config(|config| {
        config.settings.proxy_protocol = ProxyProtocol::Auto;
        config.settings.proxy_allow_ips = trusted.parse().unwrap();
    });
    serve(config, ends)
}

// Gunicorn: E38
#[test]
fn announced_client_is_kept_for_every_request_of_its_connection() {
    let serving = proxied("127.0.0.1");
    let headers: [&[u8]; 2] = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\0\x50\x04\0\0",
    ];
    let requests = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    for header in headers {
        let answer = serving.ask([header, requests.as_bytes()].concat());
        let told = "192.0.2.7:4711 from Some(127.0.0.1) by Some(Proxied { protocol: \"TCP4\", \
                    source: Some(192.0.2.7:4711), \
                    destination: Some(198.51.100.1:80) })";
        assert_eq!(answer.matches(told).count(), 2, "{answer}");
    }
}

#[test]
fn header_may_arrive_in_pieces_and_before_its_request() {
    let serving = proxied("127.0.0.1");
    let mut stream = serving.connect();
    for piece in ["P", "ROXY TCP4 192.0.2.7 198.51", ".100.1 4711 80\r", "\n"] {
        stream.send(piece);
        // Another client's answer shows that the reactor has had turns meanwhile.
        serving.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    stream.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = stream.read_all();
    assert!(answer.contains("\r\n\r\n192.0.2.7:4711 from"), "{answer}");
}

// Gunicorn: E36, E37
#[test]
fn balancer_that_names_no_client_speaks_for_itself() {
    let serving = proxied("*");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".as_slice();
    for (header, protocol) in [(local, "LOCAL"), (b"PROXY UNKNOWN\r\n", "UNSPEC")] {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = serving.ask([header, request].concat());
        assert!(answer.contains("\r\n\r\n127.0.0.1:"), "{answer}");
        assert!(answer.contains(protocol), "{answer}");
    }
}

// Gunicorn: E34
#[test]
fn connection_without_a_header_is_fine_whoever_makes_it() {
    for trusted in ["*", ""] {
        let answer = proxied(trusted).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.contains("by None"), "{answer}");
    }
}

// Gunicorn: E35, E37, P35
#[test]
fn strangers_header_is_403_and_a_malformed_one_400() {
    let line = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let stranger = proxied("10.0.0.0/8");
    let answer = stranger.ask(line);
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert_eq!(stranger.finish()[0].0, 403);
    let trusted = proxied("127.0.0.1");
    let version_1 = b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0".as_slice();
    for wrong in [
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n".as_slice(),
        version_1,
    ] {
        let answer = trusted.ask(wrong);
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
    }
}

// Gunicorn: S46
#[test]
fn header_is_no_request_where_none_is_looked_for() {
    let answer = serve(Config::default(), ends).ask("PROXY UNKNOWN\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

// Gunicorn: E32
#[test]
fn trailers_tell_nothing_of_the_client() {
    let serving = serve(
        Config::default(),
        |request: Request<'_>, reply: Responder<'_>| {
            let scheme = request.scheme();
            reply.text(
                200,
                format!("{scheme:?} {:?}", request.header("x-forwarded-proto")),
            )
        },
    );
    // This peer's word counts: loopback is trusted.
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let field = "X-Forwarded-Proto: https\r\n";
    let in_head = serving.ask(format!("{head}{field}\r\n0\r\n\r\n"));
    assert!(in_head.contains("\r\n\r\nHttps Some("), "{in_head}");
    let in_trailer = serving.ask(format!("{head}\r\n0\r\n{field}\r\n"));
    assert!(in_trailer.ends_with("\r\n\r\nHttp None"), "{in_trailer}");
}

/// Answers with who speaks, for a forwarder on loopback that is trusted.
fn forwarded(client_address: ClientAddress) -> Serving {
    let config = config(|config| {
        config.settings.client_address = client_address;
        config.settings.proxy_protocol = ProxyProtocol::Auto;
        config.settings.forwarded_allow_ips = "127.0.0.1,10.0.0.0/8".parse().unwrap();
    });
    serve(config, |request: Request<'_>, reply: Responder<'_>| {
        reply.text(200, request.client().to_string())
    })
}

/// A request with these lines, which may hold any byte.
fn request(lines: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat()
}

#[test]
fn client_chooses_no_address_by_its_own_header_fields() {
    let serving = forwarded(ClientAddress::XForwardedFor);
    for own in [
        &b"\""[..],
        b"\\\"",
        b"\xff",
        b"\xc3\xa9, \"10.0.0.1",
        b"10.0.0.5",
        b";,=",
    ] {
        let joined = [b"X-Forwarded-For: ", own, b", 203.0.113.9\r\n"].concat();
        let apart = [
            b"X-Forwarded-For: ",
            own,
            b"\r\nX-Forwarded-For: 203.0.113.9\r\n",
        ]
        .concat();
        for lines in [joined, apart] {
            let answer = serving.ask(request(&lines));
            assert!(answer.ends_with("\r\n\r\n203.0.113.9:0"), "{answer}");
        }
    }
}

#[test]
fn forwarded_field_that_is_not_whole_is_400() {
    let serving = forwarded(ClientAddress::Forwarded);
    for own in [
        "for=10.0.0.5;by=\"",
        "x",
        "for=\"a\\",
        "for=1.1.1.1 for=10.0.0.5",
    ] {
        let lines = format!("Forwarded: {own}, for=203.0.113.9\r\n");
        let answer = serving.ask(request(lines.as_bytes()));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{own}: {answer}");
        assert!(answer.contains("Malformed Forwarded header"), "{answer}");
    }
    for own in [
        "for=10.0.0.5;by=\"\"",
        "for=nobody",
        "for=\"x, for=10.0.0.5\"",
    ] {
        let lines = format!("Forwarded: {own}, for=203.0.113.9\r\n");
        let answer = serving.ask(request(lines.as_bytes()));
        assert!(answer.ends_with("\r\n\r\n203.0.113.9:0"), "{own}: {answer}");
    }
}

// Gunicorn: E27
#[test]
fn client_that_is_not_named_is_hidden_for_that_request_alone() {
    for (mode, line) in [
        (ClientAddress::XForwardedFor, "X-Forwarded-For: unknown"),
        (ClientAddress::Forwarded, "Forwarded: for=_secret"),
    ] {
        let lines = format!("{line}\r\n");
        let both = [request(lines.as_bytes()), request(b"")].concat();
        let answer = forwarded(mode).ask(both);
        let (first, second) = answer.split_once("\r\n\r\nhidden").unwrap();
        assert!(first.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(second.contains("\r\n\r\n127.0.0.1:"), "{answer}");
    }
}

// Gunicorn: E36
#[test]
fn fields_behind_a_proxy_header_are_the_clients() {
    let serving = forwarded(ClientAddress::XForwardedFor);
    let v2 = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", rest].concat();
    for (header, peer) in [
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n".to_vec(),
            "192.0.2.7:4711",
        ),
        (
            b"PROXY TCP4 10.0.0.9 198.51.100.1 4711 80\r\n".to_vec(),
            "6.6.6.6:0",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:"),
        (
            b"PROXY UNKNOWN 10.0.0.9 10.0.0.1 1 2\r\n".to_vec(),
            "127.0.0.1:",
        ),
        (v2(b"\x21\0\0\0"), "127.0.0.1:"),
        // What LOCAL says of addresses is thrown away.
        (v2(b"\x20\0\0\0"), "6.6.6.6:0"),
        (
            v2(b"\x20\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\0\x50"),
            "6.6.6.6:0",
        ),
    ] {
        let request = request(b"X-Forwarded-For: 6.6.6.6\r\n");
        let answer = serving.ask([&header[..], &request].concat());
        let told = format!("\r\n\r\n{peer}");
        assert!(answer.contains(&told), "{header:?}: {answer}");
    }
}

// Gunicorn: E37
#[test]
fn bytes_after_the_addresses_of_a_binary_header_are_ignored() {
    let serving = proxied("127.0.0.1");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for tlvs in [
        &b""[..],
        // A name, a checksum that is wrong, a client certificate that was not verified.
        b"\x02\0\x01a",
        b"\x03\0\x04\0\0\0\0",
        b"\x20\0\x05\x07\xff\xff\xff\xff",
        // A length past the header's end, none at all, and lines of another header.
        b"\x02\xff\xffa",
        b"\x04",
        b"PROXY TCP4 10.0.0.9 10.0.0.1 1 2\r\n",
    ] {
        let length = u16::try_from(12 + tlvs.len()).unwrap().to_be_bytes();
        let header = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11",
            &length[..],
            b"\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\0\x50",
            tlvs,
        ]
        .concat();
        let answer = serving.ask([&header[..], request].concat());
        assert!(
            answer.contains("\r\n\r\n192.0.2.7:4711 "),
            "{tlvs:?}: {answer}"
        );
    }
}
