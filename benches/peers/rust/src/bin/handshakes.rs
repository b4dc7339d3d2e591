//! Shakes hands over and over, one connection after another: `handshakes ADDRESS COUNT full|resumed`.
//!
//! Each connection is over TLS 1.3, with X25519 and `TLS_AES_256_GCM_SHA384`, and ends when the server has sent its tickets.
//! Nothing is asked. What the server shows is not verified: the cost of that is the client's.

use std::error::Error;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, Stream};

/// Believes every server.
#[derive(Debug)]
struct Credulous(CryptoProvider);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn config(resumes: bool) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
    provider.kx_groups = vec![ring::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// One connection; tells whether its session was resumed.
fn shake(address: &str, config: &Arc<ClientConfig>) -> Result<bool, Box<dyn Error>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut session = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    // The tickets, in which there is nothing to read.
    socket.set_nonblocking(false)?;
    session.read_tls(&mut socket)?;
    session.process_new_packets()?;
    let kind = session.handshake_kind();
    session.send_close_notify();
    session.complete_io(&mut socket).ok();
    // Until the server has done its part.
    let _ = Stream::new(&mut session, &mut socket).read(&mut [0; 1]);
    Ok(kind == Some(HandshakeKind::Resumed))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, count, kind] = &arguments[..] else {
        return Err("usage: handshakes ADDRESS COUNT full|resumed".into());
    };
    let (count, resumes) = (count.parse::<u64>()?, kind == "resumed");
    let config = config(resumes)?;
    for number in 0..count {
        if shake(address, &config)? != (resumes && number > 0) {
            return Err(format!("handshake {number} was of the other kind").into());
        }
    }
    println!("{{\"requests\": {count}}}");
    Ok(())
}
