//! A release that is blocked: found bad, so that it goes no further until somebody lifts the block.
//!
//! Where it has succeeded it may be deployed again, and so it may in the first phase, where its
//! repair is tried (reference section 1.3, prevent progression). Optional phases obey as well.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{LifecycleDefinition, phases};
use crate::explain::Refusal;

/// A block on a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Who blocked it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A blocked release and where it was deployed with success.
#[derive(Debug, Clone, Copy)]
pub struct Blocked<'a> {
    /// The project's slug.
    pub project: &'a str,
    /// The release's version.
    pub version: &'a str,
    /// The block.
    pub block: &'a Block,
    /// The environments to which the release was deployed successfully.
    pub succeeded: &'a BTreeSet<String>,
}

/// May a blocked release be deployed to this environment?
///
/// Whether the lifecycle lets it there at all is [`super::check`]'s question. Without a lifecycle
/// no environment comes first, and only those where it has succeeded are left.
pub fn check(
    lifecycle: Option<&LifecycleDefinition>,
    environments: &[String],
    blocked: &Blocked<'_>,
    environment: &str,
) -> Result<(), Refusal> {
    let reached = match lifecycle {
        None => blocked.succeeded.contains(environment),
        Some(lifecycle) => {
            let phases = phases(lifecycle, environments);
            let holds = |names: &[String]| names.iter().any(|name| name == environment);
            let place = phases.iter().position(|phase| holds(&phase.environments));
            let phase = place.and_then(|index| phases.get(index));
            place == Some(0)
                || blocked.succeeded.contains(environment)
                || phase.is_some_and(|phase| {
                    let mut names = phase.environments.iter();
                    names.any(|name| blocked.succeeded.contains(name))
                })
        }
    };
    if reached {
        return Ok(());
    }
    Err(Refusal::ReleaseBlocked {
        project: blocked.project.to_owned(),
        version: blocked.version.to_owned(),
        environment: environment.to_owned(),
        reason: blocked.block.reason.clone(),
        by: blocked.block.by.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all, lifecycle, phase, set};
    use super::*;
    use crate::lifecycle::{DeployMode, Gate};

    #[test]
    fn a_blocked_release_enters_no_phase_but_the_first_and_those_where_it_succeeded() {
        // Reference section 1.3, prevent progression.
        let standard = |gate| {
            lifecycle(vec![
                phase("Dev", &["dev"], DeployMode::Manual, Gate::All),
                phase("Test", &["test-a", "test-b"], DeployMode::Manual, gate),
                phase("Live", &["live"], DeployMode::Manual, Gate::All),
            ])
        };
        let block = Block {
            by: "ada".to_owned(),
            reason: "loses orders".to_owned(),
        };
        for (gate, succeeded, environment, allowed) in [
            // The first phase is always open.
            (Gate::All, &[][..], "dev", true),
            (Gate::All, &["dev"], "dev", true),
            // The next would be open, were it not for the block.
            (Gate::All, &["dev"], "test-a", false),
            // One success opens the whole phase, and no further one.
            (Gate::All, &["dev", "test-a"], "test-b", true),
            (Gate::All, &["dev", "test-a", "test-b"], "live", false),
            // Optional phases obey.
            (Gate::Optional, &["dev"], "test-a", false),
            (Gate::Optional, &["dev", "live"], "test-a", false),
            (Gate::Optional, &["dev", "live"], "live", true),
        ] {
            let succeeded = set(succeeded);
            let blocked = Blocked {
                project: "shop",
                version: "1.0",
                block: &block,
                succeeded: &succeeded,
            };
            let answer = check(Some(&standard(gate)), &all(), &blocked, environment);
            assert_eq!(
                answer.is_ok(),
                allowed,
                "{gate:?} {succeeded:?} {environment}"
            );
        }
        let succeeded = set(&["live"]);
        let blocked = Blocked {
            project: "shop",
            version: "1.0",
            block: &block,
            succeeded: &succeeded,
        };
        assert!(check(None, &all(), &blocked, "live").is_ok());
        let refusal = check(None, &all(), &blocked, "dev").map_err(|refusal| refusal.to_string());
        assert_eq!(
            refusal,
            Err("shop 1.0 is blocked and may not enter 'dev': loses orders (ada); deploy another release, or lift the block: mantle release unblock shop 1.0 --reason WHY".to_owned())
        );
    }
}
