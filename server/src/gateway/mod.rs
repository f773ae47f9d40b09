//! The QUIC side of the server: listening, enrolment, trust, sessions, bulk transfer.
//!
//! The gateway moves messages and judges who may send them; it decides nothing about deployments.
//! What agents say goes as [`Arrival`]s into one bounded queue, in order for each stream; what the
//! server says goes through [`Sessions`]. What must hold:
//! - before it is known who a peer is, at most one message of a few KiB is read from it;
//! - who an agent is comes from its certificate alone, never from a message;
//! - an agent counts as connected only when its resync was taken in;
//! - every read before that has a deadline, and no queue grows without bound.

mod accept;
mod arrival;
mod arrivals;
mod artifact;
mod buffers;
mod copies;
mod counters;
mod door;
mod enrol;
mod epochs;
mod identity;
mod limits;
mod outbox;
mod pace;
mod reader;
mod renewal;
mod session;
mod sessions;
mod transfer;
mod transport;
mod trust;
mod verifier;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::Endpoint;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use arrival::{Arrival, Refusal};
pub use arrivals::{ArrivalQueue, Arrivals, Lane, Room, Taken, arrivals};
pub use artifact::{ArtifactError, ArtifactStream};
pub use buffers::{SOCKET_BUFFER_BYTES, SocketBuffers, enlarge_buffers};
pub use copies::{Copies, TurnedAway};
pub use counters::Counters;
pub use enrol::{EnrolDecision, Enroller, Renewal};
pub use epochs::{Epochs, Meeting};
pub use pace::{PushRate, PushRates};
pub use sessions::{SessionId, Sessions};
pub use transfer::{ObjectSource, WireObject};
pub use transport::{GatewayError, GatewayKeys, RENEWAL_GRACE, Timing};
pub use trust::{Standing, Trust, TrustedAgent, TrustedKey};

/// What the gateway is made of.
pub struct GatewayConfig {
    /// The socket, bound beforehand so that a taken port is noticed before anything is set up, with large
    /// buffers ([`enlarge_buffers`]).
    pub socket: UdpSocket,
    /// The server's certificate chain: leaf first, then the authority that enrolling agents pin.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
    /// The authority that signs agents.
    pub authority: CertificateDer<'static>,
    /// Keys that outlive a restart, so that agents notice one at once.
    pub keys: GatewayKeys,
    /// How long things may take.
    pub timing: Timing,
    /// How fast packages are pushed.
    pub push_rates: PushRates,
    /// The server's version, for `Welcome`.
    pub version: String,
}

/// What the gateway calls.
#[derive(Clone)]
pub struct GatewayParts {
    /// Who may work here.
    pub trust: Arc<Trust>,
    /// Who is connected.
    pub sessions: Sessions,
    /// Judges enrolments.
    pub enroller: Arc<dyn Enroller>,
    /// Gives package objects out.
    pub objects: Arc<dyn ObjectSource>,
    /// Takes in what agents say.
    pub arrivals: Arrivals,
    /// What happened so far, in numbers.
    pub counters: Arc<Counters>,
    /// The server's epoch counter, for `Welcome`, and who is ahead of it.
    pub epochs: Arc<Epochs>,
}

/// A listening gateway.
pub struct Gateway {
    endpoint: Endpoint,
    local: SocketAddr,
    shared: Arc<Shared>,
}

/// What every connection of the gateway needs.
pub(crate) struct Shared {
    parts: GatewayParts,
    timing: Timing,
    version: String,
    greetings: session::Greetings,
    /// How fast packages are pushed to each agent, and to all of them together.
    agent_rate: Option<PushRate>,
    push_bucket: Option<pace::Bucket>,
}

impl Gateway {
    /// Takes the socket over. Nothing is accepted before [`Self::run`].
    pub fn open(config: GatewayConfig, parts: GatewayParts) -> Result<Self, GatewayError> {
        let tls = transport::Tls {
            chain: config.chain,
            key: config.key,
            authority: config.authority,
            keys: config.keys,
            timing: config.timing,
        };
        let endpoint = transport::endpoint(config.socket, tls, &parts.trust)?;
        let local = endpoint.local_addr().map_err(GatewayError::Socket)?;
        let shared = Arc::new(Shared {
            parts,
            timing: config.timing,
            version: config.version,
            greetings: session::Greetings::default(),
            agent_rate: config.push_rates.agent,
            push_bucket: config.push_rates.server.map(pace::Bucket::new),
        });
        Ok(Self {
            endpoint,
            local,
            shared,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts connections until the endpoint is closed.
    pub async fn run(&self) {
        accept::accept_loop(&self.endpoint, &self.shared).await;
    }

    /// Tells every agent to come back later, closes, and waits until that was sent.
    pub async fn close(&self, reason: &str, retry_after_ms: u32) {
        // Who dials now finds the next server.
        self.endpoint.set_server_config(None);
        let drain = self.shared.timing.drain;
        let told = self.shared.parts.sessions.go_away(reason, retry_after_ms);
        let _ = tokio::time::timeout(drain, told).await;
        self.endpoint.close(
            quinn::VarInt::from_u32(mantle_shared::protocol::close::GOING_AWAY),
            reason.as_bytes(),
        );
        let _ = tokio::time::timeout(drain, self.endpoint.wait_idle()).await;
    }
}
