//! Enrolling an agent: the token is used up, the key is signed and the target exists, all in one
//! transaction, or nothing of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use mantle_domain::ids::{AgentId, EnvironmentId, TargetId};
use mantle_domain::name::{IN_ENVIRONMENTS, IN_TAGS, IN_TARGETS};
use mantle_domain::variable::tags::Tagged;
use mantle_shared::protocol::{
    EnrolAccepted, EnrolRefusal, EnrolRefused, EnrolRequest, LeaveResult, RenewResult,
};
use mantle_shared::tls::Fingerprint;
use serde_json::json;

use super::{names, renewal, ties};
use crate::gateway::{EnrolDecision, Enroller, Renewal, Trust, TrustedAgent};
use crate::security::{AgentCertificate, Authority, CsrError, join_token_verify};
use crate::store::{
    AgentKeyRow, AgentKeyStatus, AgentProfile, AgentRow, AgentStatus, AuditEntry, JoinTokenRow,
    Store, StoreError, TargetRow, Tx, agent_find_of_target, agent_insert, agent_key_insert,
    audit_append, environment_find, join_token_use, target_find, target_insert,
    target_replace_environments, target_replace_tags,
};

/// Judges enrolments. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Enrolment {
    /// The database.
    pub store: Store,
    /// Signs agents.
    pub authority: Arc<Authority>,
    /// Who may work, from just before the enrolment is committed.
    pub trust: Arc<Trust>,
}

/// Why an enrolment ends without an answer of its own.
enum Stop {
    Refused(EnrolRefused),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn refuse(reason: EnrolRefusal, message: impl Into<String>) -> Stop {
    Stop::Refused(EnrolRefused {
        reason,
        message: message.into(),
    })
}

impl Enroller for Enrolment {
    fn enrol(
        &self,
        request: EnrolRequest,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = EnrolDecision> + Send + '_>> {
        let this = self.clone();
        // A task of its own: a peer that goes, or waits no longer, must not leave an enrolment behind
        // of which the database knows and memory does not.
        let decided = tokio::spawn(async move { this.judge(request, remote).await });
        Box::pin(async move { decided.await.unwrap_or_else(|_| Err(busy())) })
    }

    fn renew(&self, renewal: Renewal) -> Pin<Box<dyn Future<Output = RenewResult> + Send + '_>> {
        let this = self.clone();
        // A task of its own, for the same reason.
        let decided = tokio::spawn(async move { this.renew_certificate(renewal).await });
        Box::pin(async move {
            decided.await.unwrap_or_else(|_| RenewResult::Refused {
                reason: "the server cannot renew it just now".to_owned(),
            })
        })
    }

    fn leave(
        &self,
        agent: AgentId,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = LeaveResult> + Send + '_>> {
        let this = self.clone();
        let decided = tokio::spawn(async move { this.let_go(agent, remote).await });
        Box::pin(async move {
            decided.await.unwrap_or_else(|_| LeaveResult::Refused {
                reason: "the server cannot write it down just now".to_owned(),
            })
        })
    }

    fn seen(
        &self,
        agent: AgentId,
        key: Fingerprint,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let this = self.clone();
        let written = tokio::spawn(async move { this.key_seen(agent, key).await });
        Box::pin(async move {
            // It ends by itself, and says what went wrong.
            let _ = written.await;
        })
    }
}

impl Enrolment {
    async fn judge(&self, request: EnrolRequest, remote: SocketAddr) -> EnrolDecision {
        let name = request.name.clone();
        let agent = AgentId::from_uuid(uuid::Uuid::now_v7());
        let decided = self.decide(agent, request, remote).await;
        if decided.is_err() {
            // Nothing of it was written down, and nobody has its certificate.
            self.trust.withdraw(agent);
        }
        match decided {
            Ok(accepted) => {
                tracing::info!(target.name = name, remote = %remote, "an agent was enrolled");
                Ok(accepted)
            }
            Err(Stop::Refused(refused)) => {
                tracing::warn!(
                    target.name = name,
                    remote = %remote,
                    reason = ?refused.reason,
                    "an enrolment was refused"
                );
                Err(refused)
            }
            Err(Stop::Store(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an enrolment could not be written down"
                );
                Err(busy())
            }
        }
    }

