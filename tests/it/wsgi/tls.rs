//! TLS as clients and applications see it, over both kinds of workers.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oxicorn::time::MonoTime;
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

use crate::support::{Address, PATIENCE, Serve, Server, eventually, root, send};

fn file(name: &str) -> PathBuf {
    root().join("tests/data/tls").join(name)
}

fn serve(folder: &Path, args: &[&str]) -> Serve {
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    let (named, keyed) = (OsStr::new("--certfile"), OsStr::new("--keyfile"));
    let files = [named, certificate.as_os_str(), keyed, key.as_os_str()];
    Serve::app("probe:app").args(files).args(args)
}

/// A client with a certificate, whose sessions are kept.
fn client() -> Arc<ClientConfig> {
    client_of(&[&TLS13, &TLS12])
}

fn client_of(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(file("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let certificate = CertificateDer::from_pem_file(file("client.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("client.key")).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key);
    Arc::new(config.unwrap())
}

/// The body of an answer, the kind of handshake, and the certificate that was shown.
fn get(
    server: &Server,
    client: &Arc<ClientConfig>,
    path: &str,
) -> (String, HandshakeKind, Vec<u8>) {
    let Address::Tcp(address) = server.address() else {
        panic!("a TCP address");
    };
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
    (
        body.to_owned(),
        stream.conn.handshake_kind().unwrap(),
        shown,
    )
}

// Gunicorn: E2, G62
#[test]
fn an_application_is_told_of_tls_by_both_kinds_of_workers() {
    for args in [&[][..], &["--threads", "4"]] {
        let asking = ["--cert-reqs", "2", "--ca-certs"];
        let server = serve(&file(""), args)
            .args(asking)
            .args([file("ca.pem")])
            .start();
        let line = server.stderr().wait_for("Listening at: ");
        assert!(line.contains("Listening at: https://127.0.0.1:"), "{line}");
        let client = client();
        let (body, kind, _) = get(&server, &client, "/environ");
        assert_eq!(kind, HandshakeKind::Full);
        for fact in [
            r#""wsgi.url_scheme": "'https'""#,
            r#""HTTPS": "'on'""#,
            r#""SSL_PROTOCOL": "'TLSv1.3'""#,
            r#""SSL_CIPHER": "'TLS_AES_256_GCM_SHA384'""#,
            r#""SSL_TLS_SNI": "'localhost'""#,
            r#""SSL_CLIENT_VERIFY": "'SUCCESS'""#,
            r#""SSL_CLIENT_S_DN_CN": "'alice'""#,
            r#""SSL_CLIENT_I_DN": "'CN=Oxicorn test authority'""#,
            "-----BEGIN CERTIFICATE-----",
        ] {
            assert!(body.contains(fact), "no {fact} in {body}");
        }
        // The certificate of a session that goes on is that of its first handshake.
        let (body, kind, _) = get(&server, &client, "/environ");
        assert_eq!(kind, HandshakeKind::Resumed);
        assert!(
            body.contains(r#""SSL_CLIENT_S_DN_CN": "'alice'""#),
            "{body}"
        );
        server.stop();
    }
}

#[test]
fn workers_resume_each_others_sessions_also_after_a_reload() {
    let server = serve(&file(""), &[]).workers(3).start();
    server.workers(3);
    let client = client();
    get(&server, &client, "/pid");
    let mut pids = std::collections::BTreeSet::new();
    while pids.len() < 2 {
        let (pid, kind, _) = get(&server, &client, "/pid");
        assert_eq!(kind, HandshakeKind::Resumed);
        pids.insert(pid);
    }
    server.signal(Signal::SIGHUP);
    server.stderr().wait_for("exited with code 0");
    let (_, kind, _) = get(&server, &client, "/pid");
    assert_eq!(kind, HandshakeKind::Resumed);
    server.stop();
}

#[test]
fn workers_resume_the_sessions_of_an_arbiter_before_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let server = serve(&file(""), &["--pid"])
        .args([at("pid")])
        .workers(2)
        .start();
    let pid_in = |name: &str| {
        let text = fs::read_to_string(at(name)).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    };
    let clients = [&TLS13, &TLS12].map(|version| client_of(&[version]));
    for client in &clients {
        get(&server, client, "/pid");
    }
    let mut pid = server.pid();
    // What the second one has got it hands on to the third.
    for _ in 0..2 {
        send(pid, Signal::SIGUSR2);
        let next = eventually("a new arbiter", || pid_in("pid.2"));
        let line = format!("The new arbiter (pid:{next}) serves");
        eventually(&line, || server.stderr().contain(&line).then_some(()));
        send(pid, Signal::SIGTERM);
        eventually("it is the only one", || {
            (pid_in("pid") == Some(next)).then_some(())
        });
        pid = next;
        for client in &clients {
            let (_, kind, _) = get(&server, client, "/pid");
            assert_eq!(kind, HandshakeKind::Resumed);
        }
    }
    send(pid, Signal::SIGTERM);
    let exited = server.wait_for_orphans();
    assert_eq!(exited.status, 0, "{exited:#?}");
}

