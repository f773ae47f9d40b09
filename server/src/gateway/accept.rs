//! Accepting connections: the handshake budget, and the judgement by protocol and certificate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantle_shared::ids::AgentId;
use mantle_shared::protocol::close;
use mantle_shared::tls::{ALPN_ENROL, ALPN_WORK, Fingerprint};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use rustls::pki_types::CertificateDer;

use super::arrival::{Arrival, Refusal};
use super::counters::{Counters, Sampler};
use super::identity::agent_of;
use super::{Shared, enrol, session};

/// From this many open handshakes on, a peer must prove its address first.
const RETRY_FROM: usize = 256;
/// From this many on, a peer is not answered at all.
const IGNORE_FROM: usize = 1024;
/// Refused connections that are told a minute; the rest are counted.
const REFUSALS_A_MINUTE: u32 = 10;

/// What the accept loop keeps count of.
struct Door {
    opening: AtomicUsize,
    refusals: Mutex<Sampler>,
}

pub(super) async fn accept_loop(endpoint: &Endpoint, shared: &Arc<Shared>) {
    let door = Arc::new(Door {
        opening: AtomicUsize::new(0),
        refusals: Mutex::new(Sampler::new(REFUSALS_A_MINUTE, Duration::from_mins(1))),
    });
    while let Some(incoming) = endpoint.accept().await {
        let opening = door.opening.load(Ordering::Relaxed);
        let counters = &shared.parts.counters;
        if opening >= IGNORE_FROM {
            Counters::count(&counters.ignored);
            incoming.ignore();
            continue;
        }
        if opening >= RETRY_FROM && !incoming.remote_address_validated() && incoming.may_retry() {
            Counters::count(&counters.retries);
            let _ = incoming.retry();
            continue;
        }
        door.opening.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(open(incoming, Arc::clone(shared), Arc::clone(&door)));
    }
}

/// A connection from its first packet to its end.
async fn open(incoming: Incoming, shared: Arc<Shared>, door: Arc<Door>) {
    let remote = incoming.remote_address();
    let handshake = async { incoming.accept()?.await };
    let outcome = tokio::time::timeout(shared.timing.handshake, handshake).await;
    door.opening.fetch_sub(1, Ordering::Relaxed);
    let connection = match outcome {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            // The TLS alert says no more than that the certificate was refused; so do we.
            let reason = format!("the handshake failed: {error}");
            door.refuse(&shared, remote, None, reason);
            return;
        }
        Err(_) => {
            Counters::count(&shared.parts.counters.handshake_timeouts);
            return;
        }
    };
    match judge(&connection) {
        Peer::Stranger => enrol::serve(connection, &shared).await,
        Peer::Agent(agent, key) => {
            if shared.parts.trust.find(agent, key).is_some() {
                session::serve(connection, agent, &shared).await;
            } else {
                connection.close(VarInt::from_u32(close::NOT_AUTHORISED), b"");
                let reason = "the agent is not in the allow-list".to_owned();
                door.refuse(&shared, remote, Some(agent), reason);
            }
        }
        Peer::Nobody(reason) => {
            connection.close(VarInt::from_u32(close::NOT_AUTHORISED), b"");
            door.refuse(&shared, remote, None, reason.to_owned());
        }
    }
}

/// Who is at the other end, by protocol and certificate, before a byte is read.
enum Peer {
    Stranger,
    Agent(AgentId, Fingerprint),
    Nobody(&'static str),
}

fn judge(connection: &Connection) -> Peer {
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let certificate = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .and_then(|chain| chain.first().cloned());
    match (protocol.as_deref(), certificate) {
        (Some(ALPN_ENROL), None) => Peer::Stranger,
        (Some(ALPN_ENROL), Some(_)) => Peer::Nobody("an enrolment came with a certificate"),
        (Some(ALPN_WORK), Some(certificate)) => match agent_of(&certificate) {
            Some((agent, key)) => Peer::Agent(agent, key),
            None => Peer::Nobody("the certificate is not an agent's"),
        },
        (Some(ALPN_WORK), None) => Peer::Nobody("a work connection came without a certificate"),
        (_, _) => Peer::Nobody("the connection speaks no protocol of ours"),
    }
}

impl Door {
    /// Counts a refused connection and tells a few of them.
    fn refuse(&self, shared: &Shared, remote: SocketAddr, agent: Option<AgentId>, reason: String) {
        Counters::count(&shared.parts.counters.refused);
        let admitted = self
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(Instant::now());
        if let Some(more) = admitted {
            tracing::warn!(remote = %remote, more, reason, "a connection was refused");
            let refusal = Refusal {
                remote,
                agent,
                reason,
                more,
            };
            // Told at leisure: a queue that is full of work is no reason to wait here.
            let _ = shared.parts.arrivals.try_send(Arrival::Refused(refusal));
        }
    }
}
