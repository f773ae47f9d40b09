//! Whom the client believes to be the server.
//!
//! A server that made its own certificate authority is known by that authority and by nothing
//! else: the certificate must chain to it and carry [`SERVER_NAME`], whatever the address in the
//! URL, and no other root counts. Only a server with an operator's own certificate is judged by
//! the roots of this machine and by the name in the URL.

use std::sync::{Arc, Mutex, PoisonError};

use mantle_shared::tls::{Fingerprint, SERVER_NAME, crypto_provider};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::ClientError;

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The roots of this machine, and the name in the URL.
    System,
    /// This certificate authority (DER) alone.
    Authority(Vec<u8>),
}

/// A TLS configuration that believes one certificate authority.
pub(super) fn pinned(authority: &[u8]) -> Result<ClientConfig, ClientError> {
    let setup = |why: String| ClientError::Setup { why };
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.to_vec()))
        .map_err(|error| setup(format!("the pinned certificate cannot be read: {error}")))?;
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
        .build()
        .map_err(|error| setup(error.to_string()))?;
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| setup(error.to_string()))?;
    with_verifier(Arc::new(NamedVerifier { inner, name }))
}

/// A TLS configuration that believes the roots of this machine.
pub(super) fn system() -> Result<ClientConfig, ClientError> {
    let verifier = rustls_platform_verifier::Verifier::new(crypto_provider()).map_err(|error| {
        ClientError::Setup {
            why: format!("the roots of this machine cannot be read: {error}"),
        }
    })?;
    with_verifier(Arc::new(verifier))
}

/// A TLS configuration that believes anyone and remembers the certificates that were shown. Only
/// for asking a server who it claims to be; nothing secret may be sent over it.
pub(super) fn curious(seen: &Seen) -> Result<ClientConfig, ClientError> {
    with_verifier(Arc::new(CuriousVerifier(seen.clone())))
}

fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, ClientError> {
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Setup {
            why: error.to_string(),
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Verifies against the pinned authority under the one name that its certificates carry.
#[derive(Debug)]
struct NamedVerifier {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _url_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The last certificate of the chain that a server showed: its authority.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Vec<u8>>>>);

impl Seen {
    /// The authority (DER) and its fingerprint.
    pub(super) fn authority(&self) -> Option<(Vec<u8>, Fingerprint)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref()
            .map(|der| (der.clone(), Fingerprint::of_der(der)))
    }
}

#[derive(Debug)]
struct CuriousVerifier(Seen);

impl ServerCertVerifier for CuriousVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let last = intermediates.last().unwrap_or(end_entity).to_vec();
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto_provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto_provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
