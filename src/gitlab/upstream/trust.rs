//! Whose certificates are trusted: Mozilla's authorities, and those that the operator names.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, WantsVerifier,
};

use crate::domain::route::Authority;
use crate::gitlab::upstream::failure::is_of_an_authority;

/// Returns the TLS of a client that trusts Mozilla's roots and `authorities`.
///
/// ALPN offers HTTP/1.1 alone: awc's HTTP/2 ignores connection limits and sends a stray `GET /` when a connection
/// ages out.
pub(super) fn client_config(authorities: &[Authority]) -> ClientConfig {
    let judge = judge(authorities).filter(|_| !authorities.is_empty());
    judge.map_or_else(|| finished(builder().with_root_certificates(mozillas())), judged_by)
}

fn judged_by(judge: Arc<dyn ServerCertVerifier>) -> ClientConfig {
    finished(builder().dangerous().with_custom_certificate_verifier(judge))
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    // The provider is ours and knows both versions, so the fallback is never taken; it only spares a panic.
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&versions);
    builder.unwrap_or_else(|_| ClientConfig::builder())
}

fn finished(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig {
    let mut tls = builder.with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn mozillas() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Returns who judges certificates by Mozilla's roots and `authorities`.
fn judge(authorities: &[Authority]) -> Option<Arc<dyn ServerCertVerifier>> {
    let mut roots = mozillas();
    let own: Vec<_> = authorities.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    roots.add_parsable_certificates(own.iter().cloned());
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
    if own.is_empty() {
        return Some(usual);
    }
    Some(Arc::new(Named { usual, certificates: own }))
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

/// Judges as a client of the same authorities does, and keeps the certificate that it saw, however it judged.
#[derive(Debug)]
pub(super) struct Watched {
    judge: Arc<dyn ServerCertVerifier>,
    seen: OnceLock<CertificateDer<'static>>,
}

impl Watched {
    /// Returns one that has seen nothing yet; `None` never, since the roots are not empty.
    pub(super) fn new(authorities: &[Authority]) -> Option<Arc<Self>> {
        Some(Arc::new(Self { judge: judge(authorities)?, seen: OnceLock::new() }))
    }

    /// Returns the TLS of a client that is judged for by this.
    pub(super) fn config(self: &Arc<Self>) -> Arc<ClientConfig> {
        let judge: Arc<dyn ServerCertVerifier> = Arc::clone(self) as _;
        Arc::new(judged_by(judge))
    }

    /// Returns the certificate that a server showed.
    pub(super) fn seen(&self) -> Option<&CertificateDer<'static>> {
        self.seen.get()
    }
}

impl ServerCertVerifier for Watched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // A second handshake would not change what the first one saw.
        self.seen.get_or_init(|| end_entity.clone().into_owned());
        self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
