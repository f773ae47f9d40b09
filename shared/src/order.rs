//! The order: all that an attempt needs to know, handed to its supervisor.
//!
//! It travels as JSON inside [`StartAttempt`](crate::protocol::StartAttempt), since what an action
//! takes is open-ended and must outlive changes of the codec. The agent journals its digest only:
//! it holds secrets, and the supervisor's memory is the one place on a target where they may be.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::ids::{AttemptId, TaskId};
use crate::lock::Lock;

/// The order's format. A supervisor refuses one that it does not know.
pub const ORDER_FORMAT: u32 = 1;

/// What one attempt is to do.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// [`ORDER_FORMAT`].
    pub format: u32,
    /// The attempt.
    pub attempt: AttemptId,
    /// The task.
    pub task: TaskId,
    /// The task's number for people, such as `T-1042`.
    pub task_number: String,
    /// The project's slug.
    pub project: String,
    /// The environment's name.
    pub environment: String,
    /// The release's version.
    pub release: String,
    /// The step's name.
    pub step: String,
    /// The action's name.
    pub action: String,
    /// The target that the work is about.
    pub subject: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// The action type, such as `script` or `haproxy.drain`.
    pub uses: String,
    /// What the action takes; texts in it are templates.
    pub with: Map<String, Value>,
    /// The variables that this action can reach, one winner a name, in order.
    pub variables: Vec<OrderVariable>,
    /// The names of variables that are secrets, or reach one, and that the action may not use: a
    /// look-up of one fails rather than giving nothing. Orders of earlier releases have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// The packages that it uses, acquired beforehand.
    pub packages: Vec<OrderPackage>,
    /// The attempt is stopped after this long.
    pub timeout_ms: u64,
    /// How long processes have between the request to stop and the kill.
    pub grace_ms: u64,
    /// The key (32 bytes, base64) under which sensitive output variables are sealed.
    pub seal_key: String,
    /// How much output is kept.
    pub output: OutputLimits,
    /// What the attempt holds on its executor while it lives. An agent that does not know them obeys
    /// all the same: the server orders nothing that conflicts as far as it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// Attempts whose locks somebody broke: the agent passes over what they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub despite: Vec<AttemptId>,
}

impl std::fmt::Debug for Order {
    /// Without inputs and variables, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order")
            .field("attempt", &self.attempt)
            .field("task_number", &self.task_number)
            .field("action", &self.action)
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}

/// A variable's winner. Its value may hold templates over the others.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderVariable {
    /// Its name; names differ in more than case.
    pub name: String,
    /// Its value.
    pub value: String,
    /// It is a secret: masked wherever it appears.
    #[serde(default)]
    pub sensitive: bool,
    /// It is handed to a script's environment. Helper values of the server's own are not.
    #[serde(default = "yes")]
    pub exported: bool,
}

fn yes() -> bool {
    true
}

impl std::fmt::Debug for OrderVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OrderVariable({})", self.name)
    }
}

/// A package, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPackage {
    /// The package's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// `zip`, `nupkg`, `tar.gz`, `tar.zst`, ...
    pub format: String,
    /// The size of its files, taken apart.
    pub size_bytes: u64,
    /// The digest of the archive as it was pushed.
    pub archive: Digest,
    /// The digest of its manifest's root.
    pub root: Digest,
    /// It was pushed for Linux only: it may hold names that Windows refuses or mixes up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub linux_only: bool,
    /// How the archive itself is brought, where a release has an action that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_pushed: Option<AsPushed>,
}

/// An archive, which is kept and brought like a package of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsPushed {
    /// The digest of the manifest that lists it alone.
    pub root: Digest,
    /// Its size.
    pub size_bytes: u64,
}

impl OrderPackage {
    /// The package as its archive alone, if that is known.
    pub fn archive_alone(&self) -> Option<Self> {
        let as_pushed = self.as_pushed?;
        Some(Self {
            root: as_pushed.root,
            size_bytes: as_pushed.size_bytes,
            // Its names are the archive's affair.
            linux_only: false,
            as_pushed: None,
            ..self.clone()
        })
    }
}

/// How much output an attempt may keep on the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLimits {
    /// How long a full spool holds the process back before lines are dropped with a gap record.
    pub stall_ms: u64,
    /// The most bytes of output of one attempt.
    pub cap_bytes: u64,
}

impl Default for OutputLimits {
    /// Ten minutes and 4 GiB: a night's output of a chatty installer fits, a runaway loop does not.
    fn default() -> Self {
        Self {
            stall_ms: 10 * 60 * 1000,
            cap_bytes: 4 * 1024 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As the release before wrote it; what it had nothing to say about must not appear either.
    const EARLIER: &str = concat!(
        r#"{"format":1,"attempt":"00000000-0000-0000-0000-000000000001","#,
        r#""task":"00000000-0000-0000-0000-000000000002","task_number":"T-7","project":"shop","#,
        r#""environment":"test","release":"1.0.0","step":"S","action":"A","subject":"web01","#,
        r#""executor":"web01","uses":"script","with":{"run":"true"},"#,
        r#""variables":[{"name":"Port","value":"80","sensitive":false,"exported":true}],"#,
        r#""packages":[],"timeout_ms":1000,"grace_ms":500,"seal_key":"AA==","#,
        r#""output":{"stall_ms":1,"cap_bytes":2}}"#,
    );

    #[test]
    fn an_order_of_an_earlier_release_is_read_and_one_without_withheld_names_is_the_same_bytes() {
        let order: Order = serde_json::from_str(EARLIER).unwrap();
        assert!(order.withheld.is_empty() && order.locks.is_empty() && order.despite.is_empty());
        assert_eq!(serde_json::to_string(&order).unwrap(), EARLIER);
        let withholding = Order {
            withheld: vec!["Password".to_owned()],
            ..order
        };
        let text = serde_json::to_string(&withholding).unwrap();
        assert!(text.contains(r#""withheld":["Password"]"#), "{text}");
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), withholding);
    }
}
