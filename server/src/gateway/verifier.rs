//! Judging client certificates in the handshake without telling a stranger anything.
//!
//! A connection without a certificate comes through, since enrolment has none; the gateway then
//! judges by protocol. A certificate must be signed by our authority and stand in the allow-list.
//! Whatever is wrong, the peer is told the same: an error of its own for each would tell it our
//! clock, and whether a key is unknown or revoked.

use std::sync::Arc;

use mantle_shared::tls::crypto_provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};

use super::identity::agent_of;
use super::transport::GatewayError;
use super::trust::Trust;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct AgentVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    trust: Arc<Trust>,
}

impl AgentVerifier {
    /// A verifier for agents that this authority signed and this list holds.
    pub(super) fn new(
        authority: CertificateDer<'static>,
        trust: Arc<Trust>,
    ) -> Result<Self, GatewayError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(GatewayError::Tls)?;
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
            .build()
            .map_err(|source| GatewayError::Verifier(source.to_string()))?;
        Ok(Self { chain, trust })
    }
}

/// The one thing that a refused peer is told.
fn refused() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

impl ClientCertVerifier for AgentVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // The authority signs agents itself. The path length in its own certificate is not looked
        // at when it is the anchor, so authorities below it are kept out here.
        let verified = self
            .chain
            .verify_client_cert(end_entity, &[], now)
            .map_err(|_| refused())?;
        let (agent, key) = agent_of(end_entity).ok_or_else(refused)?;
        self.trust
            .find(agent, key)
            .map(|_| verified)
            .ok_or_else(refused)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // QUIC has no TLS 1.2.
        Err(refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls13_signature(message, cert, dss)
            .map_err(|_| refused())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
