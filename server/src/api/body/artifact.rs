//! Artifacts: the files that a task's steps left behind.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A collected file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// Its number in the task, from 1.
    pub number: u64,
    /// What it is called. Files of several targets may have the same name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// The BLAKE3 digest of its bytes.
    pub digest: String,
    /// Where it stands.
    pub state: ArtifactState,
    /// Why it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The step's number.
    pub step: u32,
    /// The action.
    pub action: String,
    /// The target that the action was about.
    pub target: String,
    /// The target whose agent ran it.
    pub executor: String,
    /// 1 for the first start of the action there.
    pub attempt: u32,
    /// When its action was over.
    pub at: Timestamp,
    /// When it was stored here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<Timestamp>,
}

/// Where a collected file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactState {
    /// It lies on its agent and comes when that is connected.
    Waiting,
    /// It is stored here.
    Stored,
    /// It will not come.
    Lost,
}
