//! Renewing an agent's certificate: the next key is offered in one transaction, and takes the other's
//! place in another one, when it was seen in use. A server that is killed in between leaves both good,
//! and asks again.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mantle_domain::ids::AgentId;
use mantle_shared::fault;
use mantle_shared::protocol::RenewResult;
use mantle_shared::tls::Fingerprint;
use serde_json::json;

use super::enrolment::Enrolment;
use crate::gateway::{Renewal, Standing, TrustedKey};
use crate::security::{AgentCertificate, CsrError};
use crate::store::{
    AgentKeyRow, AgentKeyStatus, AgentStatus, AuditEntry, StoreError, Tx, agent_fetch,
    agent_key_find, agent_key_find_offered, agent_key_insert, agent_key_mark_current,
    agent_key_retire_offered, audit_append,
};

/// An offer is left alone for a twentieth of what is left of the certificate, and for no longer than
/// this: who asks again and again writes little.
const PAUSE_AT_LEAST: Duration = Duration::from_secs(1);
const PAUSE_AT_MOST: Duration = Duration::from_secs(10);

/// Why nothing is issued.
enum Stop {
    Refused(String),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn refuse(reason: impl Into<String>) -> Stop {
    Stop::Refused(reason.into())
}

/// Renewals.
impl Enrolment {
    /// Decides on a renewal, and logs how it ended.
    pub(super) async fn renew_certificate(&self, renewal: Renewal) -> RenewResult {
        let (agent, remote) = (renewal.agent, renewal.remote);
        match self.issue(renewal).await {
            Ok(certificate) => {
                fault::point("server.certificate_issued");
                tracing::info!(agent.id = %agent, remote = %remote, "an agent's next certificate was issued");
                RenewResult::Issued {
                    certificate: certificate.der,
                    not_after_us: certificate.not_after_us,
                }
            }
            Err(Stop::Refused(reason)) => {
                tracing::warn!(agent.id = %agent, remote = %remote, reason, "a certificate was not renewed");
                RenewResult::Refused { reason }
            }
            Err(Stop::Store(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a renewal could not be written down"
                );
                self.offer_as_stored(agent).await;
                let reason = "the server cannot renew it just now".to_owned();
                RenewResult::Refused { reason }
            }
        }
    }

    async fn issue(&self, renewal: Renewal) -> Result<AgentCertificate, Stop> {
        let now = Timestamp::now();
        self.store
            .write(async |tx| {
                let agent = agent_fetch(tx, renewal.agent).await?;
                if agent.status != AgentStatus::Active {
                    return Err(refuse("the agent was revoked"));
                }
                self.check_due(tx, &renewal, now).await?;
                let certificate = self.sign_next(&renewal)?;
                let key = AgentKeyRow {
                    spki: certificate.spki,
                    agent_id: renewal.agent,
                    status: AgentKeyStatus::Offered,
                    serial: certificate.serial.clone(),
                    not_after_us: certificate.not_after_us,
                    issued_at_us: now.as_microsecond(),
                };
                agent_key_retire_offered(tx, renewal.agent).await?;
                match agent_key_insert(tx, &key).await {
                    Err(StoreError::Conflict { .. }) => {
                        return Err(refuse("this key was used before; make another one"));
                    }
                    other => other?,
                }
                let entry = AuditEntry {
                    at_us: now.as_microsecond(),
                    actor: format!("agent:{}", renewal.agent),
                    action: "agent.certificate-issue".to_owned(),
                    subject: agent.name,
                    detail: json!({
                        "agent": renewal.agent.to_string(),
                        "remote": renewal.remote.ip().to_string(),
                        "until": Timestamp::from_microsecond(key.not_after_us)
                            .map(|until| until.to_string())
                            .unwrap_or_default(),
                    })
                    .to_string(),
                };
                audit_append(tx, &entry).await?;
                fault::point("server.before_certificate_commit");
                // Before the commit, as of an enrolment: nobody has it yet.
                self.trust.offer(renewal.agent, Some(trusted(&key)));
                Ok::<_, Stop>(certificate)
            })
            .await
    }

