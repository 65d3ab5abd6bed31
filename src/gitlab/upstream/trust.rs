//! Whose certificates are trusted: Mozilla's authorities, and those that the operator names.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::domain::route::Authority;
use crate::gitlab::upstream::failure::is_of_an_authority;

/// Returns the TLS of a client that trusts Mozilla's roots and `authorities`.
///
/// ALPN offers HTTP/1.1 alone: awc's HTTP/2 ignores connection limits and sends a stray `GET /` when a connection
/// ages out.
pub(super) fn client_config(authorities: &[Authority]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    // The provider is ours and knows both versions, so the fallback is never taken; it only spares a panic.
    let builder = builder.with_protocol_versions(&versions).unwrap_or_else(|_| ClientConfig::builder());
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let own: Vec<_> = authorities.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    roots.add_parsable_certificates(own.iter().cloned());
    let named = (!own.is_empty()).then(|| Named::new(own, roots.clone(), provider)).flatten();
    let mut tls = match named {
        Some(named) => builder.dangerous().with_custom_certificate_verifier(Arc::new(named)).with_no_client_auth(),
        None => builder.with_root_certificates(roots).with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls
}

/// Judges as rustls does, and also takes a server's own certificate that the operator named.
///
/// A certificate that signs itself, as most home-made ones do, says of itself that it is an authority's. rustls refuses any
/// such certificate of a server, even where it is the very one that the operator trusts, which every other tool takes.
#[derive(Debug)]
struct Named {
    usual: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Named {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Option<Self> {
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        Some(Self { usual, certificates })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // Its dates were looked at before what it says of itself, its name was not.
        let is_named = matches!(&judged, Err(Error::InvalidCertificate(wrong)) if is_of_an_authority(wrong))
            && self.certificates.iter().any(|named| named == end_entity);
        if !is_named {
            return judged;
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
