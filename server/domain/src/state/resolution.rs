//! What a person says of an attempt whose end nobody knows: they looked at the machine.
//!
//! What must hold: it stands beside the agent's word and never in its place; the first one counts;
//! of an attempt that an agent can still be asked about nobody is asked; and what it says is taken
//! as it is, so that a node which counts as failed is not tried again by itself.

use jiff::Timestamp;
use mantle_shared::ids::{AgentId, AttemptId};
use mantle_shared::protocol::{AttemptEnd, Outcome};
use serde::{Deserialize, Serialize};

use super::decide::unknown;
use super::event::{Event, NodeEnd};
use super::input::Moment;
use super::judge::describe;
use super::model::{Attempt, AttemptStatus, State};

/// How an attempt ended, by a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolvedAs {
    /// It did what it was to do.
    Succeeded,
    /// It did not.
    Failed,
}

/// What a person said of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// How it ended.
    pub ended: ResolvedAs,
    /// Who said so.
    pub by: String,
    /// Why they think so.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Why nobody's word is taken on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolvable {
    /// How it ended is known.
    Known,
    /// Somebody said it before.
    Before,
    /// Its agent is connected and says it itself.
    AgentConnected,
}

impl ResolvedAs {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The verdict that it comes to.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Succeeded => Outcome::Succeeded,
            Self::Failed => Outcome::Failed,
        }
    }

    /// An agent's word that says the opposite. One that does not know either says nothing.
    pub fn is_contradicted_by(self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Unknown | Outcome::Abandoned => false,
            Outcome::Succeeded => self == Self::Failed,
            Outcome::Failed
            | Outcome::TimedOut
            | Outcome::Cancelled
            | Outcome::NotStarted
            | Outcome::Interrupted => self == Self::Succeeded,
        }
    }
}

impl std::str::FromStr for ResolvedAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Succeeded, Self::Failed]
            .into_iter()
            .find(|known| known.word() == text)
            .ok_or_else(|| format!("an attempt is not resolved as '{text}'"))
    }
}

impl Resolution {
    /// What it says, as the reason of an end.
    pub fn sentence(&self) -> String {
        let Self {
            ended, by, reason, ..
        } = self;
        format!("{by} says that it {}: {reason}", ended.word())
    }
}

/// Whether an outcome says how an attempt ended. Of any other a person may say it.
pub fn is_known_end(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Unknown | Outcome::Abandoned => false,
        Outcome::Succeeded
        | Outcome::Failed
        | Outcome::TimedOut
        | Outcome::Cancelled
        | Outcome::NotStarted
        | Outcome::Interrupted => true,
    }
}

impl Attempt {
    /// How it ended: by a person's word, if there is one; by its agent's, also if that came late;
    /// and else by what was decided.
    pub(super) fn node_end(&self) -> Option<NodeEnd> {
        let AttemptStatus::Over {
            outcome, message, ..
        } = &self.status
        else {
            return None;
        };
        let late = self.end.as_ref();
        let late = late.filter(|end| end.outcome != *outcome && is_known_end(end.outcome));
        Some(match (&self.resolution, late) {
            (Some(resolution), _) => NodeEnd {
                outcome: resolution.ended.outcome(),
                message: resolution.sentence(),
            },
            (None, Some(end)) => NodeEnd {
                outcome: end.outcome,
                message: describe(end),
            },
            (None, None) => NodeEnd {
                outcome: *outcome,
                message: message.clone(),
            },
        })
    }

    /// Nobody knows how it ended, or whether: neither its agent nor a person has said so.
    pub fn is_unresolved(&self) -> bool {
        match (&self.status, &self.end, &self.resolution) {
            (_, _, Some(_)) => false,
            (_, Some(end), None) => !is_known_end(end.outcome),
            (AttemptStatus::Over { outcome, .. }, None, None) => !is_known_end(*outcome),
            (AttemptStatus::Starting | AttemptStatus::Running { .. }, None, None) => true,
        }
    }

    /// Whether a person's word is taken on it, while its agent is connected or not.
    pub fn check_resolve(&self, is_connected: bool) -> Result<(), Unresolvable> {
        if self.resolution.is_some() {
            return Err(Unresolvable::Before);
        }
        match (self.is_unresolved(), self.is_over()) {
            (false, _) => Err(Unresolvable::Known),
            (true, false) if is_connected => Err(Unresolvable::AgentConnected),
            (true, _) => Ok(()),
        }
    }

    /// What its agent said of it after a person had, if that is the opposite.
    pub fn contradiction(&self) -> Option<(&Resolution, &AttemptEnd)> {
        let (resolution, end) = self.resolution.as_ref().zip(self.end.as_ref())?;
        resolution
            .ended
            .is_contradicted_by(end.outcome)
            .then_some((resolution, end))
    }
}

/// Somebody said how an attempt ended. One that counts as live is given up for unknown first.
pub(super) fn resolved(
    state: &State,
    id: AttemptId,
    attempt: &Attempt,
    resolution: Resolution,
    moment: &Moment<'_>,
) -> Vec<Event> {
    let is_connected = |agent: AgentId| moment.online.contains(&agent);
    if attempt.check_resolve(is_connected(attempt.agent)).is_err() {
        return Vec::new();
    }
    let given_up = (!attempt.is_over()).then(|| {
        let plan = state.plan.as_deref();
        let name =
            plan.and_then(|plan| Some(&plan.target(plan.node(attempt.node)?.executor)?.name));
        let of = name.map_or_else(String::new, |name| format!(" of {name}"));
        unknown(id, &format!("the agent{of} is away"), moment.now)
    });
    let Resolution {
        ended,
        by,
        reason,
        at,
    } = resolution;
    let resolved = Event::AttemptResolved {
        attempt: id,
        ended,
        by,
        reason,
        at,
    };
    given_up.into_iter().chain([resolved]).collect()
}

/// The attempts of which nobody has said how they ended, in the order of the plan: those that were
/// given up or could not be stopped, and those that count as live.
pub fn unresolved(state: &State) -> Vec<(AttemptId, &Attempt)> {
    let open = state.attempts.iter();
    let mut open: Vec<(AttemptId, &Attempt)> = open
        .filter(|(_, attempt)| attempt.is_unresolved())
        .map(|(id, attempt)| (*id, attempt))
        .collect();
    open.sort_by_key(|(_, attempt)| (attempt.node, attempt.number));
    open
}
