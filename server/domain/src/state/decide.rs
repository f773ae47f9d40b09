//! From an input to events: first what the input itself says, then what follows from it.

use std::borrow::Cow;

use jiff::Timestamp;
use mantle_shared::ids::{AgentId, AttemptId, JournalId, TargetId};
use mantle_shared::protocol::{AttemptEnd, Outcome, StartRefusal};

use super::asking;
use super::event::{Event, NodeEnd, OutputVariable};
use super::evolve::evolve;
use super::input::{AcquireEnd, CancelAnswer, Illegal, Input, Moment, Sent, StartAnswer};
use super::judge::{Evidence, describe, judge};
use super::model::{AcquisitionStatus, Attempt, AttemptStatus, NodeState, Phase, State, Verdict};
use super::resolution;
use super::schedule;
use crate::plan::NodeRef;

/// What an input changes, and everything that follows from it at this moment.
///
/// The state is not touched. An input that says nothing new gives no events; one that the state has
/// no place for is [`Illegal`].
pub fn decide(state: &State, input: Input, moment: &Moment<'_>) -> Result<Vec<Event>, Illegal> {
    // Most looks find nothing new: the state is copied once it changes.
    let mut next = Cow::Borrowed(state);
    let mut events = Vec::new();
    for event in respond(state, input, moment)? {
        take(next.to_mut(), event, &mut events);
    }
    schedule::advance(&mut next, moment, &mut events);
    Ok(events)
}

/// Takes an event in, under the number that is next if it has one: several questions may come of
/// one look.
pub(super) fn take(state: &mut State, mut event: Event, events: &mut Vec<Event>) {
    if let Event::InterruptionRaised { number, .. } = &mut event {
        let last = state.interruptions.keys().next_back();
        *number = last.map_or(1, |last| last.saturating_add(1));
    }
    evolve(state, &event);
    events.push(event);
}

/// What an input itself says, without what follows from it.
pub(super) fn respond(
    state: &State,
    input: Input,
    moment: &Moment<'_>,
) -> Result<Vec<Event>, Illegal> {
    match input {
        Input::Begin { plan } => match state.phase {
            Phase::Queued => Ok(vec![Event::DeploymentBegan {
                at: moment.now,
                acquire_by: within(moment, plan.timeouts.packages_ms, moment.policy.acquire),
                end_by: Some(within(
                    moment,
                    plan.timeouts.deployment_ms,
                    moment.policy.deployment,
                )),
                plan,
            }]),
            Phase::Running => Err(Illegal::BegunTwice),
            Phase::Finished { .. } => Err(Illegal::Finished),
        },
        Input::Refuse { message } => match state.phase {
            Phase::Queued => Ok(vec![Event::DeploymentFinished {
                verdict: Verdict::Failed,
                message,
                at: moment.now,
            }]),
            Phase::Running => Err(Illegal::BegunTwice),
            Phase::Finished { .. } => Err(Illegal::Finished),
        },
        Input::AcquireEnded { target, end } => acquire_ended(state, target, end, moment),
        Input::StartAnswered { attempt, answer } => {
            let known = find(state, attempt)?;
            Ok(start_answered(attempt, known, answer, moment))
        }
        Input::OrderImpossible {
            attempt,
            sent,
            message,
        } => {
            let known = find(state, attempt)?;
            Ok(order_impossible(attempt, known, sent, message, moment.now))
        }
        Input::AttemptEnded {
            attempt,
            end,
            outputs,
            stored,
        } => attempt_ended(state, attempt, end, outputs, stored, moment.now),
        Input::AttemptSeenRunning { attempt } => {
            let known = find(state, attempt)?;
            Ok(seen_running(attempt, known, moment))
        }
        Input::AttemptForgotten { attempt, journal } => {
            let known = find(state, attempt)?;
            Ok(forgotten(attempt, known, journal, moment.now))
        }
        Input::AttemptResolved {
            attempt,
            resolution,
        } => {
            let known = find(state, attempt)?;
            let said = resolution::resolved(state, attempt, known, resolution, moment);
            Ok(said)
        }
        Input::CancelRequested { by } => Ok(cancel_requested(state, by, moment)),
        Input::CancelAnswered { attempt, answer } => {
            let known = find(state, attempt)?;
            Ok(cancel_answered(attempt, known, answer, moment.now))
        }
        Input::InterruptionAnswered { number, given } => asking::answered(state, number, given),
        Input::AgentRevoked { agent } => Ok(agent_revoked(state, agent, moment)),
        Input::Tick => Ok(Vec::new()),
    }
}

