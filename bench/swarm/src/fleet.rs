//! The identities: one folder an agent, and the joining of those that are missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use mantle_shared::protocol::{EnrolRefusal, EnrolRequest};
use mantle_shared::token::JoinToken;
use tentacle::connection::{self, EnrolError, ServerAddress, Sockets, Timing};
use tentacle::identity::{self, Enrolled, Identity, NewKey};
use tokio::task::JoinSet;

use crate::tally::Tally;

/// Enrolments at once: a server lets some hundred strangers of an address in at a time.
const AT_ONCE: usize = 64;
/// How often one is tried that the server was too busy for, and how long is waited in between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// Where the agents are.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    root: PathBuf,
    name: String,
}

/// How the missing ones join.
pub(crate) struct Joining {
    pub(crate) server: ServerAddress,
    pub(crate) token: Option<JoinToken>,
    pub(crate) tags: Vec<String>,
    pub(crate) firsts: Vec<usize>,
    pub(crate) environments: Vec<String>,
    pub(crate) timing: Timing,
    pub(crate) sockets: Sockets,
    pub(crate) a_second: u32,
}

impl Fleet {
    /// The agents below this folder, which is made.
    pub(crate) fn at(root: &Path, name: &str) -> Result<Self> {
        let root = std::path::absolute(root).context("the folder of the agents")?;
        tentacle::durable::create_private_folder(&root)
            .with_context(|| format!("the folder {}", root.display()))?;
        Ok(Self {
            root,
            name: name.to_owned(),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the agent with this number, from 1. A thousand in one folder at most.
    pub(crate) fn folder(&self, number: usize) -> PathBuf {
        self.root
            .join(format!("{:03}", number / 1000))
            .join(self.agent(number))
    }

    fn agent(&self, number: usize) -> String {
        format!("{}-{number:05}", self.name)
    }

    /// Joins those up to this number that have no identity.
    pub(crate) async fn join_missing(
        &self,
        agents: usize,
        joining: Joining,
        tally: &Arc<Tally>,
    ) -> Result<()> {
        let joining = Arc::new(joining);
        let mut pace = pace(joining.a_second);
        let mut under_way = JoinSet::new();
        for number in 1..=agents {
            if Identity::exists(&self.folder(number)) {
                Tally::up(&tally.joined);
                continue;
            }
            pace.tick().await;
            while under_way.len() >= AT_ONCE {
                joined(under_way.join_next().await)?;
            }
            let (fleet, joining, tally) = (self.clone(), Arc::clone(&joining), Arc::clone(tally));
            under_way.spawn(async move {
                fleet.join(number, &joining).await?;
                Tally::up(&tally.joined);
                Ok(())
            });
        }
        while let Some(done) = under_way.join_next().await {
            joined(Some(done))?;
        }
        Ok(())
    }

    async fn join(&self, number: usize, joining: &Joining) -> Result<()> {
        let name = self.agent(number);
        let mut tried = 0;
        loop {
            tried += 1;
            match self.enrol(number, &name, joining).await {
                Err(Stop::Busy(error)) if tried < TRIES => {
                    tracing::debug!(%error, name, "trying to join again");
                    tokio::time::sleep(PAUSE * tried).await;
                }
                Ok(()) => return Ok(()),
                Err(Stop::Busy(error) | Stop::Final(error)) => {
                    return Err(error).with_context(|| format!("{name} cannot join"));
                }
            }
        }
    }

    async fn enrol(&self, number: usize, name: &str, joining: &Joining) -> Result<(), Stop> {
        let token = joining.token.as_ref().ok_or_else(|| {
            anyhow!(
                "it has no identity in {} and no --token was given; make one with 'mantle agent token create --uses N'",
                self.root.display()
            )
        })?;
        let Joining {
            server,
            timing,
            sockets,
            ..
        } = joining;
        let dialled = connection::probe_enrolment(server, token.pin, timing, sockets)
            .await
            .map_err(|error| Stop::Busy(error.into()))?;
        let key = NewKey::generate().context("its key")?;
        let firsts = joining.firsts.iter().filter(|first| number <= **first);
        let request = EnrolRequest {
            token_id: *token.id.as_bytes(),
            token_secret: token.secret,
            signing_request: key.signing_request(name).context("its signing request")?,
            name: name.to_owned(),
            tags: joining
                .tags
                .iter()
                .cloned()
                .chain(firsts.map(|first| format!("first-{first}")))
                .collect(),
            environments: joining.environments.clone(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let answer =
            connection::enrol(&dialled, request, token.pin, key.public_key(), timing).await;
        let accepted = match answer {
            Ok(accepted) => accepted,
            Err(EnrolError::Refused(refused)) if refused.reason == EnrolRefusal::Busy => {
                return Err(Stop::Busy(anyhow!("{}", refused.message)));
            }
            Err(error @ EnrolError::Refused(_)) => return Err(Stop::Final(error.into())),
            // Whether the server has taken it in is not known; with the same name it is asked again.
            Err(error) => return Err(Stop::Busy(error.into())),
        };
        let enrolled = Enrolled {
            agent: accepted.agent,
            name: accepted.name,
            servers: vec![server.to_string()],
            certificate: accepted.certificate,
            authority: accepted.authority,
            not_after_us: accepted.not_after_us,
        };
        let folder = self.folder(number);
        tokio::task::spawn_blocking(move || identity::save(&folder, &key, &enrolled))
            .await
            .context("its identity")?
            .context("its identity")?;
        Ok(())
    }
}

/// Why one has not joined.
enum Stop {
    /// It may yet.
    Busy(anyhow::Error),
    /// It never will.
    Final(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Final(error)
    }
}

fn joined(done: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match done {
        Some(Ok(result)) => result,
        Some(Err(_)) => bail!("joining broke down"),
        None => Ok(()),
    }
}

/// Ticks so often a second.
pub(crate) fn pace(a_second: u32) -> tokio::time::Interval {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / a_second.max(1));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pace
}