    async fn decide(
        &self,
        agent: AgentId,
        request: EnrolRequest,
        remote: SocketAddr,
    ) -> Result<EnrolAccepted, Stop> {
        let now = Timestamp::now();
        let (certificate, target, tied) = self
            .store
            .write(async |tx| {
                let token = self.token(tx, &request, now).await?;
                let wanted = wanted(&token, &request)?;
                let environments = environments(tx, &wanted.environments).await?;
                // Signed only for a token that is good, before it is used up.
                let certificate = self.sign(&request, agent)?;
                let before = target_find(tx, &request.name)
                    .await?
                    .map(|known| known.tags);
                let target = target(tx, &request.name, &wanted.tags, &environments, now).await?;
                let tied = tied(tx, &target, before.as_deref()).await;
                let key =
                    write_agent(tx, agent, &target, &request, &token, &certificate, now).await?;
                let used = join_token_use(tx, token.id, now.as_microsecond()).await;
                match used {
                    Err(StoreError::Conflict { .. }) => {
                        return Err(refuse(EnrolRefusal::TokenUsed, used_up()));
                    }
                    other => other?,
                }
                let mut detail = json!({
                    "agent": agent.to_string(),
                    "token": token.id.to_string(),
                    "remote": remote.ip().to_string(),
                    "tags": wanted.tags,
                    "environments": wanted.environments,
                });
                if !tied.is_empty() {
                    detail["warnings"] = json!(tied);
                }
                let entry = AuditEntry {
                    at_us: now.as_microsecond(),
                    actor: format!("token:{}", token.id),
                    action: "agent.enrol".to_owned(),
                    subject: request.name.clone(),
                    detail: detail.to_string(),
                };
                audit_append(tx, &entry).await?;
                // Before the commit: whoever sees the agent and revokes it finds it in the list. Nobody
                // has its certificate yet.
                let entry = TrustedAgent {
                    key: renewal::trusted(&key),
                    offered: None,
                    target: target.id,
                    name: target.name.clone(),
                };
                self.trust.allow(agent, entry);
                Ok::<_, Stop>((certificate, target, tied))
            })
            .await?;
        for warning in tied {
            tracing::warn!(
                target.name = target.name,
                warning,
                "the tags of a target that joined make values tie"
            );
        }
        Ok(EnrolAccepted {
            agent,
            name: target.name,
            certificate: certificate.der,
            authority: self.authority.certificate().to_vec(),
            not_after_us: certificate.not_after_us,
        })
    }

    async fn token(
        &self,
        tx: &mut Tx,
        request: &EnrolRequest,
        now: Timestamp,
    ) -> Result<JoinTokenRow, Stop> {
        let verified = join_token_verify(
            tx,
            request.token_id,
            &request.token_secret,
            now.as_microsecond(),
        )
        .await?;
        verified.map_err(|reason| {
            let message = match reason {
                EnrolRefusal::TokenUnknown => {
                    "the server does not know this join token; make one with \
                     'mantle agent token create'"
                        .to_owned()
                }
                EnrolRefusal::TokenUsed => used_up(),
                EnrolRefusal::TokenExpired => {
                    "the join token has expired; make a new one with 'mantle agent token create'"
                        .to_owned()
                }
                EnrolRefusal::TokenRevoked => {
                    "the join token was revoked; make a new one with 'mantle agent token create'"
                        .to_owned()
                }
                EnrolRefusal::NameTaken
                | EnrolRefusal::NotAllowed
                | EnrolRefusal::BadRequest
                | EnrolRefusal::Busy => "the join token cannot be used".to_owned(),
            };
            refuse(reason, message)
        })
    }

