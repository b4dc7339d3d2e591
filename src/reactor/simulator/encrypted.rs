//! [`Encrypted`]: a client's side of TLS, by rustls, whose bytes come in pieces that are cut anywhere.

use std::collections::VecDeque;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock};

#[cfg(feature = "tls-aws-lc")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "tls-aws-lc"))]
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::network::Network;
use crate::net::tls::{Tls, TlsOptions};

/// What servers are made from.
pub(super) static SERVER: LazyLock<Tls> = LazyLock::new(|| {
    let options = TlsOptions {
        certificates: vec![file("both.pem")],
        ..TlsOptions::default()
    };
    Tls::load(&options, &mut |_| ()).unwrap()
});

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("ca.pem")).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
});

fn file(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    folder.join(name)
}

/// A client's session.
#[derive(Debug)]
pub(super) struct Encrypted {
    session: ClientConnection,
    /// How many of the next bytes are sent as they are: a balancer's, before TLS.
    plain: usize,
    /// What is on its way to the server.
    outgoing: VecDeque<u8>,
    ends: bool,
    /// Whether the server answers before TLS, to a balancer that does not get on.
    refused: Option<bool>,
    /// Whether the end is behind what is on its way.
    ended: bool,
}

impl Encrypted {
    pub(super) fn new(plain: usize) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            session: ClientConnection::new(Arc::clone(&CLIENT), name).unwrap(),
            plain,
            outgoing: VecDeque::new(),
            ends: false,
            refused: None,
            ended: false,
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let (plain, rest) = bytes.split_at(self.plain.min(bytes.len()));
        self.outgoing.extend(plain);
        self.plain -= plain.len();
        self.session.writer().write_all(rest).unwrap();
        self.flush();
    }

    pub(super) fn end(&mut self) {
        self.ends = true;
        self.flush();
    }

    /// Takes what has come from the server, and puts what it means to `into`.
    pub(super) fn receive(&mut self, mut bytes: &[u8], into: &mut Vec<u8>) {
        if let Some(first) = bytes.first() {
            if *self.refused.get_or_insert(*first == b'H') {
                return into.extend_from_slice(bytes);
            }
        }
        while !bytes.is_empty() && self.session.read_tls(&mut bytes).unwrap() > 0 {
            self.session.process_new_packets().unwrap();
            let mut reader = self.session.reader();
            while let Ok(chunk) = reader.fill_buf() {
                if chunk.is_empty() {
                    break;
                }
                let n = chunk.len();
                into.extend_from_slice(chunk);
                reader.consume(n);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if self.plain > 0 {
            return;
        }
        if self.ends && !self.ended && !self.session.is_handshaking() {
            self.session.send_close_notify();
            self.ended = true;
        }
        while self.session.wants_write() {
            self.session.write_tls(&mut self.outgoing).unwrap();
        }
    }
}

impl Network {
    /// A client that has sent nothing speaks TLS, after `plain` bytes.
    pub(super) fn encrypt(&self, id: usize, plain: usize) {
        let end = &mut self.state().sockets[id];
        end.sealed = false;
        end.tls = Some(Box::new(Encrypted::new(plain)));
    }

    /// A piece arrives of what a client with TLS has sent; tells whether more is to come.
    pub(super) fn arrive(&self, id: usize) -> bool {
        let state = &mut *self.state();
        let end = &mut state.sockets[id];
        let Some(tls) = &mut end.tls else {
            return false;
        };
        let all = tls.outgoing.len();
        if all > 0 {
            let is_cut = state.dice.percent(50);
            let n = if is_cut {
                1 + state.dice.index(all)
            } else {
                all
            };
            end.arrived.extend(tls.outgoing.drain(..n));
        }
        let more = !tls.outgoing.is_empty();
        let ends = !more && tls.ended && !end.client_ended;
        end.client_ended |= ends;
        if all > 0 || ends {
            state.happens(id);
        }
        more
    }
}
