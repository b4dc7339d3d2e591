//! [`Tls`]: certificates, keys and rules, from which each connection's TLS session is made.
//!
//! Nothing here reads a socket: a session takes bytes and gives bytes. The files are read where the server starts or
//! reloads, before workers are forked, so a key may be readable for root alone.
//!
//! ```text
//!   certfile, keyfile ─▶ KeyPair ─▶ CertificateChoice (by server name) ─┐
//!   ca_certs, cert_reqs ───────────▶ verifier of client certificates ───┼─▶ Tls ─▶ session of a connection
//!   ciphers, tls_min_version ──────▶ provider ──────────────────────────┘
//!   Tickets: keys that all processes derive from one secret
//! ```
//!
//! Files that change are noticed by the process that serves, at a handshake, and read again there ([`renewal`]).
//!
//! *Invariants*: a [`Tls`] that exists can make sessions; no secret is in a text.

mod certificate;
mod choice;
mod ciphers;
mod key_pair;
mod renewal;
mod tickets;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
#[cfg(feature = "tls-aws-lc")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "tls-aws-lc"))]
use rustls::crypto::ring as provider;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

pub(crate) use certificate::Certificate;
pub(crate) use ciphers::openssl_name;

use choice::CertificateChoice;
use key_pair::KeyPair;
use renewal::Renewed;
use tickets::Tickets;

use crate::time::MonoTime;

/// The protocols that a client may ask for (RFC 7301, ALPN).
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// What TLS is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    /// Files with a certificate each, followed by those that certify it (PEM). The first is for clients that name no
    /// server, or one that no certificate has.
    pub(crate) certificates: Vec<PathBuf>,
    /// The files of their keys, in the same order; none where the keys are in the files of the certificates.
    pub(crate) keys: Vec<PathBuf>,
    /// The authorities whose certificates clients may have, and their lists of those that are revoked (PEM).
    pub(crate) authorities: Option<PathBuf>,
    /// Whether clients are asked for a certificate, and whether they must have one.
    pub(crate) ask_client: bool,
    pub(crate) need_client: bool,
    /// Whether TLS 1.2 is refused.
    pub(crate) only_tls13: bool,
    /// The cipher suites, as OpenSSL writes a list of them; empty for all.
    pub(crate) ciphers: String,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("keyfile is set and certfile is not")]
    NoCertificate,
    #[error("certfile has {certificates} files and keyfile {keys}: each certificate needs its key")]
    Uneven { certificates: usize, keys: usize },
    #[error(
        "cert_reqs asks clients for certificates, and ca_certs does not say whose are accepted"
    )]
    NoAuthorities,
    #[error("{0}")]
    Ciphers(#[from] ciphers::CipherError),
    #[error("{0}")]
    Provider(#[from] rustls::Error),
}

impl TlsError {
    fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.to_path_buf(),
            problem: problem.into(),
        }
    }

    /// The settings that are at fault, the likeliest first.
    pub(crate) fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::NoCertificate | Self::Uneven { .. } => &["keyfile", "certfile"],
            Self::NoAuthorities => &["cert_reqs"],
            Self::Ciphers(_) => &["ciphers"],
            Self::File { .. } | Self::Provider(_) => &["certfile", "keyfile", "ca_certs"],
        }
    }
}

/// What sessions are made from. A clone is the same.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Renewed>);

impl Tls {
    /// Reads and checks all files. What is doubtful and no error, as a certificate that has expired is, is handed to
    /// `warn` as a sentence.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or used, and settings that contradict each other.
    pub(crate) fn load(
        options: &TlsOptions,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Renewed::new(options, warn)?)))
    }

    /// A new connection's session, with the certificates that are in the files now.
    ///
    /// # Errors
    ///
    /// Where the system gives no random bytes.
    pub(crate) fn session(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.0.at(MonoTime::now()))
    }
}

impl TlsOptions {
    /// Reads and checks all files.
    fn load(&self, warn: &mut dyn FnMut(String)) -> Result<Arc<ServerConfig>, TlsError> {
        let options = self;
        let pairs = key_pairs(options, warn)?;
        let base = provider::default_provider();
        let cipher_suites = ciphers::select(&options.ciphers, &base.cipher_suites, warn)?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites,
            ..base
        });
        let versions: &[_] = if options.only_tls13 {
            &[&TLS13]
        } else {
            &[&TLS13, &TLS12]
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let mut asked = Vec::new();
        let builder = if options.ask_client {
            let path = options.authorities.as_deref();
            let path = path.ok_or(TlsError::NoAuthorities)?;
            asked = read(path)?;
            let roots = Arc::new(authorities(path, &asked)?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .with_crls(revocations(path, &asked)?)
                // There may be a list of one authority and none of another.
                .allow_unknown_revocation_status();
            if !options.need_client {
                verifier = verifier.allow_unauthenticated();
            }
            asked.push(u8::from(options.need_client));
            let verifier = verifier.build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| TlsError::file(path, error.to_string()))?,
            )
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(CertificateChoice::new(pairs)));
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        config.ticketer = Arc::new(Tickets::of_the_program(&asked)?);
        // Any worker may get a client that comes back, so its session is in its ticket, and in no worker's memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn key_pairs(options: &TlsOptions, warn: &mut dyn FnMut(String)) -> Result<Vec<KeyPair>, TlsError> {
    let (certificates, keys) = (&options.certificates, &options.keys);
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    if !keys.is_empty() && keys.len() != certificates.len() {
        return Err(TlsError::Uneven {
            certificates: certificates.len(),
            keys: keys.len(),
        });
    }
    let keys = if keys.is_empty() { certificates } else { keys };
    certificates
        .iter()
        .zip(keys)
        .map(|(certificate, key)| KeyPair::load(certificate, key, warn))
        .collect()
}

/// The certificates in the text of a file of authorities.
fn authorities(path: &Path, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
        added
            .map_err(|error| TlsError::file(path, format!("not a usable certificate: {error}")))?;
    }
    if roots.is_empty() {
        return Err(TlsError::file(path, "there is no certificate in it"));
    }
    Ok(roots)
}

/// The lists of revoked certificates in the text of a file of authorities.
fn revocations(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists = CertificateRevocationListDer::pem_slice_iter(text);
    lists
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::file(path, error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        TlsError::file(path, problem)
    })
}

#[cfg(test)]
mod tests;
