//! Where the state machine meets the locks: a node asks for all of its locks at once when nothing
//! else keeps it from starting, and waits until it gets them.

use jiff::{SignedDuration, Timestamp};
use mantle_shared::ids::{AttemptId, TargetId};
use mantle_shared::lock::Lock;
use mantle_shared::protocol::Outcome;

use super::asking;
use super::decide::after;
use super::event::{Event, NodeEnd};
use super::input::Moment;
use super::model::{NodeState, State};
use crate::lock::Answer;
use crate::plan::{NodeRef, Plan, PlanAction, PlanNode};

/// What a waiting node's log says again after this long, if another holds the lock by then. A queue
/// of many does not fill everybody's log each time that one of them is through.
const TELL_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Keeps the locks of all deployments. Whoever it grants something to has it from then on.
pub trait LockKeeper {
    /// Grants all or nothing.
    fn claim(&self, claim: &Claim<'_>) -> Answer;
}

/// What a node wants before it starts.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The attempt that it would start.
    pub attempt: AttemptId,
    /// The node.
    pub node: NodeRef,
    /// Its plan.
    pub plan: &'a Plan,
    /// Since when it waits.
    pub since: Timestamp,
    /// Where.
    pub executor: TargetId,
    /// What.
    pub locks: Vec<Lock>,
}

/// Nobody else is there: everything is free.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingHeld;

impl LockKeeper for NothingHeld {
    fn claim(&self, _claim: &Claim<'_>) -> Answer {
        Answer::Granted {
            despite: Vec::new(),
        }
    }
}

/// What a node waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// When that was noted.
    pub at: Timestamp,
    /// The lock.
    pub lock: String,
    /// Who has it, or comes first.
    pub by: String,
    /// It has it; otherwise it only waits since earlier.
    pub has_it: bool,
    /// How it ended, if it is over and has it all the same.
    pub ended: Option<Outcome>,
}

impl Blocked {
    /// In a sentence without a subject. `executor` is the name of the target whose lock it is.
    pub fn sentence(&self, executor: &str) -> String {
        let Self {
            lock, by, has_it, ..
        } = self;
        if !*has_it {
            return format!(
                "waits for lock '{lock}' on {executor}, for which {by} waits since earlier"
            );
        }
        let waits = format!("waits for lock '{lock}' on {executor}, held by {by}");
        let why = match self.ended {
            None => return waits,
            Some(Outcome::Abandoned) => "which could not be stopped",
            Some(_) => "of which it is not known how it ended",
        };
        // It is named by its task first.
        let task = by.split(' ').next().unwrap_or_default();
        format!(
            "{waits}, {why}: look on {executor}, then say it with 'mantle task resolve {task} --as failed|succeeded \
             --reason WHY', or let others pass with 'mantle lock break {executor} {lock} --reason WHY'"
        )
    }
}

/// What became of a claim.
pub(super) enum Claimed {
    /// It may start despite these broken ones.
    Granted(Vec<AttemptId>),
    /// It may not, with what there is to note of that.
    Waits(Option<Event>),
}

/// Claims a node's locks.
pub(super) fn claim(
    (state, plan, moment): (&State, &Plan, &Moment<'_>),
    (node, attempt): (NodeRef, AttemptId),
    planned: PlanNode,
    action: &PlanAction,
) -> Claimed {
    let locks = action.locks_of(planned.subject);
    let Some(NodeState::Waiting {
        since,
        deadline,
        blocked,
        ..
    }) = state.nodes.get(&node)
    else {
        return Claimed::Granted(Vec::new());
    };
    // What is being cancelled starts nothing, so it must take nothing from others.
    if locks.is_empty() || state.cancel.is_some() {
        return Claimed::Granted(Vec::new());
    }
    let answer = moment.locks.claim(&Claim {
        attempt,
        node,
        plan,
        since: *since,
        executor: planned.executor,
        locks,
    });
    let held = match answer {
        Answer::Granted { despite } => return Claimed::Granted(despite),
        Answer::Held {
            lock,
            by,
            has_it,
            ended,
        } => Blocked {
            at: moment.now,
            lock,
            by,
            has_it,
            ended,
        },
    };
    let now = moment.now;
    Claimed::Waits(match blocked {
        Some(_) if *deadline <= now => {
            let executor = plan.target(planned.executor);
            let name = executor.map_or("its target", |target| target.name.as_str());
            let message = format!("a lock was not free in time: it {}", held.sentence(name));
            let end = NodeEnd {
                outcome: Outcome::NotStarted,
                message,
            };
            Some(asking::ended((state, plan, moment), node, end))
        }
        Some(known)
            if (&known.lock, &known.by, known.ended) == (&held.lock, &held.by, held.ended) =>
        {
            None
        }
        // That a person has to see to it is said at once.
        Some(known) if held.ended.is_none() && now.duration_since(known.at) < TELL_AGAIN => None,
        Some(_) => Some(noted(node, *deadline, held)),
        None => Some(noted(node, after(*since, moment.policy.lock), held)),
    })
}

fn noted(node: NodeRef, deadline: Timestamp, held: Blocked) -> Event {
    Event::NodeBlocked {
        node,
        at: held.at,
        lock: held.lock,
        by: held.by,
        has_it: held.has_it,
        ended: held.ended,
        deadline,
    }
}
