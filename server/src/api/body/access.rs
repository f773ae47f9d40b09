//! API keys, join tokens, secrets, and the audit trail.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// An API key, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its team, which says what it may do.
    pub team: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// Asks for a new API key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyCreate {
    /// Its name.
    pub name: String,
    /// `administrators` (default) may do everything; any other team may only look.
    #[serde(default)]
    pub team: Option<String>,
    /// It stops working after this many seconds.
    #[serde(default)]
    pub expires_in_s: Option<u64>,
}

/// A new API key; its token is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyCreated {
    /// The key.
    pub key: ApiKey,
    /// What goes into `Authorization: Bearer`.
    pub token: String,
}

/// A join token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// The only target name that it may be used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// How many machines may still join with it.
    pub uses_left: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Tags of the targets that join with it.
    pub tags: Vec<String>,
    /// Environments of the targets that join with it.
    pub environments: Vec<String>,
}

/// Asks for a join token.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenCreate {
    /// How many machines may join with it; 1 by default.
    #[serde(default)]
    pub uses: Option<u32>,
    /// It stops working after this many seconds; an hour by default.
    #[serde(default)]
    pub ttl_s: Option<u64>,
    /// Tags that targets which join with it get.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Environments that targets which join with it are put in.
    #[serde(default)]
    pub environments: Vec<String>,
    /// The only target name that it may be used for.
    #[serde(default)]
    pub name: Option<String>,
}

/// What is asked for with the line that installs an agent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallCommandCreate {
    /// What the machines run.
    pub os: InstallOs,
    /// The token that stands in the line.
    pub token: JoinTokenCreate,
}

/// An operating system for which there is an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum InstallOs {
    /// Linux with systemd.
    Linux,
    /// Windows, by PowerShell.
    Windows,
}

impl InstallOs {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Windows => "Windows",
        }
    }
}

/// A new join token; it is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct JoinTokenCreated {
    /// Its description.
    pub join_token: JoinToken,
    /// The token itself.
    pub token: String,
    /// What to type on the machine that is to join.
    pub command: String,
    /// What its tags bring about and deserves attention.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A secret, without its value.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Its path, such as `octofx/database-password`.
    pub path: String,
    /// How many values it has had.
    pub versions: u64,
    /// When it got its present value.
    pub updated_at: Timestamp,
}

/// A secret's new value.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSet {
    /// The value.
    pub value: String,
}

/// One row of the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The particulars.
    pub detail: Value,
}

/// Whether the audit trail's chain holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditVerified {
    /// It does.
    pub intact: bool,
    /// How many rows were checked.
    pub entries: u64,
    /// How many were removed from the beginning, as the trail itself says.
    #[serde(default)]
    pub removed: u64,
    /// The first bad row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<u64>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
    /// The hash of the last row; note it elsewhere to notice a cut-off tail.
    pub head: String,
}
