//! [`CertificateChoice`]: which certificate a client is shown (RFC 6066 §3, SNI).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::key_pair::KeyPair;

/// The certificates of a server, the default one first.
#[derive(Debug)]
pub(super) struct CertificateChoice {
    pairs: Vec<KeyPair>,
}

impl CertificateChoice {
    /// To be made of one at least.
    pub(super) fn new(pairs: Vec<KeyPair>) -> Self {
        Self { pairs }
    }

    /// Of the certificates that fit best the first whose key the client `can_use`: a name that is spelled out is better
    /// than a wildcard, and that better than none. Where it can use none, the handshake fails over the first one.
    fn choose(
        &self,
        name: Option<&str>,
        can_use: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<&Arc<CertifiedKey>> {
        let usable = self.pairs.iter().filter(|pair| can_use(&pair.certified));
        let fit = |pair: &&KeyPair| {
            let names = pair.names.iter();
            let fits = names.filter_map(|pattern| fits(pattern, name?));
            fits.max().unwrap_or(0)
        };
        // Of several maxima the last one is taken.
        let chosen = usable.rev().max_by_key(fit).or(self.pairs.first());
        chosen.map(|pair| &pair.certified)
    }
}

/// How well a certificate's name fits a server's, which is in lower case: not at all, by a wildcard for its first label
/// (RFC 9525 §6.3), or in full.
fn fits(pattern: &str, name: &str) -> Option<u8> {
    if pattern == name {
        return Some(2);
    }
    let (label, rest) = name.split_once('.')?;
    let wild = pattern.strip_prefix("*.")?;
    (!label.is_empty() && wild == rest).then_some(1)
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let schemes = hello.signature_schemes();
        let can_use = |pair: &CertifiedKey| pair.key.choose_scheme(schemes).is_some();
        self.choose(name.as_deref(), can_use).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label_and_yields_to_the_name() {
        for (pattern, name, fit) in [
            ("a.example", "a.example", Some(2)),
            ("*.example", "a.example", Some(1)),
            ("*.example", "example", None),
            ("*.example", "a.b.example", None),
            ("*.example", ".example", None),
            ("a.example", "b.example", None),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }
}
