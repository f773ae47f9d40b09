//! Accepting connections, as the door allows, and the judgement by protocol and certificate.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mantle_shared::ids::AgentId;
use mantle_shared::protocol::close;
use mantle_shared::tls::{ALPN_ENROL, ALPN_WORK};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use rustls::pki_types::CertificateDer;

use super::arrival::{Arrival, Refusal};
use super::counters::{Counters, Sampler};
use super::door::{Admission, Door, Entrance};
use super::identity::{Holder, agent_of};
use super::limits::REFUSALS_A_MINUTE;
use super::{Shared, enrol, session};

/// What the accept loop keeps count of.
struct Accept {
    door: Door,
    refusals: Mutex<Sampler>,
}

pub(super) async fn accept_loop(endpoint: &Endpoint, shared: &Arc<Shared>) {
    let accept = Arc::new(Accept {
        door: Door::default(),
        refusals: Mutex::new(Sampler::new(REFUSALS_A_MINUTE, Duration::from_mins(1))),
    });
    while let Some(incoming) = endpoint.accept().await {
        let counters = &shared.parts.counters;
        let is_proven = incoming.remote_address_validated() || !incoming.may_retry();
        let from = incoming.remote_address().ip();
        match accept.door.knock(from, is_proven, Instant::now()) {
            Entrance::Open(admission) => {
                let (shared, accept) = (Arc::clone(shared), Arc::clone(&accept));
                tokio::spawn(open(incoming, admission, shared, accept));
            }
            Entrance::Prove => {
                Counters::count(&counters.retries);
                let _ = incoming.retry();
            }
            Entrance::Ignore => {
                Counters::count(&counters.ignored);
                incoming.ignore();
            }
        }
    }
}

/// A connection from its first packet to its end. It is counted for as long as it lives.
async fn open(
    incoming: Incoming,
    mut admission: Admission,
    shared: Arc<Shared>,
    accept: Arc<Accept>,
) {
    let remote = incoming.remote_address();
    let handshake = async { incoming.accept()?.await };
    let connection = match tokio::time::timeout(shared.timing.handshake, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            // The TLS alert says no more than that the certificate was refused; so do we.
            let reason = format!("the handshake failed: {error}");
            accept.refuse(&shared, remote, None, reason);
            return;
        }
        Err(_) => {
            Counters::count(&shared.parts.counters.handshake_timeouts);
            return;
        }
    };
    match judge(&connection) {
        Peer::Stranger => {
            if admission.is_stranger() {
                enrol::serve(connection, &shared).await;
            } else {
                connection.close(VarInt::from_u32(close::GOING_AWAY), b"");
                let reason = "too many agents are enrolling at once".to_owned();
                accept.refuse(&shared, remote, None, reason);
            }
        }
        Peer::Agent(holder) => {
            if shared.parts.trust.find(holder.agent, holder.key).is_none() {
                connection.close(VarInt::from_u32(close::NOT_AUTHORISED), b"");
                let reason = "the agent is not in the allow-list".to_owned();
                accept.refuse(&shared, remote, Some(holder.agent), reason);
            } else if has_ended(&holder) {
                connection.close(VarInt::from_u32(close::CERTIFICATE_ENDED), b"");
                let reason = "the agent's certificate has ended; it may renew it".to_owned();
                accept.refuse(&shared, remote, Some(holder.agent), reason);
            } else {
                admission.is_agent();
                session::serve(connection, holder.agent, holder.key, &shared).await;
            }
        }
        Peer::Renewer(holder) => {
            if shared.parts.trust.find(holder.agent, holder.key).is_none() {
                connection.close(VarInt::from_u32(close::NOT_AUTHORISED), b"");
                let reason = "the agent is not in the allow-list".to_owned();
                accept.refuse(&shared, remote, Some(holder.agent), reason);
            } else if admission.is_stranger() {
                enrol::serve_renewal(connection, holder.agent, holder.key, &shared).await;
            } else {
                connection.close(VarInt::from_u32(close::GOING_AWAY), b"");
                let reason = "too many agents are enrolling at once".to_owned();
                accept.refuse(&shared, remote, Some(holder.agent), reason);
            }
        }
        Peer::Nobody(reason) => {
            connection.close(VarInt::from_u32(close::NOT_AUTHORISED), b"");
            accept.refuse(&shared, remote, None, reason.to_owned());
        }
    }
}

/// Who is at the other end, by protocol and certificate, before a byte is read.
enum Peer {
    Stranger,
    Agent(Holder),
    /// One that comes only to renew its certificate, which may have ended.
    Renewer(Holder),
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
        (Some(ALPN_ENROL), Some(certificate)) => match agent_of(&certificate) {
            Some(holder) => Peer::Renewer(holder),
            None => Peer::Nobody("the certificate is not an agent's"),
        },
        (Some(ALPN_WORK), Some(certificate)) => match agent_of(&certificate) {
            Some(holder) => Peer::Agent(holder),
            None => Peer::Nobody("the certificate is not an agent's"),
        },
        (Some(ALPN_WORK), None) => Peer::Nobody("a work connection came without a certificate"),
        (_, _) => Peer::Nobody("the connection speaks no protocol of ours"),
    }
}

/// The certificate's time is over: the verifier let it through for its renewal alone.
fn has_ended(holder: &Holder) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX) > holder.not_after_s
}

impl Accept {
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
