//! Whom the agent trusts, and what it shows of itself.
//!
//! TLS 1.3 only, one provider, no resumption and no early data: a resumed session could outlive a
//! revocation and early data can be replayed. The server must prove the pinned authority and the
//! one fixed name, whatever address it was reached at. What the verifier saw is kept beside the
//! handshake, because the error that comes out of it names neither certificate.

use std::sync::{Arc, Mutex, PoisonError};

use mantle_shared::tls::{ALPN_ENROL, ALPN_WORK, Fingerprint, SERVER_NAME, crypto_provider};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::identity::Identity;

/// What the verifier thought of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It proved the pinned authority and the name.
    Trusted,
    /// It belongs to another authority.
    WrongAuthority {
        /// The pinned one.
        expected: Fingerprint,
        /// What it showed: its authority if it sent that, else its own certificate.
        got: Fingerprint,
    },
    /// Its certificate is not valid at this machine's time.
    Time(String),
    /// Its certificate is wrong in another way.
    Invalid(String),
}

/// Where a dial finds out what its verifier thought.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerdictCell(Arc<Mutex<Option<Verdict>>>);

impl VerdictCell {
    pub(crate) fn get(&self) -> Option<Verdict> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, verdict: Verdict) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }
}

/// A TLS configuration could not be made; the agent's own certificate or key is at fault.
#[derive(Debug, thiserror::Error)]
#[error("the agent's certificate and key cannot be used for TLS")]
pub struct TlsError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The configuration for work: shows the agent's certificate.
pub(crate) fn work(
    identity: &Identity,
    verdict: VerdictCell,
) -> Result<QuicClientConfig, TlsError> {
    showing(identity, verdict, ALPN_WORK)
}

fn showing(
    identity: &Identity,
    verdict: VerdictCell,
    alpn: &[u8],
) -> Result<QuicClientConfig, TlsError> {
    let pin = Pin::Authority(identity.authority.clone());
    let mut config = builder(pin, verdict)?
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.private_key())
        .map_err(|error| TlsError(error.into()))?;
    finish(&mut config, alpn);
    QuicClientConfig::try_from(config).map_err(|error| TlsError(error.into()))
}

/// The configuration for renewing a certificate that may have ended: shows it, and enrols.
pub(crate) fn renew(
    identity: &Identity,
    verdict: VerdictCell,
) -> Result<QuicClientConfig, TlsError> {
    showing(identity, verdict, ALPN_ENROL)
}

/// The configuration for enrolment: the agent has nothing to show yet.
pub(crate) fn enrol(pin: Fingerprint, verdict: VerdictCell) -> Result<QuicClientConfig, TlsError> {
    let mut config = builder(Pin::Fingerprint(pin), verdict)?.with_no_client_auth();
    finish(&mut config, ALPN_ENROL);
    QuicClientConfig::try_from(config).map_err(|error| TlsError(error.into()))
}

fn builder(
    pin: Pin,
    verdict: VerdictCell,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>, TlsError>
{
    let provider = crypto_provider();
    let verifier = Arc::new(PinnedVerifier {
        pin,
        provider: Arc::clone(&provider),
        verdict,
    });
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn finish(config: &mut rustls::ClientConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
}

/// What is known of the authority beforehand.
#[derive(Debug)]
enum Pin {
    /// All of it, since the agent joined.
    Authority(CertificateDer<'static>),
    /// Its fingerprint, from the join token; the server sends the certificate along.
    Fingerprint(Fingerprint),
}

#[derive(Debug)]
struct PinnedVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
    verdict: VerdictCell,
}

impl PinnedVerifier {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Verdict {
        let got = Fingerprint::of_der(intermediates.last().unwrap_or(end_entity));
        let (expected, authority) = match &self.pin {
            Pin::Authority(authority) => (Fingerprint::of_der(authority), Some(authority.clone())),
            Pin::Fingerprint(pin) => (
                *pin,
                intermediates
                    .iter()
                    .find(|cert| Fingerprint::of_der(cert) == *pin)
                    .map(|cert| cert.clone().into_owned()),
            ),
        };
        let wrong = Verdict::WrongAuthority { expected, got };
        let mut roots = RootCertStore::empty();
        if authority.is_none_or(|authority| roots.add(authority).is_err()) {
            return wrong;
        }
        let checked = ParsedCertificate::try_from(end_entity).and_then(|cert| {
            verify_server_cert_signed_by_trust_anchor(
                &cert,
                &roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
            verify_server_name(&cert, server_name)
        });
        match checked {
            Ok(()) if *server_name == fixed_name() => Verdict::Trusted,
            Ok(()) => Verdict::Invalid("it was asked for another name".to_owned()),
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => wrong,
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                time,
                not_before,
            })) => Verdict::Time(format!(
                "the clock says {}, the certificate begins at {}, so the clocks are {} min apart at least",
                moment(time),
                moment(not_before),
                not_before
                    .as_secs()
                    .saturating_sub(time.as_secs())
                    .div_ceil(60)
            )),
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                time,
                not_after,
            })) => Verdict::Time(format!(
                "the clock says {}, the certificate ended at {}, {} min before",
                moment(time),
                moment(not_after),
                time.as_secs()
                    .saturating_sub(not_after.as_secs())
                    .div_ceil(60)
            )),
            Err(Error::InvalidCertificate(
                error @ (CertificateError::Expired | CertificateError::NotValidYet),
            )) => Verdict::Time(error.to_string()),
            Err(error) => Verdict::Invalid(error.to_string()),
        }
    }
}

/// A time for people.
fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// The one name that servers go by.
fn fixed_name() -> ServerName<'static> {
    // A constant that parses; the address is a value that no certificate of ours names.
    ServerName::try_from(SERVER_NAME).unwrap_or(ServerName::IpAddress(
        std::net::Ipv4Addr::UNSPECIFIED.into(),
    ))
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.judge(end_entity, intermediates, server_name, now);
        let trusted = verdict == Verdict::Trusted;
        self.verdict.set(verdict);
        if trusted {
            Ok(ServerCertVerified::assertion())
        } else {
            // One error for every cause: the peer learns nothing of what the agent knows.
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // QUIC has no TLS 1.2.
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
