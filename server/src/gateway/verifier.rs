//! Judging client certificates in the handshake without telling a stranger anything.
//!
//! A connection without a certificate comes through, since enrolment has none; the gateway then
//! judges by protocol. A certificate must be signed by our authority and stand in the allow-list.
//! One that has ended comes through for a while if its key does: it is good for its own renewal, and
//! the gateway lets it do nothing else.
//! Whatever is wrong, the peer is told the same: an error of its own for each would tell it our
//! clock, and whether a key is unknown or revoked.

use std::sync::Arc;
use std::time::Duration;

use mantle_shared::fault;
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
    /// For so long after its end a certificate may be renewed.
    grace: Duration,
}

impl AgentVerifier {
    /// A verifier for agents that this authority signed and this list holds.
    pub(super) fn new(
        authority: CertificateDer<'static>,
        trust: Arc<Trust>,
        grace: Duration,
    ) -> Result<Self, GatewayError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(GatewayError::Tls)?;
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
            .build()
            .map_err(|source| GatewayError::Verifier(source.to_string()))?;
        Ok(Self {
            chain,
            trust,
            grace,
        })
    }
}

/// The one thing that a refused peer is told.
fn refused() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// The moment at which a certificate is judged: now, or its own last one if that is not too long ago.
fn as_of(now: UnixTime, not_after_s: i64, grace: Duration) -> UnixTime {
    let ended = u64::try_from(not_after_s).unwrap_or(0);
    let late = now.as_secs().saturating_sub(ended);
    if late > 0 && late <= grace.as_secs() && !fault::sabotaged("no-grace") {
        UnixTime::since_unix_epoch(Duration::from_secs(ended))
    } else {
        now
    }
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
        let holder = agent_of(end_entity).ok_or_else(refused)?;
        let verified = self
            .chain
            .verify_client_cert(end_entity, &[], as_of(now, holder.not_after_s, self.grace))
            .map_err(|_| refused())?;
        self.trust
            .find(holder.agent, holder.key)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ended_is_judged_as_of_its_end_for_a_while() {
        let at = |s| UnixTime::since_unix_epoch(Duration::from_secs(s));
        let grace = Duration::from_secs(10);
        for (now, judged) in [(99, 99), (100, 100), (101, 100), (110, 100), (111, 111)] {
            assert_eq!(as_of(at(now), 100, grace), at(judged), "{now}");
        }
        assert_eq!(as_of(at(101), 100, Duration::ZERO), at(101));
    }
}
