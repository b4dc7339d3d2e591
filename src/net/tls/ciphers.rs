//! The cipher suites, by the names and words of OpenSSL's lists (openssl-ciphers(1)).

use std::fmt::Write;

use rustls::{CipherSuite, SupportedCipherSuite};

/// A suite's names, and the words of OpenSSL's that choose it.
struct Suite {
    id: CipherSuite,
    openssl: &'static str,
    words: &'static [&'static str],
}

macro_rules! suite {
    ($suite:ident $openssl:literal $($word:literal)*) => {
        Suite {
            id: CipherSuite::$suite,
            openssl: $openssl,
            words: &[$($word),*],
        }
    };
}

const SUITES: &[Suite] = &[
    suite!(TLS13_AES_256_GCM_SHA384 "TLS_AES_256_GCM_SHA384"),
    suite!(TLS13_AES_128_GCM_SHA256 "TLS_AES_128_GCM_SHA256"),
    suite!(TLS13_CHACHA20_POLY1305_SHA256 "TLS_CHACHA20_POLY1305_SHA256"),
    suite!(TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 "ECDHE-ECDSA-AES256-GCM-SHA384"
        "aECDSA" "ECDSA" "AES" "AES256" "AESGCM" "SHA384"),
    suite!(TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 "ECDHE-ECDSA-AES128-GCM-SHA256"
        "aECDSA" "ECDSA" "AES" "AES128" "AESGCM" "SHA256"),
    suite!(TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 "ECDHE-ECDSA-CHACHA20-POLY1305"
        "aECDSA" "ECDSA" "CHACHA20"),
    suite!(TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 "ECDHE-RSA-AES256-GCM-SHA384"
        "aRSA" "AES" "AES256" "AESGCM" "SHA384"),
    suite!(TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 "ECDHE-RSA-AES128-GCM-SHA256"
        "aRSA" "AES" "AES128" "AESGCM" "SHA256"),
    suite!(TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 "ECDHE-RSA-CHACHA20-POLY1305"
        "aRSA" "CHACHA20"),
];

/// Words that choose every suite of TLS 1.2 that there is here.
const EVERY: &[&str] = &[
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFDEFAULT",
    "HIGH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "TLSv1.2",
];
/// Words for suites that are not there: to leave them out is no wish left.
const NONE: &[&str] = &[
    "aNULL",
    "eNULL",
    "NULL",
    "ADH",
    "AECDH",
    "MD5",
    "RC4",
    "RC2",
    "DES",
    "3DES",
    "IDEA",
    "SEED",
    "CAMELLIA",
    "ARIA",
    "DSS",
    "aDSS",
    "PSK",
    "kPSK",
    "aPSK",
    "SRP",
    "kSRP",
    "kRSA",
    "RSA",
    "DH",
    "DHE",
    "EDH",
    "kDHE",
    "kEDH",
    "aDH",
    "kDH",
    "ECDH",
    "kECDH",
    "aECDH",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "LOW",
    "MEDIUM",
    "SSLv2",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "TLSv1.1",
    "SHA",
    "SHA1",
    "AESCCM",
    "AESCCM8",
    "GOST",
    "kGOST",
    "aGOST",
    "COMPLEMENTOFALL",
];

/// Why a list of suites is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CipherError {
    #[error("none of these cipher suites is served: {asked}. Those that are: {served}")]
    Nothing { asked: String, served: String },
    #[error("the cipher list has `{0}`, which cannot be followed: write the names of suites")]
    Unknown(String),
}

/// OpenSSL's name of a suite; empty for one that is not served.
pub(crate) fn openssl_name(suite: CipherSuite) -> &'static str {
    let known = SUITES.iter().find(|it| it.id == suite);
    known.map_or("", |it| it.openssl)
}

