//! The machinery: gateway, ingest and orchestrator, put together, and the handle that sets it in
//! motion.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use mantle_domain::state::Policy;
use mantle_shared::ids::{AgentId, TaskId};
use mantle_shared::protocol::close;
use rand::RngCore as _;
use uuid::Uuid;

use crate::artifacts::{Bell, Collector};
use crate::gateway::{
    Counters, Epochs, Gateway, GatewayConfig, GatewayError, GatewayKeys, GatewayParts, PushRates,
    Sessions, Timing, Trust, TrustedAgent, arrivals,
};
use crate::orchestrator::{
    GrantedObjects, Grants, Hints, Ingest, Online, Orchestrator, OrchestratorParts,
};
use crate::packages::PackageRepository;
use crate::security::{Authority, MasterKey, ServerIdentity};
use crate::services::{Enrolment, Feed, Wake, trusted};
use crate::store::{
    AgentKeyStatus, META_CONNECTION_ID_KEY, META_RESET_KEY, META_RESTORED, NodeId, Store,
    StoreError, agent_fetch, agent_key_list_allowed, epoch_current, server_meta_find,
    server_meta_keep,
};

/// What the machinery is made of.
pub struct MachineryConfig {
    /// The database.
    pub store: Store,
    /// The package repository.
    pub packages: PackageRepository,
    /// Opens secrets.
    pub master_key: Arc<MasterKey>,
    /// Signs agents.
    pub authority: Arc<Authority>,
    /// The server's own certificate.
    pub identity: ServerIdentity,
    /// The QUIC socket, bound.
    pub socket: UdpSocket,
    /// Tells those who watch tasks.
    pub feed: Feed,
    /// Where collected files are on their way from agents.
    pub incoming: PathBuf,
    /// How long things may take on the network.
    pub timing: Timing,
    /// How fast packages are pushed.
    pub push_rates: PushRates,
    /// How long things may take in a deployment.
    pub policy: Policy,
}

/// Everything that moves, not yet moving.
pub struct Machinery {
    /// To be run, and closed at the end.
    pub gateway: Arc<Gateway>,
    /// To be run.
    pub ingest: Ingest,
    /// To be run.
    pub orchestrator: Orchestrator,
    /// To be run.
    pub collector: Collector,
    /// Sets it in motion.
    pub waker: Waker,
    /// Who is connected.
    pub online: Arc<Online>,
    /// Says things to who is connected.
    pub sessions: Sessions,
    /// What happened on the network, in numbers.
    pub counters: Arc<Counters>,
    /// Whether the server is held.
    pub epochs: Arc<Epochs>,
}

/// Why the machinery cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum MachineryError {
    /// The database cannot be read or written.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// The gateway cannot be opened.
    #[error("the QUIC gateway cannot be opened")]
    Gateway(#[from] GatewayError),
}

impl Machinery {
    /// Builds it. Nothing moves before its parts are run.
    pub async fn build(config: MachineryConfig) -> Result<Self, MachineryError> {
        let keys = gateway_keys(&config.store).await?;
        let trust = Arc::new(load_trust(&config.store).await?);
        let epochs = {
            let mut tx = config.store.read().await?;
            let restored = server_meta_find(&mut tx, META_RESTORED).await?;
            Arc::new(Epochs::new(
                epoch_current(&mut tx).await?,
                restored.is_some(),
            ))
        };
        let (arrival_sender, arrivals) = arrivals();
        let sessions = Sessions::new();
        let online = Arc::new(Online::new());
        let grants = Arc::new(Grants::new());
        let counters = Arc::new(Counters::default());
        let enrolment = Enrolment {
            store: config.store.clone(),
            authority: Arc::clone(&config.authority),
            trust: Arc::clone(&trust),
        };
        let objects = GrantedObjects {
            grants: Arc::clone(&grants),
            packages: config.packages.clone(),
        };
        let bell = Bell::default();
        let collector = Collector {
            store: config.store.clone(),
            sessions: sessions.clone(),
            presence: Arc::clone(&online) as _,
            packages: config.packages.clone(),
            feed: config.feed.clone(),
            folder: config.incoming,
            bell: bell.clone(),
        };
        let gateway = Gateway::open(
            GatewayConfig {
                socket: config.socket,
                chain: config.identity.chain,
                key: config.identity.key,
                authority: config.authority.certificate().clone(),
                keys,
                timing: config.timing,
                push_rates: config.push_rates,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            GatewayParts {
                trust: Arc::clone(&trust),
                sessions: sessions.clone(),
                enroller: Arc::new(enrolment),
                objects: Arc::new(objects),
                arrivals: arrival_sender,
                counters: Arc::clone(&counters),
                epochs: Arc::clone(&epochs),
            },
        )?;
        let parts = OrchestratorParts {
            store: config.store,
            sessions: sessions.clone(),
            online: Arc::clone(&online),
            counters: Arc::clone(&counters),
            feed: config.feed,
            grants,
            bell,
            secrets: config.master_key,
            epochs: Arc::clone(&epochs),
            policy: config.policy,
            // Minted at each start, so that a restart is another holder of leases.
            node: NodeId::from_uuid(Uuid::now_v7()),
        };
        let (orchestrator, ingest, hints) = Orchestrator::new(parts, arrivals);
        let kept = sessions.clone();
        let waker = Waker {
            hints,
            trust,
            sessions,
            epochs: Arc::clone(&epochs),
        };
        Ok(Self {
            gateway: Arc::new(gateway),
            ingest,
            orchestrator,
            collector,
            waker,
            online,
            sessions: kept,
            counters,
            epochs,
        })
    }
}

/// Sets the machinery in motion.
#[derive(Clone)]
pub struct Waker {
    hints: Hints,
    trust: Arc<Trust>,
    sessions: Sessions,
    epochs: Arc<Epochs>,
}

impl Wake for Waker {
    fn task_queued(&self, _task: TaskId) {
        self.hints.look_again();
    }

