//! Planning a deployment: one way for who asks what would happen, for who queues, and for the
//! orchestrator when the task's turn has come. Only the targets of the moment may differ.

use mantle_domain::ids::TaskId;
use mantle_domain::plan::basis::ReleaseDigests;
use mantle_domain::plan::{PlanBefore, PlanFacts};
use mantle_domain::planner::{PlanOptions, PlanRequest};
use mantle_domain::snapshot::{PackageSnapshot, ProcessSnapshot, VariableSnapshot};
use mantle_domain::target::TargetFacts;
use mantle_shared::Digest;
use serde::de::DeserializeOwned;

use crate::store::{Result, StoreError, Tx, snapshot_fetch};

/// The three snapshots of a release.
#[derive(Debug)]
pub struct Pins {
    /// Its process.
    pub process: ProcessSnapshot,
    /// Its variables.
    pub variables: VariableSnapshot,
    /// Its packages.
    pub packages: PackageSnapshot,
}

impl Pins {
    /// Reads what a release pins, or what a deployment of it was asked for with.
    pub async fn read(tx: &mut Tx, digests: ReleaseDigests) -> Result<Self> {
        Ok(Self {
            process: snapshot(tx, digests.process).await?,
            variables: snapshot(tx, digests.variables).await?,
            packages: snapshot(tx, digests.packages).await?,
        })
    }
}

/// What is to be deployed, and where.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The deployment.
    pub task: TaskId,
    /// The environment's name.
    pub environment: &'a str,
    /// The release's version.
    pub version: &'a str,
    /// The release's channel.
    pub channel: &'a str,
    /// What the release pins.
    pub pins: &'a Pins,
    /// What the operator chose.
    pub options: &'a PlanOptions,
    /// What the lifecycle says of earlier versions of packages on targets.
    pub keep_on_target: Option<u32>,
    /// How long a deployment into the environment may take, unless its project says.
    pub time_limit_ms: Option<u64>,
    /// Whether a failure asks a person in the environment, unless project or operator say.
    pub guided_failure: bool,
    /// What is known beside it.
    pub facts: &'a PlanFacts,
    /// What of the project runs on targets in the environment.
    pub before: &'a [PlanBefore],
}

impl<'a> Wanted<'a> {
    /// The question to the domain, given the targets of a moment.
    pub fn request(&self, targets: &'a [TargetFacts]) -> PlanRequest<'a> {
        let Self {
            task,
            environment,
            version,
            channel,
            pins,
            options,
            keep_on_target,
            time_limit_ms,
            guided_failure,
            facts,
            before,
        } = *self;
        PlanRequest {
            task,
            environment,
            release: version,
            channel,
            process: &pins.process,
            variables: &pins.variables,
            packages: &pins.packages,
            targets,
            options,
            keep_on_target,
            time_limit_ms,
            guided_failure,
            facts,
            before,
        }
    }
}

/// A snapshot by its digest.
pub(super) async fn snapshot<T: DeserializeOwned>(tx: &mut Tx, digest: Digest) -> Result<T> {
    let body = snapshot_fetch(tx, digest).await?;
    serde_json::from_slice(&body)
        .map_err(|error| StoreError::corrupt(format!("snapshot {}: {error}", digest.short())))
}
