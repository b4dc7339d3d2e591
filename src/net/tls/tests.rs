use super::*;

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    folder.join(name)
}

fn options(certificate: &str, key: &str) -> TlsOptions {
    TlsOptions {
        certificates: vec![path(certificate)],
        keys: vec![path(key)],
        ..TlsOptions::default()
    }
}

fn load(options: &TlsOptions) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    let loaded = Tls::load(options, &mut |text| warnings.push(text));
    loaded.map(|_| warnings).map_err(|error| error.to_string())
}

// Gunicorn: S85, S86
#[test]
fn each_file_that_cannot_be_used_has_a_sentence_of_its_own() {
    for (certificate, key, words) in [
        (
            "server.pem",
            "encrypted.key",
            "the key is encrypted, and a server cannot ask",
        ),
        (
            "server.pem",
            "rsa.key",
            "this is not the key of the certificate in ",
        ),
        ("server.pem", "missing.key", "there is no such file"),
        ("missing.pem", "server.key", "there is no such file"),
        (
            "server.key",
            "server.key",
            "there is no certificate in it (PEM)",
        ),
        (
            "server.pem",
            "server.pem",
            "there is no private key in it (PEM)",
        ),
        (".", "server.key", "cannot be read: "),
    ] {
        let error = load(&options(certificate, key)).unwrap_err();
        let named = if words.contains("certificate in it") || certificate != "server.pem" {
            certificate
        } else {
            key
        };
        assert!(error.contains(&format!("{named}: {words}")), "{error}");
    }
}

#[test]
fn a_key_may_be_in_the_file_of_its_certificate() {
    let mut both = options("both.pem", "");
    both.keys.clear();
    assert_eq!(load(&both), Ok(Vec::new()));
}

#[test]
fn a_certificate_that_has_expired_is_a_warning() {
    let warnings = load(&options("expired.pem", "expired.key")).unwrap();
    let expected = "expired.pem: the certificate has expired on Jan  1 00:00:00 2021 GMT: clients will refuse it";
    assert!(warnings[0].ends_with(expected), "{warnings:?}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let mut uneven = options("server.pem", "server.key");
    uneven.certificates.push(path("rsa.pem"));
    let error = load(&uneven).unwrap_err();
    assert!(
        error.starts_with("certfile has 2 files and keyfile 1"),
        "{error}"
    );
    let mut alone = options("server.pem", "server.key");
    alone.certificates.clear();
    assert_eq!(
        load(&alone).unwrap_err(),
        "keyfile is set and certfile is not"
    );
    let mut asking = options("server.pem", "server.key");
    asking.ask_client = true;
    let error = load(&asking).unwrap_err();
    assert!(error.contains("ca_certs does not say"), "{error}");
    asking.authorities = Some(path("server.key"));
    let error = load(&asking).unwrap_err();
    assert!(
        error.ends_with("server.key: there is no certificate in it"),
        "{error}"
    );
    asking.authorities = Some(path("ca.pem"));
    assert!(load(&asking).is_ok());
}

#[test]
fn the_facts_of_a_certificate_are_read() {
    let text = std::fs::read(path("client.pem")).unwrap();
    let der = CertificateDer::from_pem_slice(&text).unwrap();
    let facts = Certificate::parse(&der).unwrap();
    assert_eq!(facts.subject, "CN=alice,O=Shop\\, Inc.,C=DE");
    assert_eq!(facts.common_name.as_deref(), Some("alice"));
    assert_eq!(facts.issuer, "CN=Oxicorn test authority");
    assert_eq!(facts.start, "Jan  1 00:00:00 2020 GMT");
    assert!(facts.serial.len() > 30 && facts.names.is_empty());
    for len in 0..der.len() {
        assert_eq!(Certificate::parse(&der[..len]), None, "{len}");
    }
    let text = std::fs::read(path("rsa.pem")).unwrap();
    let der = CertificateDer::from_pem_slice(&text).unwrap();
    assert_eq!(Certificate::parse(&der).unwrap().names, ["*.wild.example"]);
}