    fn sign(&self, request: &EnrolRequest, agent: AgentId) -> Result<AgentCertificate, Stop> {
        self.authority
            .agent_certificate(&request.signing_request, agent, SystemTime::now())
            .map_err(|error| match error {
                CsrError::Bad(_) | CsrError::Key => {
                    refuse(EnrolRefusal::BadRequest, error.to_string())
                }
                CsrError::Make(_) => refuse(EnrolRefusal::Busy, error.to_string()),
            })
    }
}

fn busy() -> EnrolRefused {
    EnrolRefused {
        reason: EnrolRefusal::Busy,
        message: "the server cannot enrol just now; try again".to_owned(),
    }
}

fn used_up() -> String {
    "the join token was used as often as it may be; make a new one with \
     'mantle agent token create'"
        .to_owned()
}

/// What a target gets.
struct Wanted {
    tags: Vec<String>,
    environments: Vec<String>,
}

/// What the token gives and the agent asks for. A token that names tags (or environments) gives
/// those, and the agent may ask for no others; one that names none leaves the choice to the agent.
fn wanted(token: &JoinTokenRow, request: &EnrolRequest) -> Result<Wanted, Stop> {
    if let Some(only) = token.name.as_ref().filter(|only| **only != request.name) {
        return Err(refuse(
            EnrolRefusal::NotAllowed,
            format!("this join token is for the target '{only}' alone; join with --name {only}"),
        ));
    }
    let tags = request.tags.iter().map(|tag| ("tag", tag, IN_TAGS));
    let environments = request.environments.iter();
    for (kind, name, extra) in std::iter::once(("target", &request.name, IN_TARGETS))
        .chain(tags)
        .chain(environments.map(|name| ("environment", name, IN_ENVIRONMENTS)))
    {
        names::check(kind, name, extra)
            .map_err(|error| refuse(EnrolRefusal::NotAllowed, error.to_string()))?;
    }
    let merge = |what: &str, given: &[String], asked: &[String]| {
        let other = asked
            .iter()
            .find(|word| !given.is_empty() && !given.contains(word));
        if let Some(other) = other {
            return Err(refuse(
                EnrolRefusal::NotAllowed,
                format!(
                    "this join token does not give the {what} '{other}', only {}",
                    given.join(", ")
                ),
            ));
        }
        let all: BTreeSet<&String> = given.iter().chain(asked).collect();
        Ok(all.into_iter().cloned().collect::<Vec<String>>())
    };
    Ok(Wanted {
        tags: merge("tag", &token.tags, &request.tags)?,
        environments: merge("environment", &token.environments, &request.environments)?,
    })
}

async fn environments(tx: &mut Tx, names: &[String]) -> Result<Vec<EnvironmentId>, Stop> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let found = environment_find(tx, name).await?.ok_or_else(|| {
            refuse(
                EnrolRefusal::NotAllowed,
                format!("there is no environment '{name}'; 'mantle environment list' shows them"),
            )
        })?;
        ids.push(found.id);
    }
    Ok(ids)
}

/// The target of that name, made if it is new. One that was expected keeps what it was given.
async fn target(
    tx: &mut Tx,
    name: &str,
    tags: &[String],
    environments: &[EnvironmentId],
    now: Timestamp,
) -> Result<TargetRow, Stop> {
    let Some(mut target) = target_find(tx, name).await? else {
        let target = TargetRow {
            id: TargetId::from_uuid(uuid::Uuid::now_v7()),
            name: name.to_owned(),
            disabled: false,
            maintenance: None,
            created_at_us: now.as_microsecond(),
            tags: tags.to_vec(),
            environments: environments.to_vec(),
        };
        target_insert(tx, &target).await?;
        return Ok(target);
    };
    if agent_find_of_target(tx, target.id).await?.is_some() {
        return Err(refuse(
            EnrolRefusal::NameTaken,
            format!(
                "the target '{name}' has an agent already; join with another --name, or revoke \
                 the old one with 'mantle agent revoke {name}'"
            ),
        ));
    }
    for tag in tags {
        if !target.tags.contains(tag) {
            target.tags.push(tag.clone());
        }
    }
    for environment in environments {
        if !target.environments.contains(environment) {
            target.environments.push(*environment);
        }
    }
    target_replace_tags(tx, target.id, &target.tags).await?;
    target_replace_environments(tx, target.id, &target.environments).await?;
    Ok(target)
}

