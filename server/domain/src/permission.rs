//! Who may do what.

use serde::{Deserialize, Serialize};

use crate::explain::Refusal;
use crate::ids::ApiKeyId;

/// The team whose members may do everything; the only one that grants anything yet.
pub const ADMINISTRATORS: &str = "administrators";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The key that authenticated it; `None` for the server itself.
    pub key: Option<ApiKeyId>,
    /// The key's name, as audit rows show it.
    pub name: String,
    /// The key's team.
    pub team: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Look at anything but secrets.
    Read,
    /// Apply files: projects, environments, lifecycles.
    Configure,
    /// Push packages.
    PackagePush,
    /// Delete versions of packages that nothing needs.
    PackageDelete,
    /// Collect what no package names.
    CollectPackages,
    /// Create releases.
    ReleaseCreate,
    /// Refresh and revert the variables of releases.
    ReleaseChange,
    /// Block and unblock releases.
    ReleaseBlock,
    /// Remove what the rules no longer keep.
    Retention,
    /// Deploy and cancel.
    Deploy,
    /// Answer what deployments ask, where no team is named for it.
    Answer,
    /// Say who is in which team.
    ManageTeams,
    /// Decide who comes first in the queue.
    Prioritise,
    /// Say how work ended of which nothing is known.
    ResolveTasks,
    /// Break locks that nobody lets go.
    BreakLocks,
    /// Manage targets, agents and join tokens.
    ManageTargets,
    /// Set and delete secrets.
    ManageSecrets,
    /// Manage API keys.
    ManageKeys,
    /// Read the audit log.
    ReadAudit,
    /// Take a restored server into use.
    ManageServer,
}

impl Permission {
    /// What it lets one do, to follow "may not".
    pub fn words(self) -> &'static str {
        match self {
            Self::Read => "look at this",
            Self::Configure => "apply files",
            Self::PackagePush => "push packages",
            Self::PackageDelete => "delete packages",
            Self::CollectPackages => "collect what no package names",
            Self::ReleaseCreate => "create releases",
            Self::ReleaseChange => "change the variables of releases",
            Self::ReleaseBlock => "block and unblock releases",
            Self::Retention => "remove what retention no longer keeps",
            Self::Deploy => "deploy",
            Self::Answer => "answer what a deployment asks",
            Self::ManageTeams => "change teams",
            Self::ResolveTasks => "say how work ended",
            Self::BreakLocks => "break locks",
            Self::Prioritise => "change the order of the queue",
            Self::ManageTargets => "manage targets",
            Self::ManageSecrets => "manage secrets",
            Self::ManageKeys => "manage API keys",
            Self::ReadAudit => "read the audit log",
            Self::ManageServer => "take a restored server into use",
        }
    }
}

impl Actor {
    /// The server, acting for itself.
    pub fn server() -> Self {
        Self {
            key: None,
            name: "server".to_owned(),
            team: ADMINISTRATORS.to_owned(),
        }
    }
}

/// May the actor do this? Every team but the administrators' may only look.
pub fn check(actor: &Actor, permission: Permission) -> Result<(), Refusal> {
    if actor.team == ADMINISTRATORS || permission == Permission::Read {
        return Ok(());
    }
    Err(Refusal::Forbidden {
        actor: actor.name.clone(),
        what: permission.words().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_administrators_change_anything() {
        let guest = Actor {
            key: None,
            name: "dashboard".to_owned(),
            team: "guests".to_owned(),
        };
        assert!(check(&guest, Permission::Read).is_ok());
        assert!(check(&guest, Permission::Deploy).is_err());
        assert!(check(&Actor::server(), Permission::ManageKeys).is_ok());
    }
}
