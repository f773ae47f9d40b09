//! The use cases: authorise, ask the domain, write in one transaction with its audit row, then
//! wake the orchestrator.
//!
//! A use case that fails has changed nothing. What is told to others (a wake-up, an answer) comes
//! after the commit.

mod agents;
mod answered;
mod api_keys;
mod apply;
mod apply_read;
#[cfg(test)]
mod apply_tests;
mod artifacts;
mod audit;
mod choices;
mod collection;
mod declared;
mod deploy;
mod deployments;
mod enrolment;
mod error;
mod evaluation;
pub mod facts;
pub mod feed;
mod follow;
pub mod health;
mod health_apply;
#[cfg(test)]
mod health_tests;
mod in_use;
mod install_commands;
#[cfg(test)]
mod interruption_tests;
mod interruptions;
mod janitor;
mod join_tokens;
#[cfg(test)]
mod kept_tests;
mod leaving;
mod locks;
pub mod names;
mod package_care;
mod packages;
mod plan_shape;
pub mod planning;
mod plans;
pub mod progress;
mod prompts;
mod prune;
pub mod queue;
mod recovery;
mod release_block;
mod release_compare;
mod release_create;
mod release_edit;
mod release_scan;
#[cfg(test)]
mod release_tests;
mod release_variables;
mod releases;
mod renewal;
mod repeated;
mod resolution;
#[cfg(test)]
mod resolution_tests;
mod retention;
mod rollback;
mod room;
mod secrets;
mod targets;
pub mod task_events;
mod task_packages;
mod tasks;
pub mod teams;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod ties;
mod upkeep;
#[cfg(test)]
mod variable_tests;
mod variables;
pub mod wake;
mod whose;

use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use mantle_domain::permission::{self, Actor, Permission};
use mantle_domain::upkeep::UpkeepRules;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::api_keys::FIRST_KEY;
pub use self::collection::{COLLECT_EVERY, COLLECT_FIRST};
pub use self::deployments::DeploymentOrder;
pub use self::enrolment::Enrolment;
pub use self::error::{Error, Result, nearest};
use self::evaluation::Evaluations;
pub use self::feed::Feed;
pub use self::follow::Followed;
pub use self::interruptions::InterruptionBody;
pub use self::janitor::TIDY_EVERY;
pub use self::packages::IncomingPiece;
pub use self::plans::{Footing, bound};
pub use self::renewal::trusted;
pub use self::retention::RETAIN_EVERY;
pub use self::room::RESERVE_EVERY;
pub use self::targets::TargetSwitch;
pub use self::wake::{Arrived, NoWake, Presence, Wake};
pub use self::whose::{grace_of, planned, whose};
use crate::gateway::SocketBuffers;
use crate::installers::Installers;
use crate::packages::PackageRepository;
use crate::security::MasterKey;
use crate::store::{AuditEntry, Extent, Store, Tx, audit_append, epoch_current};

/// The use cases and what they stand on. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    parts: Arc<Parts>,
    evaluations: Evaluations,
}

/// What use cases stand on.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Seals secrets.
    pub master_key: Arc<MasterKey>,
    /// The package repository.
    pub packages: PackageRepository,
    /// Sets the machinery in motion.
    pub wake: Arc<dyn Wake>,
    /// Knows which agents are connected.
    pub presence: Arc<dyn Presence>,
    /// Tells watchers of tasks that there is more.
    pub feed: Feed,
    /// Cancelled when the server stops: streams end then.
    pub stopping: CancellationToken,
    /// Who this server is.
    pub server: ServerFacts,
    /// How much of the past is kept.
    pub upkeep: UpkeepRules,
    /// What is handed to machines that are to join.
    pub installers: Installers,
}

/// Who this server is.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// What tokens and agents are told to dial.
    pub advertise: String,
    /// The certificate authority's fingerprint.
    pub authority: mantle_shared::tls::Fingerprint,
    /// When the process started.
    pub started_at: Timestamp,
    /// What the system gave its UDP socket.
    pub buffers: SocketBuffers,
}

/// Who asks, and in which request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// The request's id, for the audit trail.
    pub request: Option<String>,
}

/// What a use case did, for the audit trail.
struct Deed<'a> {
    action: &'static str,
    subject: &'a str,
    id: Option<Uuid>,
    detail: Value,
}

impl Services {
    /// The use cases over these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            evaluations: Evaluations::default(),
        }
    }
}

impl Deref for Services {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Caller {
    /// The server, acting for itself.
    pub fn server() -> Self {
        Self {
            actor: Actor::server(),
            request: None,
        }
    }

    /// May this caller do that?
    pub fn may(&self, permission: Permission) -> Result<()> {
        Ok(permission::check(&self.actor, permission)?)
    }

    /// Writes down what was done outside the use cases, in the transaction that does it.
    pub async fn audit_as(
        &self,
        tx: &mut Tx,
        at: Timestamp,
        action: &'static str,
        subject: &str,
        detail: Value,
    ) -> Result<()> {
        let deed = Deed {
            action,
            subject,
            id: None,
            detail,
        };
        self.audit(tx, at, deed).await
    }

    /// Writes down what this caller did, in the transaction that does it.
    async fn audit(&self, tx: &mut Tx, at: Timestamp, deed: Deed<'_>) -> Result<()> {
        let mut detail = deed.detail;
        if let Some(detail) = detail.as_object_mut() {
            let id = deed.id.map(|id| ("id", id.to_string()));
            let request = self.request.clone().map(|request| ("request", request));
            for (name, value) in id.into_iter().chain(request) {
                detail.insert(name.to_owned(), Value::from(value));
            }
        }
        let entry = AuditEntry {
            at_us: at.as_microsecond(),
            actor: self.actor.name.clone(),
            action: deed.action.to_owned(),
            subject: deed.subject.to_owned(),
            detail: detail.to_string(),
        };
        audit_append(tx, &entry).await?;
        Ok(())
    }
}

impl Services {
    /// The database answers, and there is room for what it is told.
    pub async fn ready(&self) -> Result<()> {
        let mut tx = self.store.read().await?;
        epoch_current(&mut tx).await?;
        drop(tx);
        self.must_have_room().await
    }
}

impl Parts {
    /// The moment. The one place where use cases read the clock.
    #[expect(
        clippy::unused_self,
        reason = "a use case asks its server for the time"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A new time-ordered UUID.
fn mint() -> Uuid {
    Uuid::now_v7()
}

/// A stored time. One that cannot be is the epoch, rather than no answer at all.
fn at(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The most rows of a list that is shown and not paged. What is decided by a list has all of it.
const SHOWN_MOST: u32 = 10_000;
/// The same, for lists that can also be had whole.
const SHOWN: Extent = Extent::First(SHOWN_MOST);
