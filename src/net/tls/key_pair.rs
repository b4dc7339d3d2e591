//! [`KeyPair`]: a certificate with its chain and its key, read from files and checked against each other.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Certificate, TlsError, provider, read};

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct KeyPair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The names of servers that the certificate is for, in lower case.
    pub(super) names: Vec<String>,
}

impl KeyPair {
    /// Reads both files, which may be the same.
    pub(super) fn load(
        certificate: &Path,
        key: &Path,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, TlsError> {
        let chain = chain(certificate)?;
        let facts = chain.first().and_then(|der| Certificate::parse(der));
        let facts = facts.ok_or_else(|| TlsError::file(certificate, "not a usable certificate"))?;
        let signer = provider::sign::any_supported_type(&private_key(key)?);
        let signer = signer.map_err(|_| {
            TlsError::file(
                key,
                "a key of this kind cannot be used: RSA, ECDSA and Ed25519 keys can",
            )
        })?;
        let certified = CertifiedKey::new(chain, signer);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                let problem = format!(
                    "this is not the key of the certificate in {}",
                    certificate.display()
                );
                return Err(TlsError::file(key, problem));
            }
            Err(error) => return Err(TlsError::file(certificate, error.to_string())),
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let path = certificate.display();
        if now > facts.not_after {
            warn(format!(
                "{path}: the certificate has expired on {}: clients will refuse it",
                facts.end
            ));
        } else if now < facts.not_before {
            warn(format!(
                "{path}: the certificate is not valid before {}: clients will refuse it",
                facts.start
            ));
        }
        Ok(Self {
            certified: Arc::new(certified),
            names: facts.names,
        })
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| TlsError::file(path, format!("not a PEM file: {error}")))?;
    if chain.is_empty() {
        return Err(TlsError::file(path, "there is no certificate in it (PEM)"));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    let has = |part: &str| memchr::memmem::find(&text, part.as_bytes()).is_some();
    if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        let problem = format!(
            "the key is encrypted, and a server cannot ask for its passphrase: `openssl pkey -in {} -out FILE` writes \
             it without one",
            path.display()
        );
        return Err(TlsError::file(path, problem));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound => "there is no private key in it (PEM)".to_owned(),
            error => format!("not a PEM file: {error}"),
        };
        TlsError::file(path, problem)
    })
}