    /// The allow-list says again what the database says. If that cannot be read, the list holds a key too
    /// many, whose certificate nobody got.
    async fn offer_as_stored(&self, agent: AgentId) {
        let stored = async {
            let mut tx = self.store.read().await?;
            agent_key_find_offered(&mut tx, agent).await
        };
        if let Ok(stored) = stored.await {
            self.trust.offer(agent, stored.as_ref().map(trusted));
        }
    }

    /// The key that was shown is the agent's, its certificate is due, and there was no offer just now.
    async fn check_due(&self, tx: &mut Tx, renewal: &Renewal, now: Timestamp) -> Result<(), Stop> {
        let shown = agent_key_find(tx, renewal.key).await?;
        let shown = shown.filter(|shown| shown.agent_id == renewal.agent);
        let Some(shown) = shown.filter(|shown| shown.status != AgentKeyStatus::Retired) else {
            return Err(refuse("the agent's key is not in use any more"));
        };
        let key = trusted(&shown);
        if now.as_microsecond() < key.due_at_us() {
            return Err(refuse("the certificate is not due yet"));
        }
        if let Some(offered) = agent_key_find_offered(tx, renewal.agent).await? {
            let since_us = now.as_microsecond().saturating_sub(offered.issued_at_us);
            // A clock that was set back must not lock anyone out.
            if (0..pause_us(&key)).contains(&since_us) {
                return Err(refuse("another one was issued just now; ask again later"));
            }
        }
        Ok(())
    }

    fn sign_next(&self, renewal: &Renewal) -> Result<AgentCertificate, Stop> {
        let now = SystemTime::now();
        self.authority
            .agent_certificate(&renewal.signing_request, renewal.agent, now)
            .map_err(|error| match error {
                CsrError::Bad(_) | CsrError::Key | CsrError::Make(_) => refuse(error.to_string()),
            })
    }

    /// Writes down that an offered key was seen in use.
    pub(super) async fn key_seen(&self, agent: AgentId, key: Fingerprint) {
        if !matches!(self.trust.find(agent, key), Some(Standing::Offered(_))) {
            return;
        }
        let now = Timestamp::now();
        let written = self
            .store
            .write(async |tx| {
                let row = agent_fetch(tx, agent).await?;
                agent_key_mark_current(tx, agent, key).await?;
                let entry = AuditEntry {
                    at_us: now.as_microsecond(),
                    actor: format!("agent:{agent}"),
                    action: "agent.certificate-renew".to_owned(),
                    subject: row.name,
                    detail: json!({"agent": agent.to_string()}).to_string(),
                };
                audit_append(tx, &entry).await?;
                fault::point("server.before_key_commit");
                Ok::<_, StoreError>(())
            })
            .await;
        match written {
            Ok(()) => {
                self.trust.confirm(agent, key);
                tracing::info!(agent.id = %agent, "an agent's certificate was renewed");
            }
            Err(error) => tracing::warn!(
                agent.id = %agent,
                error = &error as &dyn std::error::Error,
                "that a new certificate is in use could not be written down; the one before stays good"
            ),
        }
    }
}

/// What the allow-list keeps of a key.
pub fn trusted(row: &AgentKeyRow) -> TrustedKey {
    TrustedKey {
        spki: row.spki,
        issued_at_us: row.issued_at_us,
        not_after_us: row.not_after_us,
    }
}

fn pause_us(key: &TrustedKey) -> i64 {
    let left_us = key.not_after_us.saturating_sub(key.due_at_us()).max(0);
    let pause =
        Duration::from_micros(left_us.unsigned_abs() / 20).clamp(PAUSE_AT_LEAST, PAUSE_AT_MOST);
    i64::try_from(pause.as_micros()).unwrap_or(i64::MAX)
}