#[test]
fn new_certificates_are_shown_without_a_failed_request() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        for kind in ["key", "pem"] {
            let new = folder.path().join("new");
            fs::copy(file(&format!("{name}.{kind}")), &new).unwrap();
            fs::rename(new, folder.path().join(format!("server.{kind}"))).unwrap();
        }
    };
    put("server");
    let server = serve(folder.path(), &[]).workers(2).start();
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let load = || {
            let mut shown = Vec::new();
            while !done.load(Ordering::Relaxed) {
                // A session that goes on would show no certificate.
                shown = get(&server, &client(), "/pid").2;
            }
            shown
        };
        let loads = [threads.spawn(load), threads.spawn(load)];
        let der = |name: &str| CertificateDer::from_pem_file(file(name)).unwrap().to_vec();
        let await_shown = |name: &str| {
            let (wanted, start) = (der(name), MonoTime::now());
            // Each worker looks for itself: several of them in a row have to show it.
            let mut in_a_row = 0;
            while in_a_row < 10 {
                assert!(
                    MonoTime::now().since(start) < PATIENCE,
                    "{name} is not shown"
                );
                in_a_row = if get(&server, &client(), "/pid").2 == wanted {
                    in_a_row + 1
                } else {
                    0
                };
            }
        };
        await_shown("server.pem");
        put("renewed");
        await_shown("renewed.pem");
        put("server");
        server.signal(Signal::SIGHUP);
        await_shown("server.pem");
        done.store(true, Ordering::Relaxed);
        for load in loads {
            assert!(!load.join().unwrap().is_empty());
        }
    });
    server.stop();
}

#[test]
fn a_start_with_a_key_of_another_certificate_says_so() {
    let files = [
        PathBuf::from("--certfile"),
        file("server.pem"),
        PathBuf::from("--keyfile"),
        file("rsa.key"),
    ];
    let exited = Serve::app("probe:app").args(files).run();
    assert_eq!(exited.status, 1, "{exited:#?}");
    let last = exited.last();
    assert!(
        last.contains("rsa.key: this is not the key of the certificate in"),
        "{last}"
    );
}

#[test]
fn stalled_handshakes_hold_nobody() {
    for args in [&[][..], &["--threads", "2"]] {
        let server = serve(&file(""), args).start();
        let Address::Tcp(address) = server.address() else {
            panic!("a TCP address");
        };
        let stalled: Vec<_> = (0..500)
            .map(|n| {
                let mut socket = TcpStream::connect(address).unwrap();
                // Some have sent nothing, some the beginning of a hello.
                socket
                    .write_all(&b"\x16\x03\x01\x02\x00\x01"[..n % 7])
                    .unwrap();
                socket
            })
            .collect();
        for _ in 0..5 {
            get(&server, &client(), "/pid");
        }
        drop(stalled);
        server.stop();
    }
}