fn find(state: &State, attempt: AttemptId) -> Result<&Attempt, Illegal> {
    match state.phase {
        Phase::Queued => Err(Illegal::NotBegun),
        Phase::Running | Phase::Finished { .. } => state
            .attempts
            .get(&attempt)
            .ok_or(Illegal::UnknownAttempt { attempt }),
    }
}

fn acquire_ended(
    state: &State,
    target: TargetId,
    end: AcquireEnd,
    moment: &Moment<'_>,
) -> Result<Vec<Event>, Illegal> {
    let known = state
        .acquisitions
        .get(&target)
        .ok_or(Illegal::UnknownTarget { target })?;
    match known.status {
        AcquisitionStatus::Pending
        | AcquisitionStatus::Ordered { .. }
        | AcquisitionStatus::Waiting { .. } => {}
        AcquisitionStatus::Done { .. } | AcquisitionStatus::Failed { .. } => {
            return Ok(Vec::new());
        }
    }
    if state.is_finished() {
        return Ok(Vec::new());
    }
    Ok(vec![match end {
        AcquireEnd::Done {
            fetched_bytes,
            reused_bytes,
        } => Event::AcquisitionDone {
            target,
            fetched_bytes,
            reused_bytes,
        },
        AcquireEnd::Failed { message, transient } => {
            let until = after(moment.now, moment.policy.backoff);
            if transient && until < known.deadline {
                Event::AcquisitionPutOff {
                    target,
                    until,
                    message,
                }
            } else {
                Event::AcquisitionFailed { target, message }
            }
        }
    }])
}

fn start_answered(
    id: AttemptId,
    attempt: &Attempt,
    answer: StartAnswer,
    moment: &Moment<'_>,
) -> Vec<Event> {
    let now = moment.now;
    match (&attempt.status, answer) {
        // It holds no room for it yet, or another attempt holds a lock there that the server did not
        // know of. The same order comes again, until it has had its time.
        (
            AttemptStatus::Starting,
            StartAnswer::Refused {
                reason: StartRefusal::Busy,
                ..
            },
        ) if now < after(attempt.ordered_at, moment.policy.pick_up) => Vec::new(),
        (AttemptStatus::Starting, StartAnswer::Accepted) => {
            vec![Event::AttemptStarted {
                attempt: id,
                at: now,
            }]
        }
        // The agent's journal refuses what it does not hold, and an attempt that runs is held: only
        // a conflict or a fence can be said of one, and neither means that it did not run.
        (
            AttemptStatus::Starting,
            StartAnswer::Refused {
                reason: StartRefusal::Conflict | StartRefusal::Fenced | StartRefusal::StaleServer,
                message,
            },
        ) => vec![unknown(
            id,
            &format!("the agent refused the order: {message}"),
            now,
        )],
        (
            AttemptStatus::Starting,
            StartAnswer::Refused {
                reason: StartRefusal::Voided,
                message,
            },
        ) => {
            vec![finished(id, Outcome::Cancelled, message, now)]
        }
        (
            AttemptStatus::Starting,
            StartAnswer::Refused {
                reason:
                    StartRefusal::NoSpace
                    | StartRefusal::Journal
                    | StartRefusal::Draining
                    | StartRefusal::Busy,
                message,
            },
        ) => vec![finished(id, Outcome::NotStarted, message, now)],
        (
            AttemptStatus::Starting,
            StartAnswer::Refused {
                reason: StartRefusal::BadOrder,
                message,
            },
        ) => vec![unfit(id, message, now)],
        (AttemptStatus::Running { .. } | AttemptStatus::Over { .. }, _) => Vec::new(),
    }
}

/// Nothing was started, and the same order would fare the same again.
fn unfit(attempt: AttemptId, message: String, at: Timestamp) -> Event {
    Event::AttemptFinished {
        attempt,
        outcome: Outcome::NotStarted,
        message,
        at,
        end: None,
        outputs: Vec::new(),
        unfit: true,
    }
}

