//! The checker: reads what every process left behind and says which invariant does not hold.
//!
//! Pure: a [`History`] comes in, a list of [`Violation`]s goes out. It asks neither server nor agent,
//! and believes none of them alone: what steps did to the outside is compared with the agents'
//! journals, and these with what the server tells. The invariants have the numbers that the
//! scenarios' documentation gives them:
//!
//! | | holds if |
//! |---|---|
//! | I1 | an attempt is started once, over all lives of all agents |
//! | I2 | about a target no two attempts of an action are under way at once |
//! | I3 | the lines of an attempt are stored once and in order, without a hole that no gap record names |
//! | I4 | every deployment ends within the bound after the faults, and a fault alone fails none |
//! | I5 | how it ended is a function of the agents' journals and of what the steps did |
//! | I6 | what is over has no process |
//! | I7 | what is installed is whole, and of one version |
//! | I8 | epochs never fall |
//! | I9 | a lock has one holder, or several that share it |
//! | I10 | a secret stands nowhere in clear |
//! | I12 | the audit trail's chain holds, and each change has its row |
//! | I13 | memory, descriptors and threads come back |
//! | I14 | what ran stands in its agent's journal |
//! | P0 | no process ended by itself |
//!
//! I11 (a revoked agent is out) has tests of its own: nothing is revoked at random.

mod epochs;
mod history;
mod logs;
mod starts;
mod states;
#[cfg(test)]
mod tests;
mod whole;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use history::{
    ActionEnd, AgentHistory, AuditCheck, AuditRow, Excuse, Expected, History, Line, NotedLock,
    PackageSighting, Resource, Segment, StepEnd, StepStart, Survivor, TaskEvent, TaskHistory,
};

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// The invariant's number.
    pub invariant: String,
    /// What was seen.
    pub what: String,
}

impl Violation {
    fn new(invariant: &str, what: impl Into<String>) -> Self {
        Self {
            invariant: invariant.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// A check of one invariant.
type Check = fn(&History) -> Vec<Violation>;

/// Every invariant that is checked, in the order of the table above.
pub const INVARIANTS: &[(&str, Check)] = &[
    ("I1", starts::started_once),
    ("I2", starts::one_at_a_time),
    ("I3", logs::lines_are_whole),
    ("I4", states::all_end),
    ("I5", states::ends_are_told_truly),
    ("I6", whole::nothing_lives_on),
    ("I7", whole::packages_are_whole),
    ("I8", epochs::epochs_rise),
    ("I9", starts::locks_are_exclusive),
    ("I10", whole::secrets_stay),
    ("I12", whole::audit_is_whole),
    ("I13", whole::resources_return),
    ("I14", starts::starts_are_journalled),
    ("P0", whole::nobody_died),
];

/// All violations in a history.
pub fn check(history: &History) -> Vec<Violation> {
    INVARIANTS
        .iter()
        .flat_map(|(_, check)| check(history))
        .collect()
}