    fn cancel_requested(&self, task: TaskId) {
        self.hints.cancel(task);
    }

    fn answered(&self, task: TaskId) {
        self.hints.answered(task);
    }

    fn resolved(&self, task: TaskId) {
        self.hints.resolved(task);
    }

    fn agent_revoked(&self, agent: AgentId) {
        // In this order: what reconnects in between is not let in any more.
        self.trust.withdraw(agent);
        self.sessions.disconnect(agent, close::NOT_AUTHORISED);
        self.hints.revoked(agent);
    }

    fn targets_changed(&self) {
        self.hints.look_again();
    }

    fn locks_changed(&self) {
        self.hints.locks_changed();
    }

    fn is_held(&self) -> bool {
        self.epochs.is_held()
    }

    fn ahead(&self) -> BTreeMap<AgentId, u64> {
        self.epochs.ahead()
    }

    fn copy_of(&self, agent: AgentId) -> Option<(String, SocketAddr)> {
        let copy = self.sessions.copies().of(agent)?;
        Some((copy.host_name, copy.remote))
    }

    fn recovered(&self, epoch: u64) {
        self.epochs.recovered(epoch);
    }
}

/// The two keys that let an agent notice a restarted server at once, made at the first start.
async fn gateway_keys(store: &Store) -> Result<GatewayKeys, StoreError> {
    let (mut reset, mut connection_id) = ([0_u8; 64], [0_u8; 32]);
    rand::rng().fill_bytes(&mut reset);
    rand::rng().fill_bytes(&mut connection_id);
    let (reset, connection_id) = store
        .write(async |tx| {
            let reset = server_meta_keep(tx, META_RESET_KEY, &reset).await?;
            let id = server_meta_keep(tx, META_CONNECTION_ID_KEY, &connection_id).await?;
            Ok::<_, StoreError>((reset, id))
        })
        .await?;
    let reset_key = reset
        .try_into()
        .map_err(|_| StoreError::corrupt("the key for stateless resets"))?;
    let connection_id_key = connection_id
        .first_chunk::<8>()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| StoreError::corrupt("the key for connection ids"))?;
    Ok(GatewayKeys {
        reset_key,
        connection_id_key,
    })
}

/// Every agent that may work, from the database.
async fn load_trust(store: &Store) -> Result<Trust, StoreError> {
    let trust = Trust::new();
    let mut tx = store.read().await?;
    let (current, offered): (Vec<_>, Vec<_>) = agent_key_list_allowed(&mut tx)
        .await?
        .into_iter()
        .partition(|key| key.status == AgentKeyStatus::Current);
    for key in current {
        let agent = agent_fetch(&mut tx, key.agent_id).await?;
        if let Some(target) = agent.target_id {
            trust.allow(
                agent.id,
                TrustedAgent {
                    key: trusted(&key),
                    offered: None,
                    target,
                    name: agent.name,
                },
            );
        }
    }
    for key in offered {
        trust.offer(key.agent_id, Some(trusted(&key)));
    }
    Ok(trust)
}