fn order_impossible(
    id: AttemptId,
    attempt: &Attempt,
    sent: Sent,
    message: String,
    now: Timestamp,
) -> Vec<Event> {
    match (&attempt.status, sent) {
        (AttemptStatus::Starting, Sent::Never) => {
            vec![unfit(id, message, now)]
        }
        (AttemptStatus::Starting, Sent::Perhaps) => vec![unknown(
            id,
            &format!("its order cannot be sent again ({message})"),
            now,
        )],
        (AttemptStatus::Running { .. } | AttemptStatus::Over { .. }, _) => Vec::new(),
    }
}

/// The agent's journal holds its process: it was accepted, and whoever says later that nothing was
/// started is not believed.
fn seen_running(id: AttemptId, attempt: &Attempt, moment: &Moment<'_>) -> Vec<Event> {
    let now = moment.now;
    let mut events = start_answered(id, attempt, StartAnswer::Accepted, moment);
    match attempt.status {
        AttemptStatus::Starting | AttemptStatus::Running { .. } if !attempt.seen_running => {
            events.push(Event::AttemptSeenRunning {
                attempt: id,
                at: now,
            });
        }
        AttemptStatus::Starting | AttemptStatus::Running { .. } | AttemptStatus::Over { .. } => {}
    }
    events
}

/// The agent's whole journal was reported, and an attempt is not in it.
fn forgotten(
    id: AttemptId,
    attempt: &Attempt,
    journal: Option<JournalId>,
    now: Timestamp,
) -> Vec<Event> {
    match (&attempt.status, attempt.journal) {
        (AttemptStatus::Running { .. }, _) => vec![unknown(
            id,
            "the agent had accepted it and no longer knows of it",
            now,
        )],
        // The order may have arrived before the journal was lost.
        (AttemptStatus::Starting, Some(ordered)) if journal != Some(ordered) => vec![unknown(
            id,
            "the agent lost the journal by which it was ordered",
            now,
        )],
        // Never answered, and never accepted: it is simply ordered again. Over: nothing is asked of it.
        (AttemptStatus::Starting | AttemptStatus::Over { .. }, Some(_) | None) => Vec::new(),
    }
}

fn attempt_ended(
    state: &State,
    id: AttemptId,
    end: AttemptEnd,
    outputs: Vec<OutputVariable>,
    stored: u64,
    now: Timestamp,
) -> Result<Vec<Event>, Illegal> {
    let attempt = find(state, id)?;
    let end = judge(
        end,
        Evidence {
            stored,
            seen_running: attempt.seen_running,
        },
    );
    match (&attempt.status, &attempt.end) {
        (_, Some(known)) if *known == end => Ok(Vec::new()),
        (_, Some(_)) => Err(Illegal::Contradiction { attempt: id }),
        (AttemptStatus::Over { .. }, None) => Ok(vec![Event::AttemptFinishedLate {
            attempt: id,
            end,
            at: now,
            outputs: if state.hangs_on(attempt) {
                outputs
            } else {
                Vec::new()
            },
        }]),
        (AttemptStatus::Starting | AttemptStatus::Running { .. }, None) => {
            Ok(vec![Event::AttemptFinished {
                attempt: id,
                outcome: end.outcome,
                message: describe(&end),
                at: now,
                end: Some(end),
                outputs,
                unfit: false,
            }])
        }
    }
}

fn cancel_requested(state: &State, by: String, moment: &Moment<'_>) -> Vec<Event> {
    match (&state.phase, &state.cancel) {
        (Phase::Finished { .. }, _) | (_, Some(_)) => Vec::new(),
        (Phase::Queued, None) => vec![
            Event::CancelRequested {
                by: by.clone(),
                at: moment.now,
                deadline: moment.now,
            },
            Event::DeploymentFinished {
                verdict: Verdict::Cancelled,
                message: format!("cancelled by {by} before it began"),
                at: moment.now,
            },
        ],
        (Phase::Running, None) => {
            vec![Event::CancelRequested {
                by,
                at: moment.now,
                deadline: stopped_by(state, moment, |_| true),
            }]
        }
    }
}