impl Suite {
    fn is_tls13(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a word, or several with `+` between them, chooses it.
    fn is_chosen_by(&self, words: &str) -> bool {
        let is_name = |word: &str| self.openssl == word || self.iana() == word;
        is_name(words)
            || !self.is_tls13()
                && words
                    .split('+')
                    .all(|word| EVERY.contains(&word) || self.words.contains(&word))
    }

    fn iana(&self) -> String {
        let name = self.id.as_str().unwrap_or("");
        name.replace("TLS13_", "TLS_")
    }
}

/// Of the suites that `served` has, those that an OpenSSL list asks for, in its order. An empty list asks for all.
///
/// As with OpenSSL, the list is about TLS 1.2: the suites of TLS 1.3 stay, unless some are named. Suites that are
/// named, not served and not needed are a warning.
pub(super) fn select(
    list: &str,
    served: &[SupportedCipherSuite],
    warn: &mut dyn FnMut(String),
) -> Result<Vec<SupportedCipherSuite>, CipherError> {
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut removed: Vec<&Suite> = Vec::new();
    let mut unserved = Vec::new();
    let is_separator = |c: char| c == ':' || c == ',' || c.is_whitespace();
    let words = list.split(is_separator).filter(|word| !word.is_empty());
    for word in words {
        if word.starts_with('@') {
            // An order or a level of strength: every suite here is strong.
            continue;
        }
        let (sign, words) = match word.split_at(1) {
            (sign @ ("!" | "-" | "+"), words) => (sign, words),
            _ => ("", word),
        };
        let meant: Vec<_> = SUITES.iter().filter(|it| it.is_chosen_by(words)).collect();
        let is_unserved = meant.is_empty() && is_known(words);
        match sign {
            "!" if !meant.is_empty() => removed.extend(meant),
            "-" if !meant.is_empty() => {
                chosen.retain(|it| !meant.iter().any(|m| m.id == it.id));
            }
            "+" if !meant.is_empty() => {
                let (moved, stay): (Vec<_>, _) = chosen
                    .into_iter()
                    .partition(|it| meant.iter().any(|m| m.id == it.id));
                chosen = [stay, moved].concat();
            }
            "" if !meant.is_empty() => {
                let new: Vec<_> = meant
                    .into_iter()
                    .filter(|it| !chosen.iter().any(|c| c.id == it.id))
                    .collect();
                chosen.extend(new);
            }
            "" if is_unserved => unserved.push(word),
            _ if is_unserved => {}
            _ => return Err(CipherError::Unknown(word.to_owned())),
        }
    }
    chosen.retain(|it| !removed.iter().any(|r| r.id == it.id));
    if list.trim().is_empty() {
        return Ok(served.to_vec());
    }
    if chosen.is_empty() {
        let names = SUITES.iter().map(|it| it.openssl);
        return Err(CipherError::Nothing {
            asked: list.to_owned(),
            served: names.collect::<Vec<_>>().join(":"),
        });
    }
    if !unserved.is_empty() {
        let mut text = "cipher suites that are not served are left out: ".to_owned();
        let _ = write!(text, "{}", unserved.join(":"));
        warn(text);
    }
    let names_tls13 = chosen.iter().any(|it| it.is_tls13());
    let tls13 = SUITES.iter().filter(|it| it.is_tls13() && !names_tls13);
    let all = tls13.chain(chosen);
    Ok(all
        .filter_map(|it| served.iter().find(|one| one.suite() == it.id))
        .copied()
        .collect())
}

/// Whether this is a suite's name, or a word for suites, though none that is served.
fn is_known(words: &str) -> bool {
    let is_word = |word: &str| {
        let has = |suite: &Suite| suite.words.contains(&word);
        NONE.contains(&word) || EVERY.contains(&word) || SUITES.iter().any(has)
    };
    let is_name = words.contains('-') || words.starts_with("TLS_");
    is_name || words.split('+').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::super::provider;
    use super::*;

    fn names(list: &str) -> Result<(Vec<&'static str>, Vec<String>), CipherError> {
        let served = provider::default_provider().cipher_suites;
        let mut warnings = Vec::new();
        let chosen = select(list, &served, &mut |text| warnings.push(text))?;
        let names = chosen.iter().map(|it| openssl_name(it.suite()));
        Ok((names.collect(), warnings))
    }

    const TLS13: usize = 3;

    #[test]
    fn every_suite_that_is_served_has_openssls_name() {
        let (names, _) = names("").unwrap();
        assert_eq!(names.len(), SUITES.len());
        assert!(names.iter().all(|name| !name.is_empty()));
    }

    // Gunicorn: S92
    #[test]
    fn names_and_words_of_openssl_choose_suites_in_their_order() {
        for (list, chosen) in [
            (
                "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
                &["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"][..],
            ),
            (
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                &["ECDHE-RSA-AES128-GCM-SHA256"],
            ),
            (
                "ECDHE+CHACHA20:!aNULL:!MD5:!RC4:@STRENGTH",
                &[
                    "ECDHE-ECDSA-CHACHA20-POLY1305",
                    "ECDHE-RSA-CHACHA20-POLY1305",
                ],
            ),
            (
                "HIGH:!CHACHA20:!aECDSA:-AES128",
                &["ECDHE-RSA-AES256-GCM-SHA384"],
            ),
            (
                "aRSA+AESGCM:+AES256",
                &["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"],
            ),
        ] {
            let (names, warnings) = names(list).unwrap();
            assert_eq!(names[TLS13..], *chosen, "{list}");
            assert!(warnings.is_empty(), "{warnings:?}");
        }
        let (named, _) = names("TLS_AES_128_GCM_SHA256:ECDHE-RSA-CHACHA20-POLY1305").unwrap();
        assert_eq!(
            named,
            ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"]
        );
    }

    #[test]
    fn suites_that_are_not_served_are_named() {
        let (chosen, warnings) =
            names("DHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384").unwrap();
        assert_eq!(chosen.len(), TLS13 + 1);
        assert!(warnings[0].ends_with("left out: DHE-RSA-AES256-GCM-SHA384"));
        let error = names("AES256-SHA:RC4-MD5").unwrap_err().to_string();
        assert!(error.starts_with("none of these cipher suites is served: AES256-SHA:RC4-MD5."));
        let error = names("HIGH:nonsense").unwrap_err();
        assert_eq!(error, CipherError::Unknown("nonsense".into()));
    }
}