/// What the tags that a target has now bring about and those of before did not. It keeps nobody out:
/// who joins can do nothing about it, and a plan refuses what is tied.
async fn tied(tx: &mut Tx, target: &TargetRow, before: Option<&[String]>) -> Vec<String> {
    // Values for different tags tie where a target has both.
    if target.tags.len() < 2 || before == Some(&target.tags) {
        return Vec::new();
    }
    let tagged = Tagged {
        name: &target.name,
        tags: &target.tags,
        before,
    };
    ties::by_tags(tx, tagged).await.unwrap_or_else(|error| {
        tracing::warn!(
            target.name = target.name,
            error = &error as &dyn std::error::Error,
            "whether the tags of a target that joins make values tie could not be found out"
        );
        Vec::new()
    })
}

async fn write_agent(
    tx: &mut Tx,
    agent: AgentId,
    target: &TargetRow,
    request: &EnrolRequest,
    token: &JoinTokenRow,
    certificate: &AgentCertificate,
    now: Timestamp,
) -> Result<AgentKeyRow, Stop> {
    let now_us = now.as_microsecond();
    let row = AgentRow {
        id: agent,
        target_id: Some(target.id),
        name: target.name.clone(),
        status: AgentStatus::Active,
        profile: AgentProfile {
            version: request.version.clone(),
            os: request.os.clone(),
            arch: request.arch.clone(),
            ..AgentProfile::default()
        },
        highest_epoch: 0,
        join_token_id: Some(token.id),
        enrolled_at_us: now_us,
        revoked_at_us: None,
        last_seen_at_us: None,
    };
    agent_insert(tx, &row).await?;
    let key = AgentKeyRow {
        spki: certificate.spki,
        agent_id: agent,
        status: AgentKeyStatus::Current,
        serial: certificate.serial.clone(),
        not_after_us: certificate.not_after_us,
        issued_at_us: now_us,
    };
    match agent_key_insert(tx, &key).await {
        Err(StoreError::Conflict { .. }) => Err(refuse(
            EnrolRefusal::BadRequest,
            "this key was enrolled before; every agent makes its own",
        )),
        other => {
            other?;
            Ok(key)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::{Duration, Instant};

    use mantle_shared::token::JoinToken;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::api::body::JoinTokenCreate;
    use crate::services::testing::{House, a_house};
    use crate::store::{AgentStatus, agent_list};

    async fn a_request(house: &House, name: &str) -> EnrolRequest {
        let create = JoinTokenCreate {
            uses: None,
            ttl_s: None,
            tags: Vec::new(),
            environments: Vec::new(),
            name: None,
        };
        let created = house.services.join_token_create(&house.admin, &create);
        let token: JoinToken = created.await.unwrap().token.parse().unwrap();
        let key = KeyPair::generate().unwrap();
        let signing = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        EnrolRequest {
            token_id: *token.id.as_bytes(),
            token_secret: token.secret,
            signing_request: signing.der().to_vec(),
            name: name.to_owned(),
            tags: Vec::new(),
            environments: Vec::new(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            version: "0.0.0".to_owned(),
        }
    }

    fn enrolment(house: &House, folder: &std::path::Path) -> Enrolment {
        Enrolment {
            store: house.services.store.clone(),
            authority: Arc::new(Authority::open(folder, SystemTime::now()).unwrap()),
            trust: Arc::new(Trust::new()),
        }
    }

    #[tokio::test]
    async fn an_enrolment_that_nobody_waits_for_is_whole_from_the_moment_it_can_be_seen() {
        let (house, folder) = (a_house().await, tempfile::tempdir().unwrap());
        let enrolment = enrolment(&house, folder.path());
        let request = a_request(&house, "web01").await;
        drop(enrolment.enrol(request, "192.0.2.1:1".parse().unwrap()));
        let begun = Instant::now();
        let row = loop {
            let mut tx = house.services.store.read().await.unwrap();
            let all = agent_list(&mut tx, Some(AgentStatus::Active))
                .await
                .unwrap();
            if let Some(row) = all.into_iter().next() {
                break row;
            }
            assert!(begun.elapsed() < Duration::from_secs(30));
            tokio::task::yield_now().await;
        };
        // Who sees it may revoke it at once, and then it must be out.
        assert!(enrolment.trust.holds(row.id));
    }

    /// Nobody who joins can be told by the wire; those who look after the server are.
    #[tokio::test]
    async fn tags_that_make_values_tie_on_a_target_that_joins_are_warned_of() {
        let (house, folder) = (a_house().await, tempfile::tempdir().unwrap());
        let project = "mantle: v1\nenvironments: [{ name: test }]\nlifecycles: [{ name: only, phases: [{ name: T, environments: [test] }] }]\n---\nmantle: v1\nproject: shop\nlifecycle: only\nvariables:\n  Port: [{ value: 81, tag: blue }, { value: 82, tag: green }]\nprocess: [{ step: S, targets: { tag: web }, uses: script, with: { run: x } }]\n";
        house.apply(project, false).await.unwrap();
        let enrolment = enrolment(&house, folder.path());
        let join = async |name: &str, tags: &[&str]| {
            let request = EnrolRequest {
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
                ..a_request(&house, name).await
            };
            let remote = "192.0.2.1:1".parse().unwrap();
            enrolment.enrol(request, remote).await.unwrap();
            let page = house.services.audit_list(&house.admin, None, 1).await;
            let entry = page.unwrap().items.remove(0);
            assert_eq!(
                (entry.action.as_str(), entry.subject.as_str()),
                ("agent.enrol", name)
            );
            entry.detail["warnings"].clone()
        };
        assert_eq!(join("web01", &["blue", "web"]).await, json!(null));
        let warned = join("web02", &["blue", "green", "web"]).await;
        let [warning] = &warned.as_array().unwrap()[..] else {
            panic!("{warned}");
        };
        let said = "project 'shop': variable 'Port' has two equally specific values for step 'S' in target 'web02': the one for tag blue and the one for tag green";
        assert!(warning.as_str().unwrap().starts_with(said), "{warned}");

        // Whoever makes a token is told before.
        let token = async |name: Option<&str>, tags: &[&str]| {
            let create = JoinTokenCreate {
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
                name: name.map(str::to_owned),
                ..JoinTokenCreate::default()
            };
            let made = house.services.join_token_create(&house.admin, &create);
            made.await.unwrap().warnings
        };
        let both = token(None, &["green", "blue", "web"]).await;
        assert!(
            both[0].contains("target 'any that joins with it'"),
            "{both:?}"
        );
        assert_eq!(token(None, &["blue", "web"]).await, [""; 0]);
        // With the tags that the target has; what tied there before is nothing new.
        let added = token(Some("web01"), &["green"]).await;
        assert!(added[0].contains("target 'web01'"), "{added:?}");
        assert_eq!(token(Some("web02"), &["web"]).await, [""; 0]);
    }

    #[tokio::test]
    async fn what_is_refused_is_trusted_no_more_than_before() {
        let (house, folder) = (a_house().await, tempfile::tempdir().unwrap());
        let enrolment = enrolment(&house, folder.path());
        let request = a_request(&house, "web01").await;
        let remote = "192.0.2.1:1".parse().unwrap();
        let again = EnrolRequest {
            name: "web02".to_owned(),
            ..request.clone()
        };
        let accepted = enrolment.enrol(request, remote).await.unwrap();
        let refused = enrolment.enrol(again, remote).await.unwrap_err();
        assert_eq!(refused.reason, EnrolRefusal::TokenUsed);
        assert!(enrolment.trust.holds(accepted.agent));
    }
}
