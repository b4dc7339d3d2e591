//! TLS, with clients of rustls over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oxicorn::config::{CertReqs, TlsVersion};
use oxicorn::reactor::Config;
use oxicorn::{Request, Responded, Responder, Result};
#[cfg(feature = "tls-aws-lc")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "tls-aws-lc"))]
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::desk::Desk;
use crate::support::{Client, PATIENCE};
use crate::{Serving, serve};

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    folder.join(name)
}

fn config() -> Config {
    let mut config = Config::default();
    config.settings.certfile = vec![file("server.pem")];
    config.settings.keyfile = vec![file("server.key")];
    config
}

/// A client that believes the tests' authority, and shows this certificate.
fn client(shows: Option<&str>) -> ClientConfig {
    client_of(shows, &[&TLS13, &TLS12])
}

fn client_of(shows: Option<&str>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(file("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let Some(name) = shows else {
        return config.with_no_client_auth();
    };
    let certificate = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    config
        .with_client_auth_cert(vec![certificate], key)
        .unwrap()
}

fn socket(serving: &Serving) -> TcpStream {
    let socket = TcpStream::connect(serving.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn connect(serving: &Serving, config: &Arc<ClientConfig>, name: &'static str) -> Encrypted {
    let name = ServerName::try_from(name).unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(session, socket(serving))
}

/// Sends a request that closes, and reads to the end that TLS tells.
fn get(stream: &mut Encrypted, path: &str) -> String {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Answers with the request's body, behind what TLS tells of its client.
fn echo(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    let tls = request.connection().tls.clone().unwrap();
    let client = tls.client.as_ref().map_or("-", |client| &client.subject);
    let mut facts = format!(
        "{:?} {} {} {} ",
        request.scheme(),
        tls.version,
        tls.server_name.as_deref().unwrap_or("-"),
        client
    )
    .into_bytes();
    request.into_body().read_to_end(&mut facts)?;
    reply.send(200, &[], &facts)
}

#[test]
fn requests_are_answered_one_after_another_and_at_once() {
    let serving = serve(config(), echo);
    let mut stream = connect(&serving, &Arc::new(client(None)), "localhost");
    let body = "x".repeat(300_000);
    for _ in 0..3 {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let expected = format!("Https TLSv1.3 localhost - {body}");
        let mut text = Vec::new();
        while !text.ends_with(expected.as_bytes()) {
            let mut block = [0; 10_000];
            let n = stream.read(&mut block).unwrap();
            assert!(n > 0);
            text.extend_from_slice(&block[..n]);
        }
    }
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let text = get(&mut stream, "/");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert_eq!(serving.finish().len(), 5);
}

#[test]
fn a_large_answer_and_a_file_arrive_whole() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let sent = content.clone();
    let serving = serve(config(), move |request, reply| {
        if request.path() == "/file" {
            let file = file.try_clone()?;
            let no_fields = std::iter::empty::<(&[u8], &[u8])>();
            let body = reply.start(200, b"", no_fields, Some(3_000_000))?;
            return body.send_file(file, 0, 3_000_000);
        }
        reply.send(200, &[], &sent)
    });
    for path in ["/", "/file"] {
        let mut stream = connect(&serving, &Arc::new(client(None)), "localhost");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all.ends_with(&content), "{path}: {} bytes", all.len());
    }
    serving.finish();
}

// Gunicorn: S90
#[test]
fn a_client_may_end_its_output_and_read_its_answer() {
    for (with_notice, ragged) in [(true, true), (false, true), (false, false)] {
        let mut config = config();
        config.settings.suppress_ragged_eofs = ragged;
        let serving = serve(config, echo);
        let mut stream = connect(&serving, &Arc::new(client(None)), "localhost");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        if with_notice {
            stream.conn.send_close_notify();
        }
        stream.flush().unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        // Without its client's end of TLS the connection has none of the server's either, where the setting says so.
        let end = stream.read_to_string(&mut text);
        assert_eq!(end.is_ok(), ragged, "{end:?}");
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        serving.finish();
    }
}

#[test]
fn a_response_that_is_cut_has_no_end_of_tls() {
    let serving = serve(config(), |_, reply| {
        let mut body = reply.stream(200, &[])?;
        body.write_all(b"some")?;
        Err(oxicorn::Error::new("on purpose"))
    });
    let mut stream = connect(&serving, &Arc::new(client(None)), "localhost");
    // Its body ends with the connection.
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = Vec::new();
    let error = stream.read_to_end(&mut text).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(text.ends_with(b"some"));
    serving.finish();
}

#[test]
fn plain_http_is_refused_in_plain_words() {
    let serving = serve(config(), echo);
    let text = serving.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 400 Bad Request"), "{text}");
    assert!(
        text.contains("The client speaks plain HTTP to a port for HTTPS"),
        "{text}"
    );
    assert_eq!(serving.finish()[0].0, 400);
}

#[test]
fn what_is_no_tls_ends_its_connection_alone() {
    let serving = serve(config(), echo);
    for bytes in [
        &b"\x16\x03\x01\x00\x05nonsense"[..],
        b"\x00\x01\x02",
        b"\x16",
    ] {
        let mut socket = socket(&serving);
        socket.write_all(bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        // An alert at the most.
        let mut all = Vec::new();
        let _ = socket.read_to_end(&mut all);
        assert!(all.len() < 10, "{all:?}");
    }
    let text = get(
        &mut connect(&serving, &Arc::new(client(None)), "localhost"),
        "/",
    );
    assert!(text.starts_with("HTTP/1.1 200 OK"));
    serving.finish();
}

// Gunicorn: S91, W15
#[test]
fn a_handshake_that_stalls_or_drips_ends_at_its_deadline() {
    let mut config = config();
    config.settings.head_timeout = Duration::from_secs(10);
    let mut desk = Desk::open(config, |_, _, reply| reply.send(200, &[], b""));
    // The head of a record of 512 bytes, and one of them.
    let mut dripping = desk.sending(b"\x16\x03\x01\x02\x00\x01");
    let mut stalled = desk.connect();
    desk.turn();
    assert_eq!(desk.reactor.open(), 2);
    for _ in 0..3 {
        dripping.send(b"\x00");
        crate::support::await_arrival(&dripping);
        desk.pass(3);
    }
    assert_eq!(desk.reactor.open(), 2);
    desk.pass(1);
    assert_eq!(desk.reactor.open(), 0);
    for client in [&mut dripping, &mut stalled] {
        // At the most the word that it ends.
        assert!(read_all(client).len() < 10);
    }
}

fn read_all(client: &mut Client) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = client.socket().read_to_end(&mut all);
    all
}

// Gunicorn: S88, S89
#[test]
fn clients_are_asked_for_certificates_as_the_settings_say() {
    let (anyone, alice) = (
        Some("TLSv1.3 localhost - "),
        Some("TLSv1.3 localhost CN=alice,O=Shop\\, Inc.,C=DE "),
    );
    for (authorities, required, shows, answer) in [
        ("ca.pem", false, None, anyone),
        ("ca.pem", true, None, None),
        ("ca.pem", true, Some("client"), alice),
        ("ca.pem", false, Some("stranger"), None),
        (
            "ca.pem",
            true,
            Some("revoked"),
            Some("TLSv1.3 localhost CN=eve "),
        ),
        ("ca-and-revoked.pem", true, Some("revoked"), None),
        ("ca-and-revoked.pem", true, Some("client"), alice),
    ] {
        let mut config = config();
        config.settings.ca_certs = Some(file(authorities));
        config.settings.cert_reqs = if required {
            CertReqs::Required
        } else {
            CertReqs::Optional
        };
        let serving = serve(config, echo);
        let mut stream = connect(&serving, &Arc::new(client(shows)), "localhost");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let mut text = String::new();
        let got = stream
            .write_all(request)
            .and_then(|()| stream.read_to_string(&mut text));
        match answer {
            Some(answer) => assert!(text.contains(answer), "{text} {got:?}"),
            None => assert!(got.is_err() && text.is_empty(), "{text}"),
        }
        serving.finish();
    }
}

#[test]
fn a_session_is_not_resumed_past_a_demand_for_certificates() {
    for version in [&TLS13, &TLS12] {
        let client = Arc::new(client_of(None, &[version]));
        for (required, is_answered) in [(false, true), (true, false)] {
            let mut config = config();
            if required {
                config.settings.ca_certs = Some(file("ca.pem"));
                config.settings.cert_reqs = CertReqs::Required;
            }
            let serving = serve(config, echo);
            let mut stream = connect(&serving, &client, "localhost");
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let mut text = String::new();
            let got = stream
                .write_all(request)
                .and_then(|()| stream.read_to_string(&mut text));
            assert_eq!(got.is_ok(), is_answered, "{version:?}: {text}");
            serving.finish();
        }
    }
}

#[test]
fn the_certificate_is_that_of_the_name() {
    let mut config = config();
    config.settings.certfile.push(file("rsa.pem"));
    config.settings.keyfile.push(file("rsa.key"));
    let serving = serve(config, echo);
    let config = Arc::new(client(None));
    for (name, is_served) in [
        ("localhost", true),
        ("Shop.Wild.Example", true),
        ("a.b.wild.example", false),
    ] {
        let mut stream = connect(&serving, &config, name);
        let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(sent.is_ok(), is_served, "{name}");
        if is_served {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.contains(&name.to_ascii_lowercase()), "{text}");
        }
    }
    serving.finish();
}

#[test]
fn a_session_is_resumed_by_another_worker_in_each_version() {
    let servings = [serve(config(), echo), serve(config(), echo)];
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_of(None, &[version]));
        for (serving, kind) in servings
            .iter()
            .zip([HandshakeKind::Full, HandshakeKind::Resumed])
        {
            let mut stream = connect(serving, &config, "localhost");
            get(&mut stream, "/");
            assert_eq!(stream.conn.handshake_kind(), Some(kind), "{version:?}");
        }
    }
}

