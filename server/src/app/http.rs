//! Serving HTTPS: the certificate, the limits, and the end in good order.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mantle_shared::tls::crypto_provider;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::TlsFiles;
use super::error::StartError;
use crate::security::ServerIdentity;
use crate::supervise::TaskResult;

/// How long requests under way may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// Streams of one HTTP/2 connection; each costs memory before it is authenticated.
const STREAMS: u32 = 64;

/// What HTTPS is served with.
pub(super) struct Tls {
    config: ServerConfig,
    /// The server's own certificate, in DER.
    pub(super) leaf: CertificateDer<'static>,
}

/// TLS with the certificate that the server's own authority issued.
pub(super) fn own_tls(identity: &ServerIdentity) -> Result<Tls, StartError> {
    tls(identity.chain.clone(), identity.key.clone_key()).map_err(|error| StartError::Socket {
        why: format!("the server's certificate cannot be used: {error}"),
    })
}

/// TLS with an operator's own certificate.
pub(super) fn operator_tls(files: &TlsFiles) -> Result<Tls, StartError> {
    let bad = |path: &Path, why: String| StartError::Certificate {
        path: path.display().to_string(),
        why,
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| bad(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        let why = "it holds no certificate in PEM form".to_owned();
        return Err(bad(&files.certificate, why));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| bad(&files.key, error.to_string()))?;
    tls(chain, key).map_err(|error| bad(&files.certificate, error.to_string()))
}

/// TLS 1.2 is spoken as well: what machines have that are to join, such as Windows PowerShell 5.1 on
/// Windows Server 2019, knows nothing newer. Agents' own connection is QUIC, which has 1.3 alone.
fn tls(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Tls, rustls::Error> {
    let leaf = chain.first().cloned();
    let leaf = leaf.ok_or(rustls::Error::NoCertificatesPresented)?;
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls { config, leaf })
}

/// Serves until it is stopped, then lets requests under way end.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Tls,
    router: Router,
    stop: CancellationToken,
) -> TaskResult {
    let handle = Handle::new();
    let stopper = handle.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        stopper.graceful_shutdown(Some(DRAIN));
    });
    let tls = RustlsConfig::from_config(Arc::new(tls.config));
    // An event is a small packet behind another: without this it waits 40 ms for the client to confirm
    // the one before.
    let mut server = axum_server::from_tcp_rustls(listener, tls)?
        .map(|tls| tls.acceptor(NoDelayAcceptor::new()))
        .handle(handle);
    // Slow headers are cut off after hyper's own 30 s.
    server
        .http_builder()
        .http2()
        .max_concurrent_streams(STREAMS);
    server.serve(router.into_make_service()).await?;
    Ok(())
}

/// A certificate in PEM form.
pub(super) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