/// By when live attempts that are cancelled now must have answered: after the longest of their
/// grace periods, and a while.
pub(super) fn stopped_by(
    state: &State,
    moment: &Moment<'_>,
    wanted: impl Fn(NodeRef) -> bool,
) -> Timestamp {
    let grace_ms = state
        .live_attempts()
        .filter(|(_, attempt)| wanted(attempt.node))
        .filter_map(|(_, attempt)| state.plan.as_ref()?.action(attempt.node))
        .map(|action| action.grace_ms)
        .max()
        .unwrap_or(0);
    after(after_ms(moment.now, grace_ms), moment.policy.cancel)
}

/// When a time that begins now is over: what was said of it, or the policy's.
pub(super) fn within(
    moment: &Moment<'_>,
    said_ms: Option<u64>,
    policy: jiff::SignedDuration,
) -> Timestamp {
    match said_ms {
        Some(ms) => after_ms(moment.now, ms),
        None => after(moment.now, policy),
    }
}

fn cancel_answered(
    id: AttemptId,
    attempt: &Attempt,
    answer: CancelAnswer,
    now: Timestamp,
) -> Vec<Event> {
    match (&attempt.status, answer) {
        (AttemptStatus::Over { .. }, _) => Vec::new(),
        (_, CancelAnswer::Cancelling) if attempt.cancelling => {
            vec![Event::CancelDelivered { attempt: id }]
        }
        (_, CancelAnswer::Cancelling) => Vec::new(),
        (AttemptStatus::Starting | AttemptStatus::Running { .. }, CancelAnswer::Voided) => {
            vec![finished(
                id,
                Outcome::Cancelled,
                "cancelled before it started".to_owned(),
                now,
            )]
        }
    }
}

fn agent_revoked(state: &State, agent: AgentId, moment: &Moment<'_>) -> Vec<Event> {
    let now = moment.now;
    if state.is_finished() {
        return Vec::new();
    }
    let attempts = state
        .live_attempts()
        .filter(|(_, attempt)| attempt.agent == agent)
        .map(|(id, _)| unknown(*id, "the agent was revoked while it ran", now));
    let acquisitions = state
        .acquisitions
        .iter()
        .filter(|(_, acquisition)| {
            acquisition.agent == agent
                && !matches!(
                    acquisition.status,
                    AcquisitionStatus::Done { .. } | AcquisitionStatus::Failed { .. }
                )
        })
        .map(|(target, _)| Event::AcquisitionFailed {
            target: *target,
            message: "the agent was revoked".to_owned(),
        });
    attempts
        .chain(acquisitions)
        .chain(waiting_for(state, agent, moment))
        .collect()
}

/// The nodes that wait for an agent which will not come any more: nothing was ordered of them.
fn waiting_for(state: &State, agent: AgentId, moment: &Moment<'_>) -> impl Iterator<Item = Event> {
    let nodes = state
        .nodes
        .iter()
        .filter(|(_, known)| matches!(known, NodeState::Waiting { .. }));
    nodes.filter_map(move |(node, _)| {
        let plan = state.plan.as_deref()?;
        let executor = plan.target(plan.node(*node)?.executor)?;
        let end = NodeEnd {
            outcome: Outcome::NotStarted,
            message: format!("the agent of {} was revoked", executor.name),
        };
        (executor.agent == agent).then(|| asking::ended((state, plan, moment), *node, end))
    })
}

/// An attempt is over without the agent's word.
pub(super) fn finished(
    attempt: AttemptId,
    outcome: Outcome,
    message: String,
    at: Timestamp,
) -> Event {
    Event::AttemptFinished {
        attempt,
        outcome,
        message,
        at,
        end: None,
        outputs: Vec::new(),
        unfit: false,
    }
}

/// What became of an attempt cannot be known.
pub(super) fn unknown(attempt: AttemptId, why: &str, at: Timestamp) -> Event {
    finished(
        attempt,
        Outcome::Unknown,
        format!("{why}; what it did is not known"),
        at,
    )
}

/// A time later than another; the end of time if there is none.
pub(super) fn after(at: Timestamp, by: jiff::SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A time so many milliseconds later than another.
pub(super) fn after_ms(at: Timestamp, ms: u64) -> Timestamp {
    after(
        at,
        jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)),
    )
}