#[test]
fn the_protocol_and_the_lowest_version_are_agreed_on() {
    let mut config = config();
    config.settings.tls_min_version = TlsVersion::Tls13;
    let serving = serve(config, echo);
    for (protocols, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])),
        (&[], None),
    ] {
        let mut client = client(None);
        client.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let mut stream = connect(&serving, &Arc::new(client), "localhost");
        assert!(get(&mut stream, "/").contains("TLSv1.3"));
        assert_eq!(stream.conn.alpn_protocol(), agreed);
    }
    let mut only_h2 = client(None);
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = connect(&serving, &Arc::new(only_h2), "localhost");
    assert!(stream.write_all(b"GET / HTTP/1.1\r\n\r\n").is_err());
    serving.finish();
}

#[test]
fn a_proxy_header_comes_before_tls() {
    let mut config = config();
    config.settings.proxy_protocol = oxicorn::net::ProxyProtocol::Auto;
    let serving = serve(config, |request, reply| {
        reply.send(200, &[], request.client().to_string().as_bytes())
    });
    for (header, client_text) in [
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
            "192.0.2.7:4711",
        ),
        ("", "127.0.0.1:"),
    ] {
        let mut stream = connect(&serving, &Arc::new(client(None)), "localhost");
        stream.sock.write_all(header.as_bytes()).unwrap();
        let text = get(&mut stream, "/");
        assert!(text.contains(client_text), "{text}");
    }
    serving.finish();
}
