//! Sockets, TLS and every limit of the transport. None is inherited.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use mantle_shared::tls::{ALPN_ENROL, ALPN_WORK, crypto_provider};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::trust::Trust;
use super::verifier::AgentVerifier;

/// Between two packets that tell agents that their connection is unknown here. quinn's 20 ms let fifty a
/// second know that the server was started anew; the rest of a large fleet would wait for its idle
/// timeout, and then come all at once. Such a packet costs microseconds and is smaller than the one that
/// it answers, so that nothing is amplified and two ends that answer each other fall silent.
const RESET_INTERVAL: Duration = Duration::from_micros(100);
/// Streams that an agent may open towards us. Each allowed one costs memory when it connects.
const BIDI_STREAMS: u32 = 8;
const UNI_STREAMS: u32 = 16;
/// What one agent may have on its way to us: log batches, and of a collected file as much as one
/// stream may, so that it never takes the room of the logs.
const RECEIVE_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const STREAM_RECEIVE_WINDOW_BYTES: u32 = 1024 * 1024;
/// What we keep for one agent until it confirms it; times the number of agents.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Connections that may be opening at once before the kernel's queue is all there is.
const MAX_INCOMING: usize = 1024;

/// Secrets that outlive a restart: with both, an agent notices a restarted server at its next
/// packet; with neither, only when its idle timeout has passed.
#[derive(Clone)]
pub struct GatewayKeys {
    /// For stateless resets.
    pub reset_key: [u8; 64],
    /// For connection ids.
    pub connection_id_key: u64,
}

/// A machine that was off for a season is the same machine; who holds its key is whom we enrolled, and
/// revocation is a look-up of its own.
pub const RENEWAL_GRACE: Duration = Duration::from_hours(90 * 24);

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From the first packet to a finished handshake.
    pub handshake: Duration,
    /// From there to a whole `Hello`, and to a whole enrolment request.
    pub hello: Duration,
    /// From there to the end of the resync.
    pub resync: Duration,
    /// Without a packet the connection is gone.
    pub idle: Duration,
    /// For agents to take note of our going away.
    pub drain: Duration,
    /// For a bulk request to arrive, and for each piece of an object to be taken once its turn has come.
    pub bulk: Duration,
    /// From the first byte of a message to its last.
    pub message: Duration,
    /// Without an agent taking a byte of what waits for it on the control stream.
    pub stall: Duration,
    /// For so long after its certificate's end an agent may still renew it.
    pub renewal_grace: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            hello: Duration::from_secs(5),
            resync: Duration::from_mins(1),
            // Agents keep the connection alive every 3 s and ask every second when nothing comes back, so
            // that many may be lost.
            idle: Duration::from_secs(45),
            drain: Duration::from_secs(2),
            bulk: Duration::from_mins(2),
            // The largest report over a line of a few kilobytes a second.
            message: Duration::from_mins(2),
            stall: Duration::from_secs(30),
            renewal_grace: RENEWAL_GRACE,
        }
    }
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The socket cannot be used.
    #[error("the UDP socket cannot be used")]
    Socket(#[source] std::io::Error),
    /// The certificates cannot be used.
    #[error("the server's certificate cannot be used")]
    Tls(#[source] rustls::Error),
    /// The verifier cannot be made.
    #[error("the certificate authority cannot be used: {0}")]
    Verifier(String),
    /// The cipher suites do not allow QUIC.
    #[error("the TLS provider has no cipher suite for QUIC")]
    Provider,
}

/// What the endpoint is made of beside its socket.
pub(super) struct Tls {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authority: CertificateDer<'static>,
    pub(super) keys: GatewayKeys,
    pub(super) timing: Timing,
}

/// The endpoint on its socket, ready to accept.
pub(super) fn endpoint(
    socket: UdpSocket,
    tls: Tls,
    trust: &Arc<Trust>,
) -> Result<Endpoint, GatewayError> {
    let mut endpoint = EndpointConfig::new(Arc::new(hmac::Key::new(
        hmac::HMAC_SHA256,
        &tls.keys.reset_key,
    )));
    endpoint.min_reset_interval(RESET_INTERVAL);
    let connection_id_key = tls.keys.connection_id_key;
    endpoint
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_id_key)));
    let server = server_config(tls, trust)?;
    Endpoint::new(
        endpoint,
        Some(server),
        socket,
        Arc::new(quinn::TokioRuntime),
    )
    .map_err(GatewayError::Socket)
}

fn server_config(config: Tls, trust: &Arc<Trust>) -> Result<ServerConfig, GatewayError> {
    let verifier = AgentVerifier::new(
        config.authority,
        Arc::clone(trust),
        config.timing.renewal_grace,
    )?;
    let mut tls = rustls::ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(GatewayError::Tls)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(config.chain, config.key)
        .map_err(GatewayError::Tls)?;
    tls.alpn_protocols = vec![ALPN_WORK.to_vec(), ALPN_ENROL.to_vec()];
    // No early data, which can be replayed; no tickets, which could outlive a revocation.
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| GatewayError::Provider)?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport(&config.timing)))
        .retry_token_lifetime(Duration::from_secs(10))
        .migration(true)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(16 * 1024 * 1024);
    Ok(server)
}

fn transport(timing: &Timing) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .stream_receive_window(VarInt::from_u32(STREAM_RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(IdleTimeout::try_from(timing.idle).ok())
        // The agent keeps the connection alive; one end is enough.
        .keep_alive_interval(None)
        .datagram_receive_buffer_size(None);
    transport
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::{Instant, SystemTime};

    use quinn_proto::ConnectionIdGenerator as _;

    use super::*;
    use crate::security::Authority;

    /// An endpoint that was started anew, and the key of its connection ids.
    fn started_anew() -> (Endpoint, u64) {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let authority = Authority::open(folder.path(), now).unwrap();
        let names = ["localhost".to_owned()];
        let identity = authority
            .server_identity(folder.path(), &names, now)
            .unwrap();
        let keys = GatewayKeys {
            reset_key: [7; 64],
            connection_id_key: 9,
        };
        let tls = Tls {
            chain: identity.chain,
            key: identity.key,
            authority: authority.certificate().clone(),
            keys,
            timing: Timing::default(),
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let trust = Arc::new(Trust::new());
        (endpoint(socket, tls, &trust).unwrap(), 9)
    }

    /// A packet of a connection of the server's predecessor.
    fn stale_packet(ids: &mut HashedConnectionIdGenerator) -> Vec<u8> {
        let mut packet = vec![0x40];
        packet.extend_from_slice(&ids.generate_cid());
        packet.resize(60, 0x5a);
        packet
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn agents_are_told_by_the_hundred_that_the_server_was_started_anew() {
        const TOLD: u32 = 200;
        // With quinn's own 20 ms between two it would take four seconds.
        const WITHIN: Duration = Duration::from_secs(2);
        let (endpoint, key) = started_anew();
        let address = endpoint.local_addr().unwrap();
        let mut ids = HashedConnectionIdGenerator::from_key(key);
        let agent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let begun = Instant::now();
        let mut told = 0;
        let mut buffer = [0; 2048];
        while told < TOLD {
            agent
                .send_to(&stale_packet(&mut ids), address)
                .await
                .unwrap();
            let answer = agent.recv_from(&mut buffer);
            if tokio::time::timeout(Duration::from_millis(5), answer)
                .await
                .is_ok()
            {
                told += 1;
            }
            assert!(begun.elapsed() < WITHIN, "{told} within {WITHIN:?}");
        }
    }
}
