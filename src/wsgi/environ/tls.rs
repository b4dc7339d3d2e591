//! The facts of a connection's TLS: `HTTPS`, and keys that are named as those of Apache's `mod_ssl` are.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::service::{ClientCertificate, TlsInfo};

/// Sets `HTTPS`, `SSL_PROTOCOL`, `SSL_CIPHER`, and where there are some `SSL_TLS_SNI` and the facts of the client's
/// certificate.
pub(super) fn set_tls(environ: &Bound<'_, PyDict>, tls: &TlsInfo) -> PyResult<()> {
    let py = environ.py();
    environ.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
    environ.set_item(
        intern!(py, "SSL_PROTOCOL"),
        PyString::intern(py, tls.version),
    )?;
    environ.set_item(intern!(py, "SSL_CIPHER"), PyString::intern(py, tls.cipher))?;
    if let Some(name) = &tls.server_name {
        environ.set_item(intern!(py, "SSL_TLS_SNI"), name)?;
    }
    match &tls.client {
        Some(client) => set_client(environ, client),
        None => Ok(()),
    }
}

#[cold]
fn set_client(environ: &Bound<'_, PyDict>, client: &ClientCertificate) -> PyResult<()> {
    let set = |key: &str, value: &str| environ.set_item(key, value);
    set("SSL_CLIENT_VERIFY", "SUCCESS")?;
    set("SSL_CLIENT_CERT", &pem(&client.der))?;
    set("SSL_CLIENT_S_DN", &client.subject)?;
    if let Some(name) = &client.common_name {
        set("SSL_CLIENT_S_DN_CN", name)?;
    }
    set("SSL_CLIENT_I_DN", &client.issuer)?;
    set("SSL_CLIENT_M_SERIAL", &client.serial)?;
    set("SSL_CLIENT_V_START", &client.not_before)?;
    set("SSL_CLIENT_V_END", &client.not_after)
}

/// A certificate as text (RFC 7468).
fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits = (0..3).fold(0_usize, |bits, at| {
                bits << 8 | usize::from(three.get(at).copied().unwrap_or(0))
            });
            for at in 0..4 {
                let digit = DIGITS[bits >> (18 - 6 * at) & 63];
                text.push(if at <= three.len() {
                    char::from(digit)
                } else {
                    '='
                });
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_written_as_text() {
        for (der, lines) in [
            (&b"a"[..], "YQ==\n"),
            (b"ab", "YWI=\n"),
            (b"abc", "YWJj\n"),
            (
                &[0xff; 49],
                "////////////////////////////////////////////////////////////////\n/w==\n",
            ),
        ] {
            let text = pem(der);
            assert_eq!(
                text,
                format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
            );
        }
    }
}
